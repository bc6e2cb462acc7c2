"""The clock: user + system CPU time, and peak memory, of a whole process tree. Standard library only.

A wall clock says little on a machine that others use too. A Spark application is a Python driver, a JVM and Python
workers that the JVM forks, so what counts is the tree, living and dead: /proc gives every living descendant's own
time, a clock remembers what it saw of those that have ended, and a subreaper adopts those whose parent died first: as
nobody waits for them, their time stays there to be read.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def process_cpu() -> float:
    """Seconds of this process and of the children it has waited for, to the microsecond."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


class TreeClock:
    """CPU seconds of this process and of every descendant that was alive at some reading, added up process by process.

    Processes of a tree end while the clock runs: Spark ends Python workers that were idle for a minute. What a process
    does after the last reading that sees it is lost, and so is who lives between two readings. To about 10 ms each.
    """

    def __init__(self) -> None:
        self._seconds: dict[tuple[int, str], float] = {}

    def __call__(self) -> float:
        for pid in [os.getpid(), *_descendants(os.getpid())]:
            with contextlib.suppress(OSError, IndexError):
                fields = _stat(pid)
                self._seconds[pid, fields[19]] = (int(fields[11]) + int(fields[12])) / _TICKS
        return sum(self._seconds.values())


def tree_peak_mb() -> float:
    """Peak resident MiB, summed over this process and its living descendants: an upper bound of the tree's peak.

    Pages that forked workers share are counted in each of them.
    """
    if not _PROC.is_dir():
        return own_peak_mb()
    return sum(_peak_kb(pid) for pid in [os.getpid(), *_descendants(os.getpid())]) / 1024


def own_peak_mb() -> float:
    """Peak resident MiB of this process alone."""
    peak = _peak_kb(os.getpid())
    return (peak or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024


def peaks_mb() -> dict[str, float]:
    """Peak resident MiB of the largest living process of each program among this one's descendants: java, python."""
    found: dict[str, float] = {}
    for pid in _descendants(os.getpid()):
        with contextlib.suppress(OSError):
            name = (_PROC / str(pid) / "comm").read_text().strip()
            name = "python" if name.startswith("python") else name
            found[name] = max(found.get(name, 0.0), _peak_kb(pid) / 1024)
    return found


def forget_peaks() -> None:
    """From here on a peak is that of what comes (Linux; without the right to it peaks stay what they were)."""
    for pid in [os.getpid(), *_descendants(os.getpid())]:
        with contextlib.suppress(OSError):
            (_PROC / str(pid) / "clear_refs").write_text("5")


def adopt_orphans() -> bool:
    """Make this process the parent of descendants whose own parent ends, so that their time is not lost (Linux)."""
    try:
        return ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    except (OSError, AttributeError):
        return False


def _descendants(root: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            parents.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
    found, ahead = [], [root]
    while ahead:
        children = parents.get(ahead.pop(), [])
        found += children
        ahead += children
    return found


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; the command's name before it may hold blanks and brackets."""
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _peak_kb(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in (_PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0
