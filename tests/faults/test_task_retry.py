"""Spark runs a task again that failed, and a job is submitted again that was killed: the same bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT
from tests.faults import mortal
from tests.faults.spark_job import FAILING
from tests.faults.test_killed_in_waves import PARTS_OF_WAVE, assert_same, everything

pytestmark = [pytest.mark.spark, pytest.mark.slow]

PROTOCOL = "ecdh"
RECORD = "/sent/0001/tags.guest"  # in the second wave, when all of its parts are written
PATIENCE_SECONDS = 300


@dataclass(frozen=True)
class Jobs:
    """What two submissions of one job left: the first was killed, the second ended well."""

    base: Path
    codes: list[int]
    attempts: Counter[tuple[str, ...]]
    """(submission, party, function, part): how often the task began."""

    def of(self, submission: str, party: str, function: str) -> dict[int, int]:
        """Attempts by part."""
        found = {key[3]: count for key, count in self.attempts.items() if key[:3] == (submission, party, function)}
        return {int(part): found[part] for part in sorted(found)}


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Jobs:
    pytest.importorskip("pyspark.sql")
    base = tmp_path_factory.mktemp("job")
    command = [sys.executable, "-m", "tests.faults.spark_job", str(base), PROTOCOL, RECORD]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}  # for Spark's workers
    codes = []
    for submission in ("first", "second"):
        with (base / f"{submission}.log").open("wb") as log:
            codes.append(
                subprocess.run(
                    command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    env=environment, timeout=PATIENCE_SECONDS, check=False,
                ).returncode
            )  # fmt: skip
    begun = Counter(tuple(path.name.split("-")[:4]) for path in (base / "attempts").iterdir())
    return Jobs(base, codes, begun)


def test_a_job_with_failing_tasks_that_is_killed_and_submitted_again_leaves_equal_bytes(jobs: Jobs):
    assert jobs.codes == [-9, 0], (jobs.base / "second.log").read_text()[-3000:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mortal.sizes, "WAVE_PARTS", 0)  # restores what ``federation`` sets
        patch.setattr(mortal.ot, "BUCKETS_PER_PART", 0)
        patch.setattr(mortal.cache, "now", None)
        unbroken = mortal.federation(None)
        mortal.play(unbroken, PROTOCOL)
        assert_same(jobs.base / "stores", everything(unbroken))


def test_tasks_failed_before_their_work_after_it_and_with_their_worker_and_ran_once_more(jobs: Jobs):
    repeated = {key: count for key, count in jobs.attempts.items() if count > 1}
    early = ("scatter", "gather", "blind_part", "tag_part")  # what comes before the second wave's tags are recorded
    expected = {
        ("first" if function in early else "second", party, function, str(part))
        for (party, function), (part, _) in FAILING.items()
    }
    assert expected <= repeated.keys()
    assert set(repeated.values()) == {2}
    assert {how for _, how in FAILING.values()} == {"before", "after", "killed"}


def test_the_second_submission_computes_the_wave_that_was_not_finished_and_what_follows(jobs: Jobs):
    assert jobs.of("second", "host", "gather") == {}
    assert jobs.of("second", "host", "tag_part").keys() == set(PARTS_OF_WAVE[1])
    assert jobs.of("second", "host", "keep_part").keys() == {0, 1, 2, 3}
