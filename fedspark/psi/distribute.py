"""From a frozen table to prepared part files: an external bucket sort in two passes of plain part tasks.

*Scatter*: a task reads some chunks of the table, hashes every key with the run's salt, and writes one object with a
slice per part. *Gather*: a task reads its part's slice of every such object, sorts the rows by digest and writes the
*prepared* part file, one row group per bucket. Tasks hold one chunk group or one part at a time, whatever the size of
the table. No row passes the driver, and Spark's own shuffle is not used: a row goes once through Arrow into Python and
never back.

Object of the scatter pass: (parts + 1) offsets as little-endian uint64, then an Arrow record batch message (no schema)
per part, none where a part has no rows.
"""

from __future__ import annotations

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
from fedspark.run import Run, Workspace
from fedspark.tables.problems import EXAMPLES, examples

GROUP_ROWS = 1 << 20
"""A scatter task takes chunks of about so many rows together."""

_OFFSET = np.dtype("<u8")


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
class Scattering:
    """Context of the tasks that scatter: ``groups`` are the pieces that a task takes."""

    rows: Rows
    groups: tuple[range, ...]
    plan: Plan
    workspace: Workspace
    folder: str

    def name(self, group: int) -> str:
        return f"{self.folder}/group-{group:05d}"


@dataclass(frozen=True)
class Gathering:
    """Context of the tasks that gather; ``me`` is the party whose padded size holds."""

    scattering: Scattering
    prepared: PartFiles
    me: str


@dataclass(frozen=True)
class Gathered:
    """What a gather task returns: rows of the part, rows whose key is there already, and ids of some of these."""

    rows: int
    repeats: int
    ids: list[str]


def distribute(run: Run, source: Source, plan: Plan) -> PartFiles:
    """Write every row of ``source`` into its prepared part file; all parts exist afterwards, also those without rows.

    Raises TableError when a key is there twice or the table does not have the agreed rows, CryptoError when a bucket
    overflows.
    """
    files, folder = part_files(run, "prepared"), run.path("psi/scattered")
    rows: Rows = InMemory(source.data) if isinstance(source.data, pa.Table) else source.data
    limit = min(GROUP_ROWS, affordable_part_rows(source.row_bytes, 0))
    groups = chunk_groups([count for _, count in rows.files], limit)
    scattering = Scattering(rows, groups, plan, run.workspace, folder)

    def prepare() -> int:
        mine = plan.rows[run.me.name]
        run.parts("hash ids", scatter, len(groups), scattering, rows=mine)
        gathering, each = Gathering(scattering, files, run.me.name), plan.buckets_per_part
        gathered = run.parts("sort ids into buckets", gather, plan.parts, gathering, rows=mine, buckets=each)
        _refuse_repeats(source, gathered)
        return sum(part.rows for part in gathered)

    count = run.once("psi/prepared", prepare)
    run.workspace.remove(folder)
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


# ---- scatter --------------------------------------------------------------------------------------------------------


def scatter(scattering: Scattering, group: int) -> int:
    """Write one group's object; returns its rows."""
    plan = scattering.plan
    table = pa.concat_tables([scattering.rows.read(index) for index in scattering.groups[group]]).combine_chunks()
    digests = digests_of(plan, table["key"])
    part = bucket_of(digests, plan.buckets) // plan.buckets_per_part
    order = np.argsort(part.astype(np.uint16 if plan.parts <= 1 << 16 else np.uint32), kind="stable")  # a radix sort
    ends = np.cumsum(np.bincount(part, minlength=plan.parts))
    placed = table.add_column(0, "digest", values_array(digests)).take(pa.array(order)).combine_chunks()
    scattering.workspace.keep(scattering.name(group), _slices(placed, ends))
    return table.num_rows


def digests_of(plan: Plan, keys: pa.ChunkedArray) -> npt.NDArray[np.uint8]:
    """uint8[N, 16]: the digest of every key under the run's salt."""
    column = keys.combine_chunks().cast(pa.large_string())
    _, offsets, data = column.buffers()
    places = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
    return bucket_digest_utf8(plan.salt, np.frombuffer(data or b"", np.uint8), places)


def _slices(placed: pa.Table, ends: npt.NDArray[np.int64]) -> bytes:
    (batch,) = placed.to_batches() or [None]
    pieces, start = [], 0
    for end in ends.tolist():
        pieces.append(batch.slice(start, end - start).serialize() if end > start else b"")
        start = end
    offsets = np.zeros(len(ends) + 1, _OFFSET)
    np.cumsum([len(piece) for piece in pieces], out=offsets[1:])
    return b"".join([offsets.tobytes(), *pieces])


# ---- gather ---------------------------------------------------------------------------------------------------------


def gather(gathering: Gathering, part: int) -> Gathered:
    """Write one prepared part file, unless a key is there twice."""
    scattering = gathering.scattering
    schema = scattering.rows.schema.insert(0, pa.field("digest", pa.binary(DIGEST_BYTES)))
    batches = [_slice(scattering, group, part, schema) for group in range(len(scattering.groups))]
    return write_part(gathering, part, pa.Table.from_batches([b for b in batches if b is not None], schema))


def _slice(scattering: Scattering, group: int, part: int, schema: pa.Schema) -> pa.RecordBatch | None:
    store, name = scattering.workspace.store, scattering.workspace.name(scattering.name(group))
    width = _OFFSET.itemsize
    start, end = np.frombuffer(store.read_range(name, part * width, 2 * width), _OFFSET).tolist()
    if start == end:
        return None
    head = (scattering.plan.parts + 1) * width
    return pa.ipc.read_record_batch(pa.py_buffer(store.read_range(name, head + start, end - start)), schema)


def write_part(gathering: Gathering, part: int, table: pa.Table) -> Gathered:
    """Sort the rows of one part (``digest`` and the table's own columns, in any order) and write its file."""
    plan = gathering.scattering.plan
    padded = plan.padded[gathering.me]
    digests = values_of(table["digest"])
    order = digest_order(digests)
    table, digests = table.take(pa.array(order)), np.take(digests, order, axis=0)
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
            remedy="Set 'duplicates' of this table in the party file, or remove the repeated ids at the source.",
        )
