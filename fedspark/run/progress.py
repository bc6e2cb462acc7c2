"""Progress of long work: what, how far, how fast, how long still. Lines for logs, and the time that each phase took."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

_SECONDS_BETWEEN_LINES = 5.0


@dataclass
class Spent:
    """What this process has spent on one phase: wall seconds, and rows where they are known."""

    title: str
    seconds: float = 0.0
    rows: int | None = None


@dataclass
class _Phase:
    """Parts ``first`` to below ``done`` of ``parts`` were done in ``seconds`` of work since ``began``; the last line
    about them was written at ``said``.
    """

    parts: int
    first: int
    done: int
    began: float
    said: float
    seconds: float = 0.0


class Progress:
    """Writes one line every few seconds of a phase, and one at its end.

    A phase may be done in waves, between which others work: it is known by its title, and lines are about the whole.
    ``quiet`` writes nothing. The clock is a parameter so that tests need not wait.
    """

    def __init__(
        self,
        name: str = "",
        *,
        stream: TextIO | None = None,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._prefix = f"[{name}] " if name else ""
        self._stream = stream
        self._quiet = quiet
        self._clock = clock
        self._phases: dict[tuple[str, str], _Phase] = {}
        self._spent: dict[tuple[str, str], Spent] = {}
        self.step = ""

    def now(self) -> float:
        """Seconds on this progress's clock, from any beginning."""
        return self._clock()

    def say(self, text: str) -> None:
        """One line of plain text."""
        if not self._quiet:
            step = f"{self.step}: " if self.step else ""
            print(f"{self._prefix}{step}{text}", file=self._stream or sys.stderr, flush=True)

    @contextmanager
    def phase(
        self, title: str, parts: int | range, rows: int | None = None, *, of: int | None = None, buckets: int = 1
    ) -> Iterator[Callable[[int], None]]:
        """Yields a function to call with the number of parts done so far, of those done here.

        ``parts`` is how many there are, or a range: a wave of a phase that has ``of`` parts. ``rows`` is what the whole
        phase has, ``buckets`` what each part has.
        """
        numbers = range(parts) if isinstance(parts, int) else parts
        whole = numbers.stop if of is None else of
        phase, began = self._phase(title, numbers, whole), self._clock()

        def line(count: int, now: float) -> None:
            spent, elapsed = phase.seconds + now - began, now - phase.began
            words = describe(
                title, count, whole, rows, spent, elapsed=elapsed, before=phase.first, buckets=whole * buckets
            )
            self.say(words)

        def done(count: int) -> None:
            now = self._clock()
            if now - phase.said >= _SECONDS_BETWEEN_LINES and numbers.start + count < whole:
                phase.said = now
                line(numbers.start + count, now)

        with self.timed(title, _held(rows, numbers, whole)):
            yield done
        done(len(numbers))
        now = self._clock()
        if numbers.stop >= whole and phase.seconds + now - began >= 1.0:
            line(whole, now)
        phase.done, phase.seconds = numbers.stop, phase.seconds + now - began

    @contextmanager
    def timed(self, title: str, rows: int | None = None) -> Iterator[None]:
        """Adds the time until the end of the block, whatever ends it, to what ``times`` says."""
        spent = self._spent.setdefault((self.step, title), Spent(title))
        began = self._clock()
        try:
            yield
            if rows is not None:
                spent.rows = (spent.rows or 0) + rows
        finally:
            spent.seconds += self._clock() - began

    def times(self) -> list[Spent]:
        """What this process has spent on each phase of the current step, in the order in which they began."""
        return [spent for (step, _), spent in self._spent.items() if step == self.step]

    def _phase(self, title: str, numbers: range, whole: int) -> _Phase:
        """The phase that these parts go on with, or a new one, of which an earlier process has done what is before."""
        phase, now = self._phases.get((self.step, title)), self._clock()
        if phase is None or (phase.parts, phase.done) != (whole, numbers.start):
            phase = _Phase(whole, numbers.start, numbers.start, now, now)
            self._phases[self.step, title] = phase
        return phase


def _held(rows: int | None, numbers: range, whole: int) -> int | None:
    """About how many of the rows lie in these parts of the whole; together, those of all waves are all rows."""
    if rows is None or not whole:
        return rows
    return rows * numbers.stop // whole - rows * numbers.start // whole


def describe(
    title: str,
    count: int,
    parts: int,
    rows: int | None,
    seconds: float,
    *,
    elapsed: float | None = None,
    before: int = 0,
    buckets: int = 0,
) -> str:
    """'blind ids: 3 of 8 parts, 196,608 rows, 1,021 rows/s, 5 min left'

    ``seconds`` is the time spent on the parts from ``before`` to ``count``, ``elapsed`` that since the first of them
    began, with what was done in between. ``buckets`` of all parts are told where they are more than parts.
    """
    words = [f"{count} of {parts} parts" if parts != 1 else ("done" if count else "started")]
    if buckets > parts:
        words.append(f"{buckets * count // parts:,} of {buckets:,} buckets")
    if rows is not None:
        words.append(f"{rows * count // max(parts, 1):,} rows")
        here = rows * (count - before) // max(parts, 1)
        if seconds > 0 and here:
            words.append(f"{rate(here / seconds)} rows/s")
    if before < count < parts:
        pace = (seconds if elapsed is None else elapsed) / (count - before)
        words.append(f"{duration(pace * (parts - count))} left")
    elif count >= parts:
        words.append(f"in {duration(seconds)}{' since the restart' if before else ''}")
    return f"{title}: {', '.join(words)}"


def rate(number: float) -> str:
    """'870', '12,345', '1.1 M'."""
    return f"{number / 1e6:.1f} M" if number >= 999_500 else f"{number:,.0f}"


def duration(seconds: float) -> str:
    """'8.2 s', '5 min', '2 h 10 min'."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
