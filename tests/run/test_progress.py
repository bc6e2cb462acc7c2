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
