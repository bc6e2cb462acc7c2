"""The exported JSON schemas say what the models say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from fedspark.conf import party_schema, pipeline_schema, schema_text

BOTH = pytest.mark.parametrize("schema", [party_schema(), pipeline_schema()], ids=["party", "pipeline"])


def objects(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield schema["title"], schema
    yield from schema["$defs"].items()


@BOTH
def test_every_key_is_described(schema):
    missing = [
        f"{name}.{key}"
        for name, definition in objects(schema)
        for key, value in definition["properties"].items()
        if not value.get("description")
    ]
    assert missing == []


@BOTH
def test_unknown_keys_are_forbidden_everywhere(schema):
    assert all(definition["additionalProperties"] is False for _, definition in objects(schema))


@BOTH
def test_the_text_is_json(schema):
    assert json.loads(schema_text(schema)) == schema
    assert schema["$schema"].startswith("https://json-schema.org/")


def test_kinds_are_required_and_come_first():
    steps = pipeline_schema()["$defs"]
    for name in ("LoadOptions", "PsiOptions", "TrainOptions", "EvaluateOptions", "PredictOptions"):
        assert steps[name]["required"][0] == "step"
        assert next(iter(steps[name]["properties"])) == "step"
    tables = party_schema()["$defs"]
    assert tables["CsvTable"]["required"] == ["kind", "id", "path"]
    assert "types" in tables["CsvTable"]["properties"]
    assert tables["CsvTable"]["properties"]["id"]["anyOf"] == [
        {"type": "string"},
        {"items": {"type": "string"}, "type": "array"},
    ]


def test_limits_are_in_the_schema():
    bucket_rows = pipeline_schema()["$defs"]["PsiOptions"]["properties"]["bucket_rows"]
    assert (bucket_rows["minimum"], bucket_rows["maximum"], bucket_rows["default"]) == (2, 262144, 65536)
    assert party_schema()["properties"]["identity"]["pattern"].startswith("^(env:")
    (name, identity), *_ = party_schema()["properties"]["peers"]["patternProperties"].items()
    assert name == "^[a-z0-9][a-z0-9_-]*$"
    assert identity["type"] == "string"
