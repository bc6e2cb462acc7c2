"""How long a party waits for another, and how that ends.

A wait is over when the object is there, when this process has waited ``limit_seconds`` (NotReady: run the command
again), or when the peer has been awaited for ``deadline_seconds`` over all processes (Absent).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from fedspark.errors import Absent, NotReady

T = TypeVar("T")
_GROWTH = 1.5


@dataclass(frozen=True)
class Awaited:
    """What a wait was for: ``object`` in the exchange, the ``peer`` who owes it, in words ``what``; epoch seconds."""

    object: str
    peer: str
    what: str
    since: float
    deadline: float


def _ignore_wait(_object: str, _waited: float) -> None:
    pass


def _ignore_awaited(_awaited: Awaited) -> None:
    pass


@dataclass(frozen=True)
class Waiting:
    """Patience: looks again after 0.02 s, then more and more rarely, at last every 2 s.

    ``on_wait(object, seconds waited)`` is called after every look in vain; ``on_not_ready(awaited)`` before NotReady
    is raised. ``since(object)`` gives the epoch second at which a wait for the object first began, in this process or
    an earlier one; without it every process counts the deadline anew. ``clock``, ``wall`` and ``sleep`` are for
    tests.
    """

    limit_seconds: float = 600.0
    deadline_seconds: float = 72 * 3600.0
    on_wait: Callable[[str, float], None] = _ignore_wait
    on_not_ready: Callable[[Awaited], None] = _ignore_awaited
    since: Callable[[str], float] | None = None
    first_poll: float = 0.02
    last_poll: float = 2.0
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    def until(self, look: Callable[[], T | None], object: str, peer: str, what: str) -> T:
        """The first result of ``look`` that is not None.

        NotReady or Absent when patience ends. Errors of ``look`` pass through.
        """
        started, awaited, poll = self.clock(), None, self.first_poll
        while True:
            found = look()
            if found is not None:
                return found
            waited = self.clock() - started
            if awaited is None:
                first = self.since(object) if self.since else self.wall()
                awaited = Awaited(object, peer, what, first, first + self.deadline_seconds)
            if self.wall() >= awaited.deadline:
                raise _absent(awaited, self.deadline_seconds)
            if waited >= self.limit_seconds:
                self.on_not_ready(awaited)
                raise _not_ready(awaited, waited)
            self.on_wait(object, waited)
            self.sleep(min(poll, max(self.limit_seconds - waited, 0.0)))
            poll = min(poll * _GROWTH, self.last_poll)


def _not_ready(awaited: Awaited, waited: float) -> NotReady:
    return NotReady(
        f"Waiting for the {awaited.what}: {awaited.object} is not there after {waited:.0f} s.",
        remedy=f"Run the same command again when {awaited.peer} has gone on; the wait ends for good at "
        f"{_time(awaited.deadline)}.",
    )


def _absent(awaited: Awaited, deadline_seconds: float) -> Absent:
    return Absent(
        f"The {awaited.what} never came: {awaited.object} was awaited since {_time(awaited.since)}, "
        f"and the deadline of {deadline_seconds / 3600:g} hours is over.",
        remedy=f"Ask {awaited.peer} whether their side runs; a longer deadline is policy.deadline_hours in the party "
        f"file.",
    )


def _time(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
