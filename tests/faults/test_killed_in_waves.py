"""Intersections of real processes, killed with SIGKILL in every wave and started again: the same bytes, and nothing of
a finished wave is computed again.
"""

from __future__ import annotations

import multiprocessing
import re
from collections import Counter
from collections.abc import Mapping
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from tests.faults import mortal
from tests.faults.mortal import PARTS, TABLES, WAVES, Life
from tests.federation import Federation
from tests.psi.people import assert_intersection

PATIENCE_SECONDS = 120.0
NEVER = "never"

# Which function writes the parts of which message.
WRITERS = {
    "rsa": {"blinded": "blind_part", "tags": "tag_part", "signed": "sign_part"},
    "ecdh": {"blinded": "blind_part", "tags": "tag_part", "evaluated": "evaluate_part"},
    "ot": {"table": "mask_part", "tags": "tag_part"},
}
PARTS_OF_WAVE = [range(PARTS // WAVES * wave, PARTS // WAVES * (wave + 1)) for wave in range(WAVES)]

# In every wave: amid the parts of every message (after the first object, before the second one), on both sides of what
# says that they are written, amid the guest's search, and while what was read is removed.
MESSAGES = "table|blinded|tags|evaluated|signed"
AMID_PARTS = [
    rf"after write .*/({MESSAGES})\.0/.*part-00000",
    rf"before write .*/({MESSAGES})\.0/.*part-00001",
    r"before write .*/psi/matched-host/0000",
    r"after write .*/psi/matched-host/0001",
]
EVERYWHERE = [
    *AMID_PARTS,
    rf"before write .*/sent/0000/({MESSAGES})",
    rf"before write .*/0001/({MESSAGES})\.0/.*/manifest",
    r"after write .*/places-host/part-0000[02]",
    r"after delete .*/psi/0000/.*part-00000",
    r"(after|before) write .*/psi/(rows|alignment)",
]
# What protocols share is tried with those that start fastest: a process of rsa makes its key again.
MOMENTS = {"ecdh": EVERYWHERE, "ot": EVERYWHERE, "rsa": AMID_PARTS}


def play(base: Path, protocol: str, lives: Mapping[str, Life]) -> Counter[str]:
    """Start every party, and again whenever it was killed, until all have ended well; how often each was killed."""
    context = multiprocessing.get_context("forkserver")  # forks of a process that did nothing but import
    context.set_forkserver_preload(["tests.faults.nursery"])

    def start(name: str) -> multiprocessing.process.BaseProcess:
        process = context.Process(target=mortal.live, args=(base, name, protocol, lives[name]), daemon=True)
        process.start()
        return process

    deaths: Counter[str] = Counter()
    running = {name: start(name) for name in lives}
    try:
        while running:
            assert wait([process.sentinel for process in running.values()], PATIENCE_SECONDS), f"{running} hang"
            for name, process in list(running.items()):
                if process.is_alive():
                    continue
                process.join()
                assert process.exitcode in (0, -9), f"{name} ended with {process.exitcode}"
                del running[name]
                if process.exitcode:
                    deaths[name] += 1
                    running[name] = start(name)
    finally:
        for process in running.values():
            process.kill()
            process.join()
    return deaths


def everything(federation: Federation) -> dict[str, dict[str, bytes]]:
    stores = {"exchange": federation.exchange, **{name: federation.files(name) for name in TABLES}}
    return {name: federation.objects(ref) for name, ref in stores.items()}


@pytest.fixture(scope="module", params=sorted(WRITERS))
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def unbroken(protocol: str) -> dict[str, dict[str, bytes]]:
    """What all stores hold when nobody dies."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mortal.sizes, "WAVE_PARTS", 0)  # restores what ``federation`` sets
        patch.setattr(mortal.ot, "BUCKETS_PER_PART", 0)
        patch.setattr(mortal.cache, "now", None)
        federation = mortal.federation(None)
        results = mortal.play(federation, protocol)
        assert results["guest"].parts == PARTS
        assert_intersection(federation, results, TABLES)
        return everything(federation)


def assert_same(base: Path, unbroken: dict[str, dict[str, bytes]]) -> None:
    left = everything(Federation(base=str(base)))
    for store, objects in unbroken.items():
        assert left[store].keys() == objects.keys()
        assert [name for name in objects if objects[name] != left[store][name]] == []


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Where the stores are, and where diaries are kept."""
    base, diaries = tmp_path / "stores", tmp_path / "diaries"
    diaries.mkdir()
    return base, diaries


def test_parties_killed_at_every_step_of_every_wave_leave_equal_bytes_and_repeat_no_finished_wave(
    protocol: str, folders: tuple[Path, Path], unbroken: dict[str, dict[str, bytes]]
):
    base, diaries = folders
    lives = {name: Life(diaries, "|".join(MOMENTS[protocol])) for name in TABLES}
    deaths = play(base, protocol, lives)
    assert_same(base, unbroken)
    story = {name: lives[name].diary(name).read_text().splitlines() for name in TABLES}
    for name, lines in story.items():
        assert deaths[name] == sum(line.startswith("died ") for line in lines)
    died = [line for lines in story.values() for line in lines if line.startswith("died ")]
    for tag in WRITERS[protocol]:
        for wave in range(WAVES):
            for moment in ("died after write", "died before write"):
                assert any(line.startswith(moment) and f"/{wave:04d}/{tag}.0/" in line for line in died), (tag, moment)
    for wave in range(WAVES):
        assert sum(f"/psi/matched-host/{wave:04d}" in line for line in died) == 1
    for lines in story.values():
        assert_no_finished_wave_was_repeated(lines, protocol)


def assert_no_finished_wave_was_repeated(lines: list[str], protocol: str) -> None:
    """After the record of a wave is written, none of its tasks begins again."""
    finished: set[str] = set()
    for line in lines:
        assert line not in finished
        record = re.match(r"wrote .*/sent/(\d+)/([a-z]+)\.|wrote .*/psi/(matched)-host/(\d+)\.json", line)
        if record is None:
            continue
        tag, wave = record[2] or record[3], int(record[1] or record[4])
        writer = "match_part" if record[3] else WRITERS[protocol].get(tag)
        if writer is not None:
            finished |= {f"task {writer} {part}" for part in PARTS_OF_WAVE[wave]}


@pytest.mark.parametrize(("wave", "moment", "again"), [(0, "after", 1), (1, "before", 2)])
def test_a_party_killed_in_one_wave_computes_the_parts_of_that_wave_again_and_no_others(
    protocol: str, folders: tuple[Path, Path], unbroken: dict[str, dict[str, bytes]], wave: int, moment: str, again: int
):
    """Tasks run one after the other here, so the first part of the wave begins twice, the second as far as it got."""
    base, diaries = folders
    part = again - 1
    where = rf"^{moment} write .*/{wave:04d}/tags\.0/.*part-{part:05d}"
    lives = {"guest": Life(diaries, NEVER), "host": Life(diaries, where)}
    assert play(base, protocol, lives) == {"host": 1}
    assert_same(base, unbroken)
    tasks = Counter(line for line in lives["host"].diary("host").read_text().splitlines() if line.startswith("task "))
    twice = {f"task tag_part {number}" for number in PARTS_OF_WAVE[wave][:again]}
    assert {task for task, count in tasks.items() if count == 2} == twice
    assert set(tasks.values()) == {1, 2}


@pytest.mark.parametrize(
    ("variant", "where"),
    [
        ("count", r"before write .*(manifest|/sent/|part-0000[13]|/psi/(rows|prepared))"),
        ("kept", r"before write .*(/000[01]/(tags|signed|blinded)\.0/.*manifest|epoch\.json|/psi/rows)"),
    ],
    ids=["count", "kept"],
)
def test_runs_that_only_count_or_that_keep_signatures_leave_equal_bytes_too(
    folders: tuple[Path, Path], variant: str, where: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(mortal.sizes, "WAVE_PARTS", 0)  # restores what ``federation`` sets
    monkeypatch.setattr(mortal.ot, "BUCKETS_PER_PART", 0)
    monkeypatch.setattr(mortal.cache, "now", None)
    calm = mortal.federation(None)
    mortal.play(calm, variant)
    base, diaries = folders
    deaths = play(base, variant, {name: Life(diaries, where) for name in TABLES})
    assert min(deaths[name] for name in TABLES) >= 3
    assert_same(base, everything(calm))
