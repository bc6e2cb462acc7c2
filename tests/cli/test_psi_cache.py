"""``fedspark psi-cache``: epochs made before a guest asks, then whole pipelines on them, listed and dropped."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedspark.buckets import InProcessRunner
from fedspark.run import Progress
from fedspark.run.opening import place_of
from fedspark.steps import psi_cache
from fedspark.steps.session import run_party
from tests.example import PARTIES, PATIENCE_SECONDS, Example


@pytest.fixture
def example(tmp_path: Path) -> Example:
    example = Example.make(tmp_path / "example")
    cached = {"protocol": "rsa", "cache": True}
    example.edit_steps(psi=cached, predict=cached)
    return example


def play(example: Example, label: str) -> None:
    def half(name: str) -> None:
        settings = {"wait_seconds": PATIENCE_SECONDS, "runner": InProcessRunner()}
        run_party(example.party(name), example.pipeline(), label, progress=Progress(name, quiet=True), **settings)

    assert example.play(half) == {}


def tags_sent(example: Example, label: str) -> bool:
    return any("/tags.0/" in path for path in example.paths(f"exchange/breast-cancer/demo/{label}"))


@pytest.mark.slow
@pytest.mark.spark
def test_two_runs_train_and_score_on_epochs_that_the_host_made_before(example: Example):
    made = example.command("psi-cache", "laboratory")
    assert made.code == 0, made.err
    first = psi_cache.find(example.party("laboratory"), example.pipeline())
    assert [(one.table, one.peer, one.state) for one in first] == [
        ("newcomers", "hospital", "made here"),
        ("patients", "hospital", "made here"),
    ]
    assert all(one.name in made.out for one in first)
    assert example.command("psi-cache", "laboratory").code == 0
    assert psi_cache.find(example.party("laboratory"), example.pipeline()) == first
    for label in ("1", "2"):
        play(example, label)
        assert tags_sent(example, label) == (label == "1")
        for name in PARTIES[:2]:
            pipeline = example.pipeline()
            workspace = place_of(example.party(name), pipeline, label).workspace
            assert workspace.read_json("steps/psi/psi/alignment.json")["rows"] == 45
        scores = place_of(example.party("hospital"), pipeline, label).workspace.read(
            "steps/predict/scores/part-00000.csv"
        )
        assert len(scores.decode().splitlines()) == 1 + 10
    assert psi_cache.find(example.party("laboratory"), example.pipeline()) == first
    listed = example.command("psi-cache", "hospital", "--list")
    assert listed.out.count("tags kept") == 2
    dropped = example.command("psi-cache", "laboratory", "--drop", first[0].name[:6])
    assert dropped.out == f"dropped: epoch {first[0].name} of newcomers with hospital\n"
    assert psi_cache.find(example.party("laboratory"), example.pipeline()) == first[1:]
    assert example.command("psi-cache", "hospital", "--drop", "all").code == 0
    assert psi_cache.find(example.party("hospital"), example.pipeline()) == []


def test_only_the_host_of_a_step_with_cache_makes_epochs(example: Example):
    refused = example.command("psi-cache", "hospital")
    assert refused.code == 78
    assert "hospital is guest in pipeline demo; only a host has epochs to make." in refused.said
    example.edit_steps(psi={"cache": False}, predict={"cache": False})
    for words, said in (
        ((), "is there in pipeline demo"),
        (("--table", "patients"), "intersects patients in pipeline"),
    ):
        refused = example.command("psi-cache", "laboratory", *words)
        assert refused.code == 78
        assert f"No step with `cache: true` {said}" in refused.said


def test_a_name_that_is_no_epoch_is_not_dropped(example: Example):
    for name in ("00000000", "", "a"):
        refused = example.command("psi-cache", "laboratory", "--drop", name)
        assert refused.code == 78
        assert "Epochs here: none." in refused.said
