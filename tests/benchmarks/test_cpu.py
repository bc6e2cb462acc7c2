"""The clock sees what a whole tree of processes did. No timing is asserted beyond "some"."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.cpu import TreeClock, own_peak_mb, process_cpu, tree_peak_mb
from benchmarks.harness import CHECKOUT

BUSY = "import os\nwhile sum(os.times()[:2]) < {seconds}: pass\n"


def test_the_time_of_a_child_counts_when_it_has_ended():
    before = process_cpu()
    subprocess.run([sys.executable, "-c", BUSY.format(seconds=0.1)], check=True)
    assert process_cpu() - before >= 0.08


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted and read from /proc")
def test_the_time_of_an_orphan_counts_though_nobody_waits_for_it():
    # A child, in a process that adopts orphans, starts a grandchild and ends first; nobody waits for the grandchild.
    busy = BUSY.format(seconds=0.3)
    child = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {busy!r}], close_fds=False)"
    program = f"""
import os, subprocess, sys
from benchmarks.cpu import TreeClock, adopt_orphans
assert adopt_orphans()
clock = TreeClock()
before = clock()
ended, held = os.pipe()
subprocess.run([sys.executable, "-c", {child!r}], check=True, pass_fds=[held])
os.close(held)
assert os.read(ended, 1) == b""  # the grandchild has let go of its end: it is over
print(clock() - before)
"""
    shown = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=CHECKOUT)
    assert float(shown.stdout) >= 0.28


def test_the_peak_of_the_tree_is_at_least_our_own():
    assert tree_peak_mb() >= own_peak_mb() > 1
    assert TreeClock()() > 0


@pytest.mark.skipif(sys.platform != "linux", reason="processes are read from /proc")
def test_what_was_seen_of_a_process_counts_when_it_has_ended():
    clock = TreeClock()
    before = clock()
    program = BUSY.format(seconds=0.3) + "print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        seen = clock()
    assert clock() >= seen >= before + 0.28
