"""Every entry in jobs/ runs under a real spark-submit, one job per step, as a scheduler would start them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedspark.steps.registry import KINDS
from tests.example import LABEL, PARTIES, Example

JOBS = Path(__file__).resolve().parents[2] / "jobs"
DATA_PARTIES = PARTIES[:2]
PATIENCE_SECONDS = 300


def test_there_is_one_short_entry_for_every_kind_of_step_one_for_epochs_and_one_for_imports():
    assert sorted(path.stem for path in JOBS.glob("*.py")) == sorted([*KINDS, "import_table", "psi_cache"])
    assert all(len(path.read_text().splitlines()) < 20 for path in JOBS.glob("*.py"))


@pytest.mark.slow
@pytest.mark.spark
def test_a_pipeline_runs_step_by_step_through_spark_submit(tmp_path):
    example = Example.make(tmp_path / "example")
    arbiter = start([sys.executable, "-m", "fedspark", "run", *arguments(example, "authority")])
    try:
        for step in KINDS:
            jobs = {name: submit(example, name, step) for name in DATA_PARTIES}
            for name, job in jobs.items():
                output = job.communicate(timeout=PATIENCE_SECONDS)[0]
                assert job.returncode == 0, f"{step} at {name}: {output}"
        output = arbiter.communicate(timeout=PATIENCE_SECONDS)[0]
        assert arbiter.returncode == 0, output
    finally:
        arbiter.kill()
        arbiter.wait()
    scores = example.workspace_file("hospital", "steps/predict/scores/part-00000.csv").decode().splitlines()
    assert scores[0] == '"patient_id","score","probability"'
    assert len(scores) == 1 + 10
    assert b"<svg" in example.workspace_file("hospital", "report.html")


def submit(example: Example, name: str, step: str) -> subprocess.Popen[str]:
    import pyspark

    spark_submit = Path(pyspark.__file__).parent / "bin" / "spark-submit"
    # With --master local[2] here and local[1] in the party file, the session shows which of the two was taken.
    options = ["--master", "local[2]", "--driver-memory", "1g", "--conf", "spark.ui.enabled=false"]
    java = ["--driver-java-options", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"]
    return start([str(spark_submit), *options, *java, str(JOBS / f"{step}.py"), *arguments(example, name)])


def arguments(example: Example, name: str) -> list[str]:
    return [*example.arguments(name), "--run", LABEL, "--wait", str(PATIENCE_SECONDS)]


def start(command: list[str]) -> subprocess.Popen[str]:
    root = str(JOBS.parent)
    environment = {**os.environ, "PYTHONPATH": root, "PYSPARK_PYTHON": sys.executable}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, stdin=subprocess.DEVNULL
    )
