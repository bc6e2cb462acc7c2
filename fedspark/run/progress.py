"""Progress of long work: what, how far, how fast, how long still. Lines for logs, a live bar for people."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

_SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Writes one line at the start of a phase, one every few seconds, and one at its end.

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
        self.step = ""

    def say(self, text: str) -> None:
        """One line of plain text."""
        if not self._quiet:
            step = f"{self.step}: " if self.step else ""
            print(f"{self._prefix}{step}{text}", file=self._stream or sys.stderr, flush=True)

    @contextmanager
    def phase(self, title: str, parts: int, rows: int | None = None) -> Iterator[Callable[[int], None]]:
        """Yields a function to call with the number of parts done so far."""
        started = last = self._clock()

        def done(count: int) -> None:
            nonlocal last
            now = self._clock()
            if now - last >= _SECONDS_BETWEEN_LINES and count < parts:
                last = now
                self.say(describe(title, count, parts, rows, now - started))

        yield done
        elapsed = self._clock() - started
        if elapsed >= 1.0:
            self.say(describe(title, parts, parts, rows, elapsed))


def describe(title: str, count: int, parts: int, rows: int | None, seconds: float) -> str:
    """'blind ids: 3 of 8 parts, 196,608 rows, 1,021 rows/s, 5 min left'"""
    words = [f"{count} of {parts} parts" if parts != 1 else ("done" if count else "started")]
    if rows is not None:
        done_rows = rows * count // max(parts, 1)
        words.append(f"{done_rows:,} rows")
        if seconds > 0 and done_rows:
            words.append(f"{done_rows / seconds:,.0f} rows/s")
    if 0 < count < parts:
        words.append(f"{duration(seconds * (parts - count) / count)} left")
    elif count >= parts:
        words.append(f"in {duration(seconds)}")
    return f"{title}: {', '.join(words)}"


def duration(seconds: float) -> str:
    """'8.2 s', '5 min', '2 h 10 min'."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
