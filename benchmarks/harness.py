"""Cases, interleaved rounds, medians, and one JSON line per case.

A case has two sides, ours and a peer's, each in a child process of its own (``worker``), with the interpreter that
has the peer. Rounds alternate between them, so that what else the machine does hits both; the figures are medians of
CPU time. A peer that is not installed is reported as absent, one that fails as failed: never as beaten.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

CHECKOUT = Path(__file__).resolve().parent.parent
KEYS = (
    "bench", "case", "rows", "cpu_us_per_row", "bytes_per_row", "wall_s", "peak_rss_mb",
    "peer", "peer_cpu_us_per_row", "ratio",
)  # fmt: skip
"""What every line has; after these come fields that a case adds."""

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}

Round = dict[str, Any]
T = TypeVar("T")


class SideFailed(Exception):
    """A side could not be prepared or measured; the message is its traceback."""


@dataclass(frozen=True)
class Side:
    """One side of a case: the module for ``worker``, what it is told, and the interpreter that runs it."""

    module: str
    config: dict[str, Any]
    python: str = sys.executable


@dataclass(frozen=True)
class Peer:
    """Another system: ``package`` must be importable somewhere for ``module`` to be measured; None: it is built in.

    ``beside``: it is measured in the process of our side, whose session it uses.
    """

    name: str
    module: str
    package: str | None = None
    environments: tuple[str, ...] = (".venv",)
    beside: bool = False

    def python(self) -> str | None:
        """The first interpreter that can import the package: this one, FEDSPARK_PEERS_PYTHON, the set-up's venvs."""
        named = os.environ.get("FEDSPARK_PEERS_PYTHON")
        places = [CHECKOUT / name / "bin" / "python" for name in self.environments]
        candidates = [sys.executable, *([named] if named else []), *(str(place) for place in places)]
        return next((python for python in candidates if self.package is None or can_import(python, self.package)), None)


@functools.cache
def can_import(python: str, package: str) -> bool:
    """Whether the interpreter ``python`` exists and imports ``package``."""
    try:
        run = subprocess.run([python, "-c", f"import {package}"], cwd=CHECKOUT, capture_output=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return run.returncode == 0


@dataclass(frozen=True)
class Case:
    """What is measured: ``config`` goes to both sides, ``peer_config`` over it to the peer, ``extra`` into the line."""

    bench: str
    name: str
    module: str
    config: dict[str, Any]
    peer: Peer | None = None
    peer_config: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)


Measure = Callable[[], Round]
Start = Callable[[Side, str], Measure]

# ---- measuring ------------------------------------------------------------------------------------------------------


def run_case(case: Case, repeats: int) -> dict[str, Any]:
    """Measure one case and return its line. SideFailed when our own side fails."""
    ours, theirs, peer, error = [], [], "none", None
    with contextlib.ExitStack() as stack:
        start = stack.enter_context(_process(sys.executable, case.module))
        mine = start(Side(case.module, case.config), case.name)
        other = None
        if case.peer is not None:
            peer, other, error = _start_peer(case, start, stack)
        for number in range(repeats):
            # Whoever goes second finds warmer caches and a hotter processor: take turns.
            for turn in (0, 1) if number % 2 == 0 else (1, 0):
                if turn == 0:
                    ours.append(mine())
                elif other is not None:
                    try:
                        theirs.append(other())
                    except SideFailed as failure:
                        peer, other, error, theirs = f"failed: {case.peer.name}", None, str(failure), []
    extra = {**case.extra, **({"peer_error": error.strip().splitlines()[-1]} if error else {})}
    return record(case.bench, case.name, ours, peer, theirs, extra)


def _start_peer(case: Case, ours: Start, stack: contextlib.ExitStack) -> tuple[str, Measure | None, str | None]:
    peer = case.peer
    assert peer is not None
    python = sys.executable if peer.beside else peer.python()
    if python is None:
        return f"absent: {peer.name}", None, None
    try:
        side = Side(peer.module, {**case.config, **case.peer_config}, python)
        start = ours if peer.beside else stack.enter_context(_process(python, peer.module))
        return peer.name, start(side, case.name), None
    except SideFailed as failure:
        return f"failed: {peer.name}", None, str(failure)


