from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fedspark.errors import ConfigError, Mismatch, TableError
from fedspark.models import artifact
from fedspark.models.artifact import Feature, Member, ModelPart, Round, TrainingSplit


@pytest.fixture
def part() -> ModelPart:
    return ModelPart(
        project="loans",
        pipeline="score",
        model_id="ab12/train",
        party="bank",
        role="guest",
        members=[Member(name="bank", role="guest"), Member(name="shop", role="host")],
        objective="Taylor",
        l2=0.001,
        rows=100,
        stop="converged",
        split=TrainingSplit(salt="s", share=0.3),
        features=[
            Feature(name="age", mean=40.0, scale=10.0, weight=0.5, weight_raw=0.05),
            Feature(name="größe", mean=-1.0, scale=0.5, weight=-0.1, weight_raw=-0.2),
        ],
        intercept=0.25,
        history=[Round(loss=0.69), Round(loss=0.4, decrease=0.29, change=1.5)],
    )


def changed(part: ModelPart, **changes: Any) -> bytes:
    return json.dumps(json.loads(part.to_bytes()) | changes).encode()


def test_a_part_reads_back_exactly_and_is_the_same_bytes_again(part: ModelPart) -> None:
    again = artifact.load_part(part.to_bytes(), "bank", "model.json")
    assert again == part
    assert again.to_bytes() == part.to_bytes()
    assert again.rounds == 1


def test_another_format_version_is_refused(part: ModelPart) -> None:
    with pytest.raises(ConfigError, match=r"format version 2.*reads version 1"):
        artifact.load_part(changed(part, version=2), "bank", "model.json")


def test_the_part_of_another_party_is_refused(part: ModelPart) -> None:
    with pytest.raises(ConfigError, match="is the part of bank, and this party is shop"):
        artifact.load_part(part.to_bytes(), "shop", "model.json")


@pytest.mark.parametrize(
    "changes",
    [
        {"extra": 1},
        {"l2": "0.001"},
        {"features": [{"name": "age"}]},
        {"rows": 1.5},
        {"kind": "tree"},
    ],
)
def test_a_part_with_wrong_or_unknown_keys_is_refused(part: ModelPart, changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="not a valid model file"):
        artifact.load_part(changed(part, **changes), "bank", "model.json")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b"\xff"])
def test_a_file_that_is_no_model_is_refused(data: bytes) -> None:
    with pytest.raises(ConfigError, match="model"):
        artifact.load_part(data, "bank", "model.json")


def test_a_table_without_a_feature_of_the_model_is_refused_by_name(part: ModelPart) -> None:
    part.check_columns(["key", "x.größe", "x.more", "x.age"], "people")
    with pytest.raises(TableError, match=r"'people' lacks features.*größe"):
        part.check_columns(["key", "x.age"], "people")


def test_partial_scores_standardise_with_the_training_statistics(part: ModelPart) -> None:
    table = pa.table({"x.größe": [0.0, -1.0], "x.age": [40.0, 60.0]})
    np.testing.assert_allclose(part.partial_scores(table), [0.25 - 0.2, 0.25 + 1.0])


def test_scores_of_another_model_are_refused(part: ModelPart) -> None:
    artifact.check_same_model(part, "shop", {"model_id": "ab12/train"})
    for meta in ({"model_id": "cd34/train"}, {}):
        with pytest.raises(Mismatch, match="shop scored with model"):
            artifact.check_same_model(part, "shop", meta)
