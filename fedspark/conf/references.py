"""References to secrets as fields of configuration models."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from fedspark.conf.secrets import REFERENCE_PATTERN, is_reference

CLEAR_SECRET = "clear_secret"
BY_REFERENCE = "must be a reference, env:NAME or file:path, and never the secret itself"


def _reference(text: str) -> str:
    if not is_reference(text):
        raise PydanticCustomError(CLEAR_SECRET, BY_REFERENCE)
    return text


SecretReference = Annotated[
    str, AfterValidator(_reference), Field(json_schema_extra={"pattern": REFERENCE_PATTERN, "minLength": 5})
]