@contextlib.contextmanager
def _process(python: str, module: str) -> Iterator[Start]:
    """A worker process, in which sides are prepared."""
    command = [python, "-m", "benchmarks.worker", module]
    environment = {"SPARK_LOCAL_IP": "127.0.0.1", **os.environ, **_ONE_THREAD, "PYTHONPATH": str(CHECKOUT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # else every process compiles all that it imports
    process = subprocess.Popen(
        command, cwd=CHECKOUT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def ask(request: dict[str, Any]) -> Round:
        answer: Round = {"error": f"{request['module']} ended without an answer"}
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(request), file=process.stdin, flush=True)
            line = process.stdout.readline()
            answer = json.loads(line) if line else answer
        if "error" in answer:
            raise SideFailed(answer["error"])
        return answer

    def start(side: Side, case: str) -> Measure:
        ask({"prepare": case, "module": side.module, "config": side.config})
        return lambda: ask({"measure": True, "module": side.module})

    try:
        yield start
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


# ---- arithmetic and output ------------------------------------------------------------------------------------------


def record(
    bench: str, case: str, ours: Sequence[Round], peer: str, theirs: Sequence[Round], extra: dict[str, Any]
) -> dict[str, Any]:
    """The line of a case from its rounds. Nothing is said of a peer that has no rounds.

    ratio = the peer's CPU time per row / ours, each the median of its rounds: above 1 we are faster.
    """
    mine, other = _per_row(ours), _per_row(theirs) if theirs else None
    line = {
        "bench": bench,
        "case": case,
        "rows": ours[0]["rows"],
        "cpu_us_per_row": _digits(mine),
        "bytes_per_row": _bytes_per_row(ours),
        "wall_s": _digits(statistics.median(item["wall_s"] for item in ours)),
        "peak_rss_mb": round(max(item["peak_rss_mb"] for item in ours), 1),
        "peer": peer,
        "peer_cpu_us_per_row": None if other is None else _digits(other),
        "ratio": None if other is None else _digits(other / mine),
        "repeats": len(ours),
        "spread": _spread(ours),
    }
    if theirs:
        line["peer_rows"] = theirs[0]["rows"]
        line["peer_bytes_per_row"] = _bytes_per_row(theirs)
        line["peer_peak_rss_mb"] = round(max(item["peak_rss_mb"] for item in theirs), 1)
        line["peer_spread"] = _spread(theirs)
    return line | _medians(ours, "") | _medians(theirs, "peer_") | extra


def _per_row(rounds: Sequence[Round]) -> float:
    return 1e6 * statistics.median(item["cpu_s"] / item["units"] for item in rounds)


def _bytes_per_row(rounds: Sequence[Round]) -> float | None:
    first = rounds[0]
    return None if first["bytes"] is None else _digits(first["bytes"] / first["units"])


def _spread(rounds: Sequence[Round]) -> float:
    """(largest - smallest) / median of the rounds' CPU time."""
    times = [item["cpu_s"] for item in rounds]
    return _digits((max(times) - min(times)) / statistics.median(times))


def _medians(rounds: Sequence[Round], prefix: str) -> dict[str, Any]:
    """What sides report beside the common fields: medians of numbers, the first of anything else."""
    fields: dict[str, Any] = {}
    for name in rounds[0]["extra"] if rounds else ():
        values = [item["extra"][name] for item in rounds]
        number = all(isinstance(value, float) for value in values)
        fields[prefix + name] = _digits(statistics.median(values)) if number else values[0]
    return fields


def _digits(value: float) -> float:
    """Four significant digits: more would be noise."""
    return float(f"{value:.4g}")


def machine() -> str:
    """Processor and number of cores, for the line."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = " ".join(line.partition(":")[2].split())
                break
    return f"{model}, {os.cpu_count()} cores, {isa()}"


def isa() -> str:
    """The widest integer extension that big-number code uses here."""
    flags: set[str] = set()
    with contextlib.suppress(OSError):
        flags = set(Path("/proc/cpuinfo").read_text().split())
    return next((name for name in ("avx512ifma", "avx512f", "avx2") if name in flags), "baseline")


def parser(description: str, rows: int | list[int]) -> argparse.ArgumentParser:
    """The options that every benchmark has; with a list of ``rows`` as many sizes as one likes may be asked for."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    many = {"nargs": "+"} if isinstance(rows, list) else {}
    made.add_argument("--rows", type=int, default=rows, help="rows of a case", **many)
    made.add_argument("--repeats", type=int, default=3, help="interleaved rounds; the figures are medians")
    made.add_argument("--bits", type=int, default=2048, help="size of the key")
    return made


def chosen_peers(names: Sequence[str] | None, known: dict[str, T]) -> list[T]:
    """The peers asked for by ``--peer``, all known ones by default. Exits for a name that is not known."""
    unknown = [name for name in names or () if name not in known]
    if unknown:
        sys.exit(f"unknown peer {', '.join(unknown)}; known here: {', '.join(known)}")
    return [known[name] for name in names or known]


def print_cases(cases: Sequence[Case], repeats: int) -> None:
    """Measure the cases one after the other and print each line as soon as it is there."""
    for case in cases:
        line = run_case(case, repeats)
        missing = [key for key in KEYS if key not in line]
        assert not missing, missing
        print(json.dumps({**line, "machine": machine()}), flush=True)
