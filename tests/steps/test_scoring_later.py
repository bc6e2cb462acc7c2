"""A model is trained once and applied in later runs of another pipeline, which needs no arbiter."""

from __future__ import annotations

import pytest
import yaml

from fedspark.buckets import InProcessRunner
from fedspark.conf import load_pipeline, pipeline_from
from fedspark.errors import ConfigError
from fedspark.run import Progress
from fedspark.run.opening import place_of
from fedspark.steps.session import run_party
from tests.example import PATIENCE_SECONDS, Example

SCORING = {
    "project": "breast-cancer",
    "pipeline": "weekly",
    "parties": {"guest": "hospital", "hosts": ["laboratory"]},
    "steps": [
        {"step": "load", "tables": ["newcomers"]},
        {"step": "predict", "table": "newcomers", "model_pipeline": "demo", "model_run": "1"},
    ],
}


@pytest.mark.slow
@pytest.mark.spark
def test_a_later_run_scores_with_the_model_of_an_earlier_one(tmp_path, spark):
    example = Example.make(tmp_path / "example")
    assert example.play() == {}
    (example.directory / "weekly.yaml").write_text(yaml.safe_dump(SCORING))
    weekly = load_pipeline(example.directory / "weekly.yaml")

    def score(name: str) -> None:
        run_party(
            example.party(name),
            weekly,
            "2026-11-21",
            progress=Progress(name, quiet=True),
            runner=InProcessRunner(),
            wait_seconds=PATIENCE_SECONDS,
        )

    assert example.play(score, ("hospital", "laboratory")) == {}
    scores = place_of(example.party("hospital"), weekly, "2026-11-21").workspace.read(
        "steps/predict/scores/part-00000.csv"
    )
    first = example.workspace_file("hospital", "steps/predict/scores/part-00000.csv")
    assert sorted(scores.splitlines()) == sorted(first.splitlines())


def test_a_model_of_a_run_that_never_was_is_named(tmp_path, spark):
    example = Example.make(tmp_path / "example")
    weekly = pipeline_from({**SCORING, "steps": [SCORING["steps"][0], {**SCORING["steps"][1], "model_run": "no"}]})

    def score(name: str) -> None:
        run_party(example.party(name), weekly, "later", progress=Progress(quiet=True), wait_seconds=PATIENCE_SECONDS)

    errors = example.play(score, ("hospital", "laboratory"))
    assert [type(error) for error in errors.values()] == [ConfigError, ConfigError]
    assert "Step train has not trained a model in run no" in str(errors["hospital"])


def test_a_pipeline_of_the_model_needs_its_run():
    with pytest.raises(ConfigError, match="model_run: is required with model_pipeline"):
        pipeline_from({**SCORING, "steps": [SCORING["steps"][0], {**SCORING["steps"][1], "model_run": None}]})
