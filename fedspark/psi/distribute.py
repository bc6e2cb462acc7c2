"""From a frozen table to prepared part files: an external bucket sort in two passes of plain part tasks.

*Scatter*: a task reads some chunks of the table, hashes every key with the run's salt, and writes one object with a
slice per part (``slices``). *Gather*: a task reads the slices of some parts from every such object, sorts each part's
rows by digest and writes the *prepared* part file, one row group per bucket. Tasks hold a chunk group or as many rows
of parts at a time, whatever the size of the table. No row passes the driver, and Spark's own shuffle is not used: a row
goes once through Arrow into Python and never back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fedspark.crypto.hashing import DIGEST_BYTES, bucket_digest_utf8, bucket_of, digest_order
from fedspark.errors import CryptoError, TableError
from fedspark.exchange.columns import values_array, values_of
from fedspark.psi.align import PartFiles, Source, part_files
from fedspark.psi.sizes import Plan, affordable_part_rows
from fedspark.psi.slices import Slices
from fedspark.run import Run, Workspace
from fedspark.tables.problems import EXAMPLES, examples

GROUP_ROWS = 1 << 20
"""A task takes chunks, or parts, of about so many rows together."""

SPANS = 8
"""There are so many gather tasks at least, where there are as many parts."""


class Rows(Protocol):
    """A frozen table in pieces, as tasks read it; pickled into their closures."""

    @property
    def files(self) -> Sequence[tuple[str, int]]:
        """(name, rows) of every piece."""

    @property
    def schema(self) -> pa.Schema:
        """The schema of every piece."""

    def read(self, index: int) -> pa.Table:
        """The rows of one piece."""


@dataclass(frozen=True)
class InMemory:
    """A small table as one piece."""

    table: pa.Table

    @property
    def files(self) -> list[tuple[str, int]]:
        return [("memory", self.table.num_rows)] if self.table.num_rows else []

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([(column.name, column.type) for column in self.table.schema])

    def read(self, index: int) -> pa.Table:
        return self.table


@dataclass(frozen=True)
class Scattered:
    """Where the first pass writes: an object for each of ``groups`` tasks. ``slices`` has their form."""

    workspace: Workspace
    folder: str
    groups: int
    slices: Slices

    def name(self, group: int) -> str:
        """Workspace path of one object."""
        return f"{self.folder}/group-{group:05d}"


@dataclass(frozen=True)
class Scattering:
    """Context of the tasks that scatter: ``groups`` are the pieces that each takes."""

    rows: Rows
    groups: tuple[range, ...]
    plan: Plan
    to: Scattered


@dataclass(frozen=True)
class Gathering:
    """Context of the tasks that gather; ``spans`` are the parts that each makes, ``me`` is the party whose padded size
    holds.
    """

    source: Scattered
    spans: tuple[range, ...]
    plan: Plan
    prepared: PartFiles
    me: str


@dataclass(frozen=True)
class Gathered:
    """What a gather task says of a part: its rows, rows whose key is there already, and ids of some of these."""

    rows: int
    repeats: int
    ids: list[str]


def distribute(run: Run, source: Source, plan: Plan) -> PartFiles:
    """Write every row of ``source`` into its prepared part file; all parts exist afterwards, also those without rows.

    Raises TableError when a key is there twice or the table does not have the agreed rows, CryptoError when a bucket
    overflows.
    """
    files = part_files(run, "prepared")
    rows: Rows = InMemory(source.data) if isinstance(source.data, pa.Table) else source.data
    mine, limit = plan.rows[run.me.name], min(GROUP_ROWS, affordable_part_rows(source.row_bytes, 0))
    groups = chunk_groups([count for _, count in rows.files], limit)
    schema = rows.schema.insert(0, pa.field("digest", pa.binary(DIGEST_BYTES)))
    scattered = Scattered(run.workspace, _folder(run, rows), len(groups), Slices(schema))

    def prepare() -> int:
        run.parts("hash ids", scatter, len(groups), Scattering(rows, groups, plan, scattered), rows=mine)
        gathering = Gathering(scattered, part_spans(plan.parts, mine, limit), plan, files, run.me.name)
        spans = run.parts("sort ids into buckets", gather, len(gathering.spans), gathering, rows=mine)
        gathered = [part for span in spans for part in span]
        _refuse_repeats(source, gathered)
        return sum(part.rows for part in gathered)

    count = run.once("psi/prepared", prepare)
    run.workspace.remove(scattered.folder)
    if count != plan.rows[run.me.name]:
        raise TableError(
            f"The staged table has {count:,} rows, but {plan.rows[run.me.name]:,} were announced to the other parties.",
            remedy="Start a new run (another label); nothing may write into a staged table.",
        )
    return files


def chunk_groups(counts: Sequence[int], limit: int) -> tuple[range, ...]:
    """Consecutive chunks of ``counts`` rows, together at most ``limit`` rows in a group, one chunk at least."""
    groups, start, held = [], 0, 0
    for index, count in enumerate(counts):
        if held and held + count > limit:
            groups.append(range(start, index))
            start, held = index, 0
        held += count
    return (*groups, range(start, len(counts))) if len(counts) > start else tuple(groups)


def part_spans(parts: int, rows: int, limit: int) -> tuple[range, ...]:
    """Consecutive parts that a task makes: as many as have about ``limit`` of the ``rows`` together, so that a table of
    small parts is read in few requests, but so few that there is work for eight tasks.
    """
    each = max(1, min(limit * parts // max(rows, 1), parts // SPANS))
    return tuple(range(start, min(start + each, parts)) for start in range(0, parts, each))


def _folder(run: Run, rows: Rows) -> str:
    # A table that is staged again has its rows in other chunks: what two processes make of both must not meet.
    named = hashlib.sha256(repr(list(rows.files)).encode()).hexdigest()
    return run.path(f"psi/scattered/{named[:16]}")


# ---- scatter --------------------------------------------------------------------------------------------------------


def scatter(scattering: Scattering, group: int) -> int:
    """Write one group's object; returns its rows."""
    plan = scattering.plan
    table = pa.concat_tables([scattering.rows.read(index) for index in scattering.groups[group]]).combine_chunks()
    digests = digests_of(plan, table["key"])
    part = bucket_of(digests, plan.buckets) // plan.buckets_per_part
    order = np.argsort(part.astype(np.uint16 if plan.parts <= 1 << 16 else np.uint32), kind="stable")  # a radix sort
    ends = np.cumsum(np.bincount(part, minlength=plan.parts))
    placed = table.add_column(0, "digest", values_array(digests)).take(pa.array(order))
    to = scattering.to
    to.workspace.keep(to.name(group), to.slices.write(placed, ends))
    return table.num_rows


