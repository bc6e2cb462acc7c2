"""One party of an end-to-end PSI case, as a process: ``python -m benchmarks.ours.psi_party JSON``.

Prints one JSON line: CPU seconds of this process tree for the session's start, the load step and the psi step, and by
phase with wall seconds beside; the common rows, the bytes this party sent, the tree's peak memory, and the peak size of
the folder that both parties' workspaces and the exchange lie in.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.cpu import TreeClock, adopt_orphans, tree_peak_mb
from benchmarks.ids import PARTIES
from fedspark.conf import PartyConf, PipelineConf, party_from, pipeline_from
from fedspark.psi.align import Alignment, PartFiles, part_files
from fedspark.run import Progress, open_run
from fedspark.steps.registry import run_steps

_WAIT_SECONDS = 3600.0


def main() -> None:
    """Play one party and print what it cost."""
    config = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    adopt_orphans()
    party, pipeline = _party(config), _pipeline(config)
    cpu = TreeClock()
    progress = CpuProgress(config["party"], cpu, quiet=not config.get("log"))
    run = open_run(party, pipeline, "bench", wait_seconds=_WAIT_SECONDS, progress=progress)
    disk = Disk(config["folder"])
    clock = [cpu()]
    # An empty job of each kind: JVM, Python daemon and worker, and what the worker imports.
    run.spark.range(2).mapInArrow(lambda batches: batches, "id long").collect()
    run.runner.run(nothing, range(1), part_files(run.at("psi"), "none"), lambda done: None)
    clock.append(cpu())
    run_steps(run, only="load")
    clock.append(cpu())
    run_steps(run, only="psi")
    clock.append(cpu())
    peak = tree_peak_mb()
    alignment = Alignment.of(run.at("psi"))
    answer = {
        "session_cpu_s": clock[1] - clock[0],
        "load_cpu_s": clock[2] - clock[1],
        "psi_cpu_s": clock[3] - clock[2],
        "cpu_s": clock[3] - clock[1],
        "common": alignment.rows,
        "sent_bytes": sum(item.bytes for item in run.mailbox.traffic() if item.sender == run.me.name),
        "peak_rss_mb": peak,
        "peak_disk_mb": disk.peak_mb(),
        "phases": progress.phases,
    }
    print(json.dumps(answer), file=answers, flush=True)
    with contextlib.suppress(Exception):
        run.spark.stop()


def nothing(files: PartFiles, part: int) -> None:
    """A part task that does nothing."""


class CpuProgress(Progress):
    """Progress that also adds up the CPU time of the process tree by phase: {"step: phase": [CPU s, wall s]}."""

    def __init__(self, name: str, clock: TreeClock, *, quiet: bool) -> None:
        super().__init__(name, quiet=quiet)
        self.phases: dict[str, list[float]] = {}
        self._cpu = clock

    @contextlib.contextmanager
    def timed(self, title: str, rows: int | None = None) -> Iterator[None]:
        cpu, wall = self._cpu(), time.perf_counter()
        with super().timed(title, rows):
            yield
        spent = self.phases.setdefault(f"{self.step}: {title}", [0.0, 0.0])
        spent[0] = round(spent[0] + self._cpu() - cpu, 3)
        spent[1] = round(spent[1] + time.perf_counter() - wall, 3)


class Disk:
    """Looks at the size of a folder every few seconds."""

    def __init__(self, folder: str) -> None:
        self._folder, self._peak, self._stop = Path(folder), 0, threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def peak_mb(self) -> float:
        """Largest size seen, in MiB: the tables that are read are not counted."""
        self._stop.set()
        return self._peak / 2**20

    def _watch(self) -> None:
        while not self._stop.wait(1.0):
            self._peak = max(self._peak, sum(map(_size, self._folder.glob("*/**/*"))))


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0


def _pipeline(config: dict[str, Any]) -> PipelineConf:
    own = {"rsa": {"key_bits": config["bits"]}, "ot": {"field_bits": config["field_bits"]}}
    psi = {"step": "psi", "table": "people", "protocol": config["protocol"], **own.get(config["protocol"], {})}
    if config.get("bucket_rows"):
        psi["bucket_rows"] = config["bucket_rows"]
    return pipeline_from(
        {
            "project": "bench",
            "pipeline": "psi",
            "parties": {"guest": "guest", "hosts": ["host"]},
            "steps": [{"step": "load", "tables": ["people"]}, psi],
        }
    )


def _party(config: dict[str, Any]) -> PartyConf:
    folder, me = Path(config["folder"]), config["party"]
    (other,) = (party for party in PARTIES if party != me)
    return party_from(
        {
            "party": me,
            "identity": f"file:{me}.key",
            "workspace": {"files": f"work-{me}"},
            "exchange": {"url": "exchange"},
            "peers": {other: (folder / f"{other}.pub").read_text()},
            "spark": {
                "master": config["master"],
                "conf": {"spark.driver.memory": config["driver_memory"], "spark.sql.shuffle.partitions": "2"},
            },
            "tables": {"people": {"kind": "parquet", "path": config["tables"][me], "id": "id"}},
        },
        directory=str(folder),
    )


if __name__ == "__main__":
    main()
