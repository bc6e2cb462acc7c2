"""The options of an intersection from the pipeline file to what lies there, with the parties of the example."""

from __future__ import annotations

import csv
import io

import pytest
import yaml

from fedspark.buckets import InProcessRunner
from fedspark.conf import load_pipeline
from fedspark.run import Progress
from fedspark.run.opening import place_of
from fedspark.steps.session import run_party
from tests.example import LABEL, PATIENCE_SECONDS, Example


@pytest.mark.slow
@pytest.mark.spark
def test_the_example_by_auto_scores_every_newcomer_of_the_hospital_once_with_a_left_join(tmp_path, spark):
    example = Example.make(tmp_path / "example")
    example.edit_steps(psi={"protocol": "auto", "join": "left"}, predict={"protocol": "auto", "join": "left"})
    assert example.play() == {}
    files = {path: data for path, data in example.files(".").items() if "/steps/predict/scores/" in path}
    texts = [data.decode() for path, data in files.items() if path.endswith(".csv")]
    rows = [row for text in texts for row in csv.DictReader(io.StringIO(text))]
    table = (example.directory / "data" / "hospital_newcomers.csv").read_text()
    assert sorted(row["patient_id"] for row in rows) == sorted(line.split(",")[0] for line in table.splitlines()[1:])
    assert sum(row["score"] == "" for row in rows) == 2
    report = example.workspace_file("laboratory", "report.html").decode()
    assert "ot, chosen because the tables (rows: hospital 50, laboratory 50) differ by 100 times at most" in report


@pytest.mark.slow
@pytest.mark.spark
def test_a_pipeline_that_only_counts_needs_no_arbiter_and_reports_the_number(tmp_path, spark):
    example = Example.make(tmp_path / "example")
    counting = {
        "project": "breast-cancer",
        "pipeline": "overlap",
        "parties": {"guest": "hospital", "hosts": ["laboratory"]},
        "steps": [
            {"step": "load", "tables": ["patients"]},
            {"step": "psi", "table": "patients", "protocol": "auto", "reveal": "count"},
        ],
    }
    (example.directory / "overlap.yaml").write_text(yaml.safe_dump(counting))
    pipeline = load_pipeline(example.directory / "overlap.yaml")

    def count(name: str) -> None:
        progress = Progress(name, quiet=True)
        runner = InProcessRunner()
        run_party(example.party(name), pipeline, LABEL, progress=progress, runner=runner, wait_seconds=PATIENCE_SECONDS)

    assert example.play(count, ("hospital", "laboratory")) == {}
    for name in ("hospital", "laboratory"):
        workspace = place_of(example.party(name), pipeline, LABEL).workspace
        record = workspace.read_json("steps/psi/record.json")
        assert record["headline"] == {"people in common": 45}
        assert "ecdh, chosen because it can count people without showing them" in record["facts"]["protocol"]
        assert "nobody who" in record["text"]
        assert workspace.exists("report.html")
