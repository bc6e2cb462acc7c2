"""PSI end to end: two party processes, each with its own Spark session, from a Parquet table to aligned part files.

Each party is what a company runs: ``open_run``, the load step, the psi step; handshake, sealing, object storage (a
directory), shuffle, JVM and Python workers included. Measured is the CPU time of both process trees after their
sessions have started and run an empty job; that start is in ``session_cpu_s``. Equal figures for both parties would be
chance, so the mean is the figure and ``guest_us`` and ``host_us`` are printed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.ids import PARTIES, common
from benchmarks.worker import Work
from fedspark.crypto.identity import new_identity, private_text, public_bytes
from fedspark.party import identity_text


def prepare(case: str, config: dict[str, Any]) -> Callable[[], Work]:
    """Work of one whole run; ``config['tables']`` are the two Parquet files of ``config['rows']`` ids each."""
    rows = config["rows"]

    def work() -> Work:
        with tempfile.TemporaryDirectory(prefix="fedspark-bench-") as folder:
            write_keys(Path(folder))
            results = play(Path(folder), config)
        for result in results.values():
            assert result["common"] == common(rows), results
        cpu_s = sum(result["cpu_s"] for result in results.values()) / len(results)
        extra: dict[str, Any] = {}
        for party, result in results.items():
            extra[f"{party}_us"] = 1e6 * result["cpu_s"] / rows
            extra[f"{party}_load_us"] = 1e6 * result["load_cpu_s"] / rows
            extra[f"{party}_psi_us"] = 1e6 * result["psi_cpu_s"] / rows
        extra["session_cpu_s"] = sum(result["session_cpu_s"] for result in results.values()) / len(results)
        sent = sum(result["sent_bytes"] for result in results.values())
        peak = max(result["peak_rss_mb"] for result in results.values())
        return Work(rows, sent, cpu_s=cpu_s, peak_rss_mb=peak, extra=extra)

    return work


def write_keys(folder: Path) -> None:
    """An identity for each party: PARTY.key and PARTY.pub."""
    for party in PARTIES:
        key = new_identity()
        (folder / f"{party}.key").touch(mode=0o600)
        (folder / f"{party}.key").write_text(private_text(key))
        (folder / f"{party}.pub").write_text(identity_text(public_bytes(key)))


def play(folder: Path, config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Both parties as processes at the same time; what each measured, by party (see ``psi_party``)."""
    command = [sys.executable, "-m", "benchmarks.ours.psi_party"]
    processes = {
        party: subprocess.Popen(
            [*command, json.dumps({**config, "party": party, "folder": str(folder)})],
            stdout=subprocess.PIPE,
            text=True,
        )
        for party in PARTIES
    }
    results = {}
    try:
        for party, process in processes.items():
            out, _ = process.communicate()
            if process.returncode != 0:
                raise RuntimeError(f"the {party} ended with status {process.returncode}")
            results[party] = json.loads(out.splitlines()[-1])
    finally:
        for process in processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()
    return results
