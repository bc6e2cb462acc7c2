"""What people read while they wait, and what schedulers read."""

from __future__ import annotations

import io
import itertools
import json

import pytest

from fedspark.exchange.store import StoreRef
from fedspark.run.progress import Progress, describe, duration
from fedspark.run.status import DONE, RUNNING, WAITING, StatusBoard

_numbers = itertools.count()


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("blind", 0, 8, None, 0.0), "blind: 0 of 8 parts"),
        (("blind", 2, 8, 800, 10.0), "blind: 2 of 8 parts, 200 rows, 20 rows/s, 30.0 s left"),
        (("blind", 3, 8, 524_288, 192.6), "blind: 3 of 8 parts, 196,608 rows, 1,021 rows/s, 5 min left"),
        (("blind", 8, 8, 800, 90.0), "blind: 8 of 8 parts, 800 rows, 9 rows/s, in 2 min"),
        (("blind", 0, 1, None, 3.0), "blind: started"),
        (("blind", 1, 1, 50, 2.0), "blind: done, 50 rows, 25 rows/s, in 2.0 s"),
        (("blind", 0, 0, 0, 0.0), "blind: 0 of 0 parts, 0 rows, in 0.0 s"),
    ],
)
def test_a_phase_is_described_with_rate_and_time_left(arguments, text):
    assert describe(*arguments) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.9, "59.9 s"), (59.97, "1 min"), (60, "1 min"), (3599, "1 h 0 min"), (7800, "2 h 10 min")],
)
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text


def test_a_long_phase_writes_a_line_every_few_seconds_and_one_at_its_end():
    clock, stream = Clock(), io.StringIO()
    progress = Progress("bank", stream=stream, clock=clock)
    progress.step = "psi"
    with progress.phase("sign", 6, 600) as done:
        for count in range(1, 7):
            clock.now += 2.0
            done(count)
    assert stream.getvalue().splitlines() == [
        "[bank] psi: sign: 3 of 6 parts, 300 rows, 50 rows/s, 6.0 s left",
        "[bank] psi: sign: 6 of 6 parts, 600 rows, 50 rows/s, in 12.0 s",
    ]


def test_a_short_phase_and_a_quiet_one_write_nothing():
    clock, stream = Clock(), io.StringIO()
    with Progress("bank", stream=stream, clock=clock).phase("sign", 2) as done:
        done(2)
    quiet = Progress("bank", stream=stream, clock=clock, quiet=True)
    with quiet.phase("sign", 2) as done:
        clock.now += 60.0
        done(1)
    quiet.say("hello")
    assert stream.getvalue() == ""


def wave(progress: Progress, clock: Clock, title: str, parts: range, seconds: float, rows: int, buckets: int) -> None:
    with progress.phase(title, parts, rows, of=12, buckets=buckets) as done:
        for count in range(1, len(parts) + 1):
            clock.now += seconds
            done(count)


def test_waves_of_two_phases_that_alternate_read_as_two_long_phases():
    clock, stream = Clock(), io.StringIO()
    progress = Progress(stream=stream, clock=clock)
    for start in range(0, 12, 3):
        wave(progress, clock, "make tables", range(start, start + 3), 1.0, 12 << 20, 16)
        wave(progress, clock, "match ids", range(start, start + 3), 0.5, 12_000, 16)
    assert stream.getvalue().splitlines() == [
        # 5.5 s since it began, of which it worked 4; what is left takes its turns with the other phase, too.
        "make tables: 4 of 12 parts, 64 of 192 buckets, 4,194,304 rows, 1.0 M rows/s, 11.0 s left",
        "match ids: 4 of 12 parts, 64 of 192 buckets, 4,000 rows, 2,000 rows/s, 10.0 s left",
        "make tables: 8 of 12 parts, 128 of 192 buckets, 8,388,608 rows, 1.0 M rows/s, 5.5 s left",
        "match ids: 8 of 12 parts, 128 of 192 buckets, 8,000 rows, 2,000 rows/s, 5.0 s left",
        "make tables: 12 of 12 parts, 192 of 192 buckets, 12,582,912 rows, 1.0 M rows/s, in 12.0 s",
        "match ids: 12 of 12 parts, 192 of 192 buckets, 12,000 rows, 2,000 rows/s, in 6.0 s",
    ]


def test_a_wave_whose_parts_end_all_at_once_says_so_when_the_last_line_is_old():
    clock, stream = Clock(), io.StringIO()
    progress = Progress(stream=stream, clock=clock)
    for start in range(0, 12, 4):
        with progress.phase("sign", range(start, start + 4), of=12):
            clock.now += 20.0
    assert stream.getvalue().splitlines() == [
        "sign: 4 of 12 parts, 40.0 s left",
        "sign: 8 of 12 parts, 20.0 s left",
        "sign: 12 of 12 parts, in 1 min",
    ]


def test_what_an_earlier_process_has_done_counts_as_done_but_not_for_the_rate():
    clock, stream = Clock(), io.StringIO()
    progress = Progress(stream=stream, clock=clock)
    wave(progress, clock, "sign", range(8, 10), 3.0, 1200, 1)
    wave(progress, clock, "sign", range(10, 12), 3.0, 1200, 1)
    assert stream.getvalue().splitlines() == [
        "sign: 10 of 12 parts, 1,000 rows, 33 rows/s, 6.0 s left",
        "sign: 12 of 12 parts, 1,200 rows, 33 rows/s, in 12.0 s since the restart",
    ]
    assert [(spent.title, spent.rows) for spent in progress.times()] == [("sign", 400)]


def test_the_seconds_and_rows_of_every_phase_of_a_step_are_added_up():
    clock = Clock()
    progress = Progress(clock=clock, quiet=True)
    progress.step = "psi"
    for start in range(0, 12, 5):
        parts = range(start, min(start + 5, 12))
        wave(progress, clock, "sign", parts, 1.0, 1001, 1)
        with progress.timed("wait for shop"):
            clock.now += 2.0
    spent = [(one.title, one.seconds, one.rows) for one in progress.times()]
    assert spent == [("sign", 12.0, 1001), ("wait for shop", 6.0, None)]
    progress.step = "train"
    assert progress.times() == []


def test_a_phase_that_fails_does_not_say_that_it_is_done():
    clock, stream = Clock(), io.StringIO()

    def fail() -> None:
        with Progress(stream=stream, clock=clock).phase("sign", 2):
            clock.now += 60.0
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert stream.getvalue() == ""


def test_the_status_board_holds_the_last_state_of_every_step():
    board = StatusBoard(StoreRef(f"memory://board-{next(_numbers)}"), "status/p/q/1", clock=lambda: 1234.56789)
    assert board.get("psi") is None
    board.put("psi", RUNNING)
    board.put("psi", WAITING, awaited="a/b", deadline=9.5)
    assert board.get("psi") == {"step": "psi", "state": "waiting", "since": 1234.568, "awaited": "a/b", "deadline": 9.5}
    board.put("psi", DONE)
    assert board.get("psi") == {"step": "psi", "state": "done", "since": 1234.568}
    assert [name for name, _ in board.ref.open().list()] == ["status/p/q/1/psi.json"]
    assert json.loads(board.ref.open().read("status/p/q/1/psi.json"))["state"] == "done"
