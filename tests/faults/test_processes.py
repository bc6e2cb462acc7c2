"""Real processes, killed with SIGKILL in the middle of their work and started again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT
from tests.example import LABEL, PARTIES, Example
from tests.faults.left import assert_same

pytestmark = [pytest.mark.spark, pytest.mark.slow]

DEADLINE_SECONDS = 500.0
POLL_SECONDS = 0.02
LIGHT = {
    "spark.driver.memory": "1g",
    "spark.sql.shuffle.partitions": 2,
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}


class Processes:
    """One process per party, as in three companies, with their logs."""

    def __init__(self, example: Example) -> None:
        self.example = example
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._deadline = time.monotonic() + DEADLINE_SECONDS

    def start(self, name: str) -> None:
        command = [sys.executable, "-m", "fedspark", "run", *self.example.arguments(name), "--run", LABEL]
        with self.log(name).open("ab") as log:
            self.running[name] = subprocess.Popen(
                command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=dict(os.environ)
            )

    def kill(self, name: str) -> None:
        self.running[name].kill()
        assert self.running[name].wait() == -9, self.story()

    def wait_for(self, message: str) -> None:
        """Until a message is committed; a party that ends before that is a failure."""
        while not list(self.example.directory.glob(f"exchange/*/*/*/*/{message}/manifest")):
            self._look()

    def wait_for_all(self) -> None:
        while any(process.poll() is None for process in self.running.values()):
            self._look()
        self._look()

    def stop(self) -> None:
        for process in self.running.values():
            if process.poll() is None:
                process.kill()
                process.wait()

    def _look(self) -> None:
        assert time.monotonic() < self._deadline, self.story()
        for process in self.running.values():
            assert process.poll() in (None, 0), self.story()
        waited = next((process for process in self.running.values() if process.poll() is None), None)
        if waited is not None:
            try:
                waited.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                return

    def log(self, name: str) -> Path:
        return self.example.directory / f"{name}.log"

    def story(self) -> str:
        ends = {name: process.poll() for name, process in self.running.items()}
        return "\n".join([str(ends), *(f"--- {name}\n{self.log(name).read_text()}" for name in self.running)])


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    example = Example.make(tmp_path / "example")
    for name in ("hospital", "laboratory"):
        example.edit(name, spark={"conf": LIGHT})
    held = Processes(example)
    yield held
    held.stop()


def written_once(example: Example) -> dict[Path, tuple[bytes, int]]:
    """Content and time of everything that must never change: messages, and what workspaces hold of the run."""
    files = [path for folder in ("exchange", "work") for path in (example.directory / folder).rglob("*")]
    found = {}
    for path in files:
        own_status = "status" in path.parts or path.name in ("seed.sealed", "report.html")
        staging = "#" in path.name or path.name.startswith(".") or "tables" in path.parts
        if not own_status and not staging and path.is_file():
            found[path] = (path.read_bytes(), path.stat().st_mtime_ns)
    return found


def test_each_party_killed_once_and_started_again_rewrites_nothing_and_ends_with_the_same_model(processes, calm):
    for name in PARTIES:
        processes.start(name)
    existed = {}
    for name, moment in (
        ("laboratory", "psi/0000/blinded.0/hospital.laboratory"),
        ("hospital", "train/0000/u.0/laboratory.hospital"),
        ("authority", "train/0001/g.0/hospital.authority"),
    ):
        processes.wait_for(moment)
        processes.kill(name)
        existed[name] = written_once(processes.example)
        processes.start(name)
    processes.wait_for_all()

    after = written_once(processes.example)
    for name, before in existed.items():
        assert len(before) > 20, name
        assert [path for path, state in before.items() if after.get(path, state) != state] == []
        gone = {path for path in before if path not in after}
        assert {path.name[:5] for path in gone} <= {"part-", "group"}, gone  # what was read, and first passes
    assert_same(processes.example, calm)
