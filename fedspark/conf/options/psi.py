"""Options of private set intersection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from fedspark.conf.model import Finding, KeyBits, Model, Name

RSA_BITS = 2048
OT_FIELD_BITS = 2


class PsiSettings(Model):
    """How people are matched: shared by every step that intersects a table."""

    step: str
    name: Name
    table: Name
    protocol: Literal["rsa", "ecdh", "ot"] = Field(
        default="rsa",
        description="Protocol of the intersection: rsa (blind signatures), ecdh (Diffie-Hellman on Curve25519) or ot "
        "(oblivious transfer extension; the fastest).",
    )
    key_bits: KeyBits | None = Field(
        default=None,
        description=f"Size of the RSA key in bits, {RSA_BITS} if not said. Only protocol rsa has one.",
    )
    field_bits: Literal[1, 2, 4] | None = Field(
        default=None,
        description=f"Bits of a field element, {OT_FIELD_BITS} if not said: 4 sends least, 1 computes least. Only "
        "protocol ot has one.",
    )
    bucket_rows: int = Field(
        default=65536,
        ge=2,
        le=2**18,
        description="Ids per bucket aimed at; the number of buckets follows from the larger table.",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        """A default that is written out and one that is left out are the same pipeline."""
        if not isinstance(data, dict):
            return data
        key, default = {"rsa": ("key_bits", RSA_BITS), "ot": ("field_bits", OT_FIELD_BITS)}.get(
            str(data.get("protocol", "rsa")), ("", None)
        )
        return {**data, key: default} if key and data.get(key) is None else data

    @classmethod
    def findings(cls, data: Mapping[str, Any]) -> Iterable[Finding]:
        protocol, bits, field_bits = data.get("protocol", "rsa"), data.get("key_bits"), data.get("field_bits")
        if protocol != "rsa" and bits is not None:
            yield Finding(("key_bits",), f"belongs to protocol rsa; {protocol} has keys of one size", bits)
        if protocol != "ot" and field_bits is not None:
            yield Finding(("field_bits",), f"belongs to protocol ot; {protocol} has no such field", field_bits)


class PsiOptions(PsiSettings):
    """Find the people that all data parties hold, and align everybody's rows on them."""

    step: Literal["psi"] = Field(default="psi", description="The kind of this step.")
    name: Name = Field(default="psi", description="Name of this step, unique in the pipeline.")
    table: Name = Field(description="Table to intersect; an earlier step loads it.")
