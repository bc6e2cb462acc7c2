from __future__ import annotations

from typing import Any

import pytest

from fedspark.conf import pipeline_from
from fedspark.conf.options.train import TrainOptions, WarmStart
from fedspark.errors import ConfigError

TRAIN: dict[str, Any] = {"step": "train", "table": "people"}
AGAIN: dict[str, Any] = {"step": "train", "table": "people", "name": "again"}


def pipeline(*trains: dict[str, Any]) -> Any:
    steps = [{"step": "load", "tables": ["people"]}, {"step": "psi", "table": "people"}, *trains]
    parties = {"guest": "shop", "hosts": ["bank"], "arbiter": "office"}
    return pipeline_from({"project": "p", "pipeline": "q", "parties": parties, "steps": steps})


def test_without_further_words_rows_weigh_the_same_and_training_starts_at_zero() -> None:
    options = pipeline(TRAIN).step("train")
    assert isinstance(options, TrainOptions)
    assert (options.class_weight, options.warm_start) == ("none", None)


def test_a_training_may_start_from_an_earlier_step_or_run() -> None:
    made = pipeline(TRAIN, AGAIN | {"warm_start": {}, "class_weight": "balanced"})
    assert made.step("again").warm_start == WarmStart(step="train")
    assert made.flat()["steps.again.warm_start.step"] == "train"
    made = pipeline(TRAIN | {"warm_start": {"run": "2026-11", "step": "fit", "pipeline": "old"}})
    assert made.step("train").warm_start == WarmStart(run="2026-11", step="fit", pipeline="old")


@pytest.mark.parametrize(
    ("train", "problem"),
    [
        ({"warm_start": {}}, "steps[2].warm_start.step: 'train' is no earlier train step; train steps so far: none"),
        ({"warm_start": {"step": "trane"}}, "'trane' is no earlier train step"),
        ({"warm_start": {"pipeline": "old"}}, "steps[2].warm_start.run: is required with pipeline"),
        ({"warm_start": {"run": "x", "model": "y"}}, "steps[2].warm_start.model: unknown key; valid here: step, run"),
        ({"warm_start": "monday"}, "steps[2].warm_start: must be a mapping"),
        ({"class_weight": "even"}, "steps[2].class_weight: must be"),
    ],
)
def test_a_start_or_weight_that_cannot_be_is_a_problem_of_the_file(train: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        pipeline(TRAIN | train)
    assert problem in str(caught.value)
