"""How many buckets, how large they look from outside, and how many of them share a task.

Everything here is a function of numbers that all parties show each other (their row counts and part limits), so every
party computes the same plan and nobody has to send it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

MAX_ROWS = 1 << 40
"""No table has more; who announces more is refused."""

MAX_PART_ROWS = 1 << 20
"""A part holds at most this many rows: a task of minutes, a message object of a few hundred MiB."""

OVERFLOW_BITS = 40
"""A run in which some bucket outgrows its padded size has probability at most 2^-40 per party."""

MAX_WAVES = 8
"""Messages per row travel in so many waves at most: while a party works on one, its peer works on the one before."""

WAVE_PARTS = 4
"""A wave has so many parts at least, so that it keeps the cores of both parties busy."""

PARTS = 8
"""There are so many parts at least, where there are as many buckets: later steps, training above all, take much longer
for a row than an intersection, and a part is what one task works on.
"""

TASK_MEMORY = 512 << 20
"""Bytes that one part task may use where the party file says nothing else."""


@dataclass(frozen=True)
class Wave:
    """Consecutive parts that travel in one message: the ``number``-th of ``of``, counted from 0."""

    number: int
    of: int
    parts: range


@dataclass(frozen=True)
class Plan:
    """The agreed shape of one intersection; equal at all data parties.

    ``rows`` and ``padded`` hold, by party name, the rows of its table and the rows that each of its buckets is padded
    to. ``salt`` (32 bytes) is shared by the parties of the run and by nobody else.
    """

    salt: bytes = field(repr=False)
    buckets: int
    buckets_per_part: int
    rows: Mapping[str, int]
    padded: Mapping[str, int]

    @property
    def parts(self) -> int:
        return self.buckets // self.buckets_per_part

    @property
    def waves(self) -> list[Wave]:
        """All parts, in waves of about equally many."""
        count = max(1, min(MAX_WAVES, self.parts // WAVE_PARTS))
        starts = [self.parts * number // count for number in range(count + 1)]
        return [Wave(number, count, range(*starts[number : number + 2])) for number in range(count)]

    def buckets_of(self, part: int) -> range:
        """The consecutive buckets of one part."""
        return range(part * self.buckets_per_part, (part + 1) * self.buckets_per_part)

    def values_per_part(self, party: str) -> int:
        """Values of ``party`` in one part of a message, dummies included."""
        return self.padded[party] * self.buckets_per_part

    def values(self, party: str) -> int:
        """Values of ``party`` in a whole message, dummies included."""
        return self.padded[party] * self.buckets


def lagged(waves: Sequence[Wave]) -> Iterator[tuple[Wave | None, Wave | None]]:
    """(wave to ask for, wave whose answer to read): the first is one ahead, so that both parties have work."""
    return zip([*waves, None], [None, *waves], strict=True)


def make_plan(rows: Mapping[str, int], part_rows: Sequence[int], bucket_rows: int, salt: bytes) -> Plan:
    """The plan for tables of ``rows`` rows (by party), part limits ``part_rows`` (one per party) and the pipeline's
    bucket size.

    A part is at least one bucket, so a bucket is never larger than the smallest part limit.
    """
    largest = max(rows.values())
    limit = max(1, min(MAX_PART_ROWS, *part_rows))
    buckets = bucket_count(largest, min(bucket_rows, limit))
    return Plan(
        salt=salt,
        buckets=buckets,
        buckets_per_part=buckets_per_part(largest, buckets, limit),
        rows=dict(rows),
        padded={party: padded_rows(count, buckets) for party, count in rows.items()},
    )


def bucket_count(rows: int, bucket_rows: int) -> int:
    """The smallest power of two B >= 1 with rows / B <= bucket_rows."""
    if bucket_rows < 1:
        raise ValueError(f"bucket_rows is {bucket_rows}; it must be at least 1")
    return 1 << max(0, (max(rows, 1) - 1) // bucket_rows).bit_length()


def padded_rows(rows: int, buckets: int) -> int:
    """Rows that every bucket of a table of ``rows`` rows is padded to.

    A keyed hash throws the rows into ``buckets`` bins. By Bernstein's inequality a bin with mean m holds more than m
    + t rows with probability at most exp(-t^2 / (2 (m + t/3))); t is chosen such that all bins together fail with
    less than 2^-40. For large m this is sqrt(2 m ln(2 B 2^40)), 3.4 % at 2^16 rows; the t/3 matters where a small
    table shares the bucket number of a large one. With one bucket there is nothing to hide: the row count is shown
    anyway.
    """
    if buckets == 1:
        return rows
    mean = rows / buckets
    log = math.log(2 * buckets) + OVERFLOW_BITS * math.log(2)
    excess = log / 3 + math.sqrt(log * log / 9 + 2 * mean * log)
    return min(rows, math.ceil(mean + excess))


def buckets_per_part(rows: int, buckets: int, part_rows: int) -> int:
    """The largest power of two of buckets whose mean rows together stay within ``part_rows`` and that leaves ``PARTS``
    parts; at least 1.
    """
    share = 1
    while 2 * share * PARTS <= buckets and 2 * share * rows <= part_rows * buckets:
        share *= 2
    return share


def affordable_part_rows(row_bytes: int, value_bytes: int, memory: int = TASK_MEMORY) -> int:
    """Rows of a part that one task can hold: ``row_bytes`` per row of our table, ``value_bytes`` per value of a
    message.

    A row is counted three times (read, sorted, encoded), a value four times (received, as numbers, result, encoded).
    Rounded down to a power of two: others see it, and shall not see how many columns we have.
    """
    rows = max(1, min(MAX_PART_ROWS, memory // (3 * row_bytes + 4 * value_bytes)))
    return 1 << (rows.bit_length() - 1)
