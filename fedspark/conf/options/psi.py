"""Options of private set intersection."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fedspark.conf.model import KeyBits, Model, Name


class PsiSettings(Model):
    """How people are matched: shared by every step that intersects a table."""

    step: str
    name: Name
    table: Name
    protocol: Literal["rsa"] = Field(default="rsa", description="Protocol of the intersection: RSA blind signatures.")
    key_bits: KeyBits = Field(default=2048, description="Size of the RSA key in bits.")
    bucket_rows: int = Field(
        default=65536,
        ge=2,
        le=2**18,
        description="Ids per bucket aimed at; the number of buckets follows from the larger table.",
    )


class PsiOptions(PsiSettings):
    """Find the people that all data parties hold, and align everybody's rows on them."""

    step: Literal["psi"] = Field(default="psi", description="The kind of this step.")
    name: Name = Field(default="psi", description="Name of this step, unique in the pipeline.")
    table: Name = Field(description="Table to intersect; an earlier step loads it.")
