"""The base of every configuration model, and the small types that several of them share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

KeyPath = tuple[str | int, ...]

NAME_PATTERN = "^[a-z0-9][a-z0-9_-]*$"
NAME_RULE = "must be lower-case letters, digits, '-' and '_', beginning with a letter or digit"

LABEL_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Names of runs: dates are welcome."""

ACROSS_KEYS = "across_keys"


@dataclass(frozen=True)
class Finding:
    """A rule over several keys that does not hold: where, the rule in words, the value (never of a secret), a hint."""

    path: KeyPath
    rule: str
    value: Any = None
    hint: str = ""


class Model(BaseModel):
    """Unknown keys are errors, types are taken as written (no text for numbers), values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_by_name=True, allow_inf_nan=False)

    @classmethod
    def findings(cls, data: Mapping[str, Any]) -> Iterable[Finding]:
        """Rules over several keys. ``data`` may be a file's raw content, with keys missing or of the wrong type."""
        return ()

    @model_validator(mode="after")
    def _check_across_keys(self) -> Self:
        found = tuple(type(self).findings(self.model_dump(by_alias=True)))
        if found:
            text = "; ".join(finding.rule for finding in found).replace("{", "(").replace("}", ")")
            raise PydanticCustomError(ACROSS_KEYS, text, {"findings": found})
        return self


def as_mapping(value: Any) -> Mapping[str, Any]:
    """``value`` if it is a mapping, else an empty one: raw content may be anything."""
    return value if isinstance(value, Mapping) else {}


def as_list(value: Any) -> list[Any]:
    """``value`` as a list: a text counts as a list of one, anything else that is no list as an empty one."""
    if isinstance(value, str):
        return [value]
    return list(value) if isinstance(value, (list, tuple)) else []


def repeated(values: Iterable[Any]) -> list[str]:
    """The texts that occur more than once, each named once, in order."""
    return [text for text, count in Counter(value for value in values if isinstance(value, str)).items() if count > 1]


def _plain_text(value: Any) -> Any:
    """Spark and the object stores take texts, but ``allow_http: true`` and ``port: 9000`` are how one writes them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float)) else value


Label = Annotated[str, Field(pattern=LABEL_PATTERN)]
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=64)]
Text = Annotated[str, Field(min_length=1)]
Setting = Annotated[str, BeforeValidator(_plain_text, json_schema_input_type=str | int | float | bool)]
KeyBits = Literal[2048, 3072]
