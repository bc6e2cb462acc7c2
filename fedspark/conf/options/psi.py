"""Options of private set intersection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from fedspark.conf.model import Finding, KeyBits, Model, Name

RSA_BITS = 2048


class PsiSettings(Model):
    """How people are matched: shared by every step that intersects a table."""

    step: str
    name: Name
    table: Name
    protocol: Literal["rsa", "ecdh"] = Field(
        default="rsa",
        description="Protocol of the intersection: rsa (blind signatures) or ecdh (Diffie-Hellman on Curve25519).",
    )
    key_bits: KeyBits | None = Field(
        default=None,
        description=f"Size of the RSA key in bits, {RSA_BITS} if not said. Only protocol rsa has one.",
    )
    bucket_rows: int = Field(
        default=65536,
        ge=2,
        le=2**18,
        description="Ids per bucket aimed at; the number of buckets follows from the larger table.",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_key_bits(cls, data: Any) -> Any:
        """A default that is written out and one that is left out are the same pipeline."""
        if isinstance(data, dict) and data.get("protocol", "rsa") == "rsa" and data.get("key_bits") is None:
            return {**data, "key_bits": RSA_BITS}
        return data

    @classmethod
    def findings(cls, data: Mapping[str, Any]) -> Iterable[Finding]:
        protocol, bits = data.get("protocol", "rsa"), data.get("key_bits")
        if protocol != "rsa" and bits is not None:
            yield Finding(("key_bits",), f"belongs to protocol rsa; {protocol} has keys of one size", bits)


class PsiOptions(PsiSettings):
    """Find the people that all data parties hold, and align everybody's rows on them."""

    step: Literal["psi"] = Field(default="psi", description="The kind of this step.")
    name: Name = Field(default="psi", description="Name of this step, unique in the pipeline.")
    table: Name = Field(description="Table to intersect; an earlier step loads it.")
