"""JSON schemas of the two files, for editors and for other tools."""

from __future__ import annotations

import json
from typing import Any

from fedspark.conf.model import Model
from fedspark.conf.party_file import PartyConf
from fedspark.conf.pipeline_file import PipelineConf
from fedspark.conf.shape import DISCRIMINATORS

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def party_schema() -> dict[str, Any]:
    """JSON schema (2020-12) of the party file."""
    return _schema(PartyConf, "fedspark party file")


def pipeline_schema() -> dict[str, Any]:
    """JSON schema (2020-12) of the pipeline file."""
    return _schema(PipelineConf, "fedspark pipeline file")


def schema_text(schema: dict[str, Any]) -> str:
    """The schema as indented JSON with a newline at the end."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _schema(model: type[Model], title: str) -> dict[str, Any]:
    schema = model.model_json_schema(mode="validation", by_alias=True)
    for definition in schema.get("$defs", {}).values():
        properties = definition.get("properties", {})
        tags = [key for key in DISCRIMINATORS if "const" in properties.get(key, {})]
        if tags:  # written in every file, although Python code may leave it out
            definition["required"] = tags + [key for key in definition.get("required", []) if key not in tags]
    return {"$schema": _DIALECT, **schema, "title": title}