def digests_of(plan: Plan, keys: pa.ChunkedArray) -> npt.NDArray[np.uint8]:
    """uint8[N, 16]: the digest of every key under the run's salt."""
    column = keys.combine_chunks().cast(pa.large_string())
    _, offsets, data = column.buffers()
    places = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
    return bucket_digest_utf8(plan.salt, np.frombuffer(data or b"", np.uint8), places)


# ---- gather ---------------------------------------------------------------------------------------------------------


def gather(gathering: Gathering, span: int) -> list[Gathered]:
    """Write the prepared part files of one span, but none in which a key is there twice."""
    source, parts = gathering.source, gathering.spans[span]
    store, name = source.workspace.store, source.workspace.name
    slices = [
        source.slices.read(store, name(source.name(group)), parts, gathering.plan.parts)
        for group in range(source.groups)
    ]
    return [write_part(gathering, part, [group[place] for group in slices]) for place, part in enumerate(parts)]


def write_part(gathering: Gathering, part: int, slices: Sequence[memoryview]) -> Gathered:
    """Sort the rows of one part, given in any number of slices, and write its file."""
    plan, padded = gathering.plan, gathering.plan.padded[gathering.me]
    others, numbers = gathering.source.slices.table(slices)
    digests = values_of(others["digest"])
    order = digest_order(digests)
    digests = np.take(digests, order, axis=0)
    table = gathering.source.slices.whole(others.take(pa.array(order)), np.take(numbers, order, axis=0))
    repeated = np.flatnonzero((digests[1:] == digests[:-1]).all(axis=1)) + 1
    if len(repeated):
        return Gathered(table.num_rows, len(repeated), table["key"].take(repeated[:EXAMPLES]).to_pylist())
    bucket = bucket_of(digests, plan.buckets)
    table = table.add_column(0, "bucket", pa.array(bucket))
    numbers = np.asarray(plan.buckets_of(part))
    starts, ends = np.searchsorted(bucket, numbers, "left"), np.searchsorted(bucket, numbers, "right")
    if int((ends - starts).sum()) != table.num_rows:
        raise ValueError(f"rows of other parts were given to part {part}")
    if (ends - starts).max() > padded:
        raise CryptoError(
            f"A bucket has more rows than the {padded:,} that buckets are padded to: by chance, in one of 2^40 runs.",
            remedy="Start a new run (another label): it draws another salt.",
        )
    gathering.prepared.write(part, _cut(table, starts, ends))
    return Gathered(table.num_rows, 0, [])


def _cut(table: pa.Table, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> Iterator[pa.Table]:
    return (table.slice(start, end - start) for start, end in zip(starts, ends, strict=True))


def _refuse_repeats(source: Source, parts: Sequence[Gathered]) -> None:
    repeats = sum(part.repeats for part in parts)
    if repeats:
        shown = [key for part in parts for key in part.ids][:EXAMPLES]
        raise TableError(
            f"The table {source.name} has {repeats:,} rows whose key is there already{examples(shown)}.",
            remedy="Set `duplicates: drop` of this table in the party file, or make ids unique at the source; then "
            "start a new run at all parties (--run and another label), since this one keeps the table as loaded.",
        )
