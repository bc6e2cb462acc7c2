"""Options of private set intersection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from pydantic import Field, model_validator

from fedspark.conf.model import Finding, KeyBits, Model, Name

DEFAULT_PROTOCOL: Final = "auto"
RSA_BITS = 2048
OT_FIELD_BITS = 2


class PsiSettings(Model):
    """How people are matched: shared by every step that intersects a table."""

    step: str
    name: Name
    table: Name
    protocol: Literal["rsa", "ecdh", "ot", "auto"] = Field(
        default=DEFAULT_PROTOCOL,
        description="Protocol of the intersection: rsa (blind signatures), ecdh (Diffie-Hellman on Curve25519), ot "
        "(oblivious transfer extension; the fastest), or auto, which looks at the sizes of the tables and says why.",
    )
    key_bits: KeyBits | None = Field(
        default=None,
        description=f"Size of the RSA key in bits, {RSA_BITS} if not said. Only protocol rsa has one; with auto it "
        "counts when rsa is chosen.",
    )
    field_bits: Literal[1, 2, 4] | None = Field(
        default=None,
        description=f"Bits of a field element, {OT_FIELD_BITS} if not said: 4 sends least, 1 computes least. Only "
        "protocol ot has one; with auto it counts when ot is chosen.",
    )
    result: Literal["both", "guest"] = Field(
        default="both",
        description="Who learns the result: both (guest and hosts) or the guest alone. Training and scoring need both.",
    )
    reveal: Literal["people", "count"] = Field(
        default="people",
        description="What the result is: who the common people are, or only how many (protocol ecdh, one host). A "
        "count aligns nobody, so it serves no later step.",
    )
    join: Literal["inner", "left"] = Field(
        default="inner",
        description="Which rows the guest keeps: those of common people, or with left also all its others, whose "
        "columns of the hosts are null. Hosts learn nothing more, and training uses common people only.",
    )
    cache: bool = Field(
        default=False,
        description="Whether the host keeps its signed ids for this guest (protocol rsa, one host), so that repeated "
        "small queries cost little; runs are linkable for as long as its policy cache_days says. With "
        "auto those that are there serve, and none are made.",
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
        may_run = _may_run(data)
        defaults = {"rsa": ("key_bits", RSA_BITS), "ot": ("field_bits", OT_FIELD_BITS)}
        said = [defaults[protocol] for protocol in may_run if protocol in defaults]
        return {**data, **{key: default for key, default in said if data.get(key) is None}}

    @classmethod
    def findings(cls, data: Mapping[str, Any]) -> Iterable[Finding]:
        bits, field_bits = data.get("key_bits"), data.get("field_bits")
        protocol, may_run = data.get("protocol", DEFAULT_PROTOCOL), _may_run(data)
        counts = data.get("reveal") == "count"
        used = "ecdh" if counts and protocol == "auto" else protocol
        if "rsa" not in may_run and bits is not None:
            yield Finding(("key_bits",), f"belongs to protocol rsa; {used} has keys of one size", bits)
        if "ot" not in may_run and field_bits is not None:
            yield Finding(("field_bits",), f"belongs to protocol ot; {used} has no such field", field_bits)
        if counts and protocol in ("rsa", "ot"):
            rule = f"must be ecdh (or auto) with reveal: count; {protocol} cannot count people without showing them"
            yield Finding(("protocol",), rule, protocol)
        if data.get("cache") is True and "rsa" not in may_run:
            yield Finding(("cache",), f"belongs to protocol rsa; {used} has no signed ids to keep", True)
        if counts and data.get("join") == "left":
            yield Finding(("join",), "must be inner with reveal: count, which keeps no rows", "left")


def _may_run(data: Mapping[str, Any]) -> tuple[str, ...]:
    """The protocols of which one will run."""
    protocol = str(data.get("protocol", DEFAULT_PROTOCOL))
    if protocol == "auto":
        return ("ecdh",) if data.get("reveal") == "count" else ("rsa", "ecdh", "ot")
    return (protocol,)


class PsiOptions(PsiSettings):
    """Find the people that all data parties hold, and align everybody's rows on them."""

    step: Literal["psi"] = Field(default="psi", description="The kind of this step.")
    name: Name = Field(default="psi", description="Name of this step, unique in the pipeline.")
    table: Name = Field(description="Table to intersect; an earlier step loads it.")
