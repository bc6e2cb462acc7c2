"""All parties of a pipeline on one machine, each in a process of its own, as they would run in three companies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

from fedspark.conf.local_file import LocalConf

_POLL_SECONDS = 0.1
_GRACE_SECONDS = 10.0
_JVM_NOISE = b"WARNING: Using incubator modules"  # said by every JVM that Spark starts, and nothing to act on


def run_all(conf: LocalConf, label: str) -> int:
    """Run every party of ``conf``; 0 when all have finished, else the exit status of the first that failed."""
    processes = {file: _start(file, conf.pipeline, label) for file in conf.parties}
    pumps = [threading.Thread(target=_pump, args=(process.stdout,), daemon=True) for process in processes.values()]
    for pump in pumps:
        pump.start()
    try:
        code = _wait(processes)
    finally:
        _stop(processes)
        for pump in pumps:
            pump.join(_GRACE_SECONDS)
    return code


def _start(party: Path, pipeline: Path, label: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "fedspark", "run", "--party", str(party), "--pipeline", str(pipeline)]
    # Unbuffered, so that the lines of all parties appear in the order in which they were written.
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [*command, "--run", label],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
    )


def _pump(source: IO[bytes] | None) -> None:
    for line in source or ():
        if line.startswith(_JVM_NOISE):
            continue
        sys.stdout.write(line.decode("utf-8", errors="replace"))
        sys.stdout.flush()


def _wait(processes: dict[Path, subprocess.Popen[bytes]]) -> int:
    while True:
        codes = {file: process.poll() for file, process in processes.items()}
        failed = next((code for code in codes.values() if code), None)
        if failed is not None:
            return failed if failed > 0 else 128 - failed
        if all(code == 0 for code in codes.values()):
            return 0
        time.sleep(_POLL_SECONDS)


def _stop(processes: dict[Path, subprocess.Popen[bytes]]) -> None:
    """End what still runs: a party alone would wait for the others until its deadline."""
    running = [process for process in processes.values() if process.poll() is None]
    for process in running:
        process.send_signal(signal.SIGTERM)
    for process in running:
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
