"""Our rows, bucket by bucket: prepared before an intersection, aligned after it.

A *prepared* part file holds all our rows of one part, one row group per bucket, sorted by digest; an *aligned* one
the rows of the common people only, in the same order. Digests are equal at all parties (one salt), so row r of bucket
b is the same person everywhere, and ids need not travel again.

Columns: bucket int32, digest fixed_size_binary[16], key string, then the staged table's own: id.NAME (source ids),
label, x.NAME.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

import fedspark.errors
from fedspark.buckets import BucketFile, write_buckets
from fedspark.crypto.hashing import DIGEST_BYTES, bucket_digest, bucket_of
from fedspark.errors import CryptoError, FedsparkError, TableError
from fedspark.psi.sizes import Plan
from fedspark.run import Run, Workspace

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Source:
    """What a party brings to an intersection: the frozen table ``name`` of ``rows`` rows and ``columns`` columns.

    ``snapshot`` identifies its content. ``data`` is the table itself, or a function that opens it in Spark when it is
    needed.
    """

    name: str
    rows: int
    columns: int
    snapshot: str
    data: pa.Table | Callable[[], DataFrame]

    @property
    def row_bytes(self) -> int:
        """About what one row takes in memory: id, digest and numbers."""
        return 128 + 8 * self.columns


@dataclass(frozen=True)
class Alignment:
    """What an intersection leaves: ``parts`` aligned part files in our workspace, ``rows`` common people in all.

    ``files`` is the pattern of their workspace paths, ``rows_by_party`` the rows of every data party's table.
    JSON-able.
    """

    table: str
    parts: int
    buckets_per_part: int
    rows: int
    rows_mine: int
    rows_by_party: dict[str, int]
    files: str

    def path(self, part: int) -> str:
        """Workspace path of one aligned part file."""
        return self.files.format(part=part)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(value: dict[str, Any]) -> Alignment:
        return Alignment(**value)

    @staticmethod
    def of(run: Run) -> Alignment:
        """The alignment that the run's current step left (see ``Run.at``)."""
        return Alignment.from_json(run.workspace.read_json(run.path("psi/alignment.json")))


@dataclass(frozen=True)
class PartFiles:
    """One folder of part files in the workspace; travels in task closures."""

    workspace: Workspace
    pattern: str

    def read(self, part: int) -> BucketFile:
        return BucketFile(self.workspace.read(self.pattern.format(part=part)))

    def write(self, part: int, tables: Sequence[pa.Table]) -> None:
        """Create-only; writing the same again is a no-op, so a task may run twice."""
        self.workspace.keep(self.pattern.format(part=part), write_buckets(tables))


def part_files(run: Run, kind: str) -> PartFiles:
    """The part files named ``kind`` (prepared, aligned, ...) of the run's current step."""
    return PartFiles(run.workspace, run.path(f"psi/{kind}/part-{{part:05d}}.parquet"))


# ---- prepare: from the staged table to part files -------------------------------------------------------------------


@dataclass(frozen=True)
class Preparation:
    """Context of the tasks that prepare; ``schema`` is the staged table's, ``me`` the party whose padded size holds."""

    files: PartFiles
    plan: Plan
    schema: pa.Schema
    me: str


def distribute(run: Run, source: Source, plan: Plan) -> PartFiles:
    """Write every row of ``source`` into its prepared part file; all parts exist afterwards, also those without rows.

    A table of Spark is worked on by Spark tasks (one shuffle; no row passes the driver), an Arrow table in this
    process; both leave equal bytes. Raises TableError when a key is there twice or the table does not have the agreed
    rows, CryptoError when a bucket overflows.
    """
    files = part_files(run, "prepared")

    def prepare() -> int:
        if isinstance(source.data, pa.Table):
            counts = _distribute_here(files, plan, run.me.name, source.data)
        else:
            counts = _distribute_spark(files, plan, run.me.name, source.data())
        return sum(counts.values())

    with run.progress.phase("prepare ids", plan.parts, plan.rows[run.me.name]):
        rows = run.once("psi/prepared", prepare)
    if rows != plan.rows[run.me.name]:
        raise TableError(
            f"The staged table has {rows:,} rows, but {plan.rows[run.me.name]:,} were announced to the other parties.",
            remedy="Start a new run (another label); nothing may write into a staged table.",
        )
    return files


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Names and types only: what is equal whether the table came through Spark or not."""
    return pa.schema([(column.name, column.type) for column in schema])


def _distribute_here(files: PartFiles, plan: Plan, me: str, staged: pa.Table) -> dict[int, int]:
    preparation = Preparation(files, plan, plain_schema(staged.schema), me)
    digests, part = place(preparation, staged["key"])
    return {
        number: write_part(preparation, number, [(staged.filter(part == number), digests[part == number])])
        for number in range(plan.parts)
    }


def _distribute_spark(files: PartFiles, plan: Plan, me: str, staged: DataFrame) -> dict[int, int]:
    from pyspark.sql.pandas.types import to_arrow_schema

    preparation = Preparation(files, plan, plain_schema(to_arrow_schema(staged.schema)), me)

    def sink(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext

        context = TaskContext.get()
        assert context is not None, "only Spark calls this"
        number, rows, error = context.partitionId(), 0, None
        try:
            rows = write_part(preparation, number, map(_unplaced, batches))
        except FedsparkError as caught:  # carried back as data: Spark would retry it and bury its text in a stack trace
            error = _carried(caught)
        yield pa.RecordBatch.from_pydict(
            {"part": pa.array([number], pa.int32()), "rows": pa.array([rows], pa.int64()), "error": [error]}
        )

    placed = _place_in_spark(staged, plan)
    shuffled = placed.repartitionById(plan.parts, placed["part"]).drop("part")
    results = shuffled.mapInArrow(sink, "part int, rows long, error string").collect()
    for result in results:
        if result.error is not None:
            name, message, remedy = json.loads(result.error)
            raise getattr(fedspark.errors, name)(message, remedy=remedy)
    counts = {result.part: result.rows for result in results}
    for number in range(plan.parts):  # Spark plans no tasks at all for a table that it knows to be empty
        if number not in counts:
            counts[number] = write_part(preparation, number, [])
    return counts


def _place_in_spark(staged: DataFrame, plan: Plan) -> DataFrame:
    """The staged columns under numbers, ``digest`` binary(16) and ``part`` int of every row: `place`, inside the JVM.

    mapInArrow resolves columns by name and stumbles over the dots in ours, so they are numbered until they are out. The
    salt is a table of one row, not a literal: plans, and so Spark's user interface and event logs, show literals.
    """
    from pyspark.sql import functions as sql

    numbered = staged.toDF(*(f"c{index}" for index in range(len(staged.columns))))
    key = numbered[f"c{staged.columns.index('key')}"].cast("binary")
    salt = staged.sparkSession.createDataFrame([(bytearray(plan.salt),)], "salt binary")
    salted = numbered.crossJoin(sql.broadcast(salt))
    hashed = salted.withColumn("hash", sql.sha2(sql.concat("salt", key), 256)).drop("salt")
    # bucket_of: the first 32 bits, as a fraction of 2^32, times the number of buckets. All fits into 63 bits.
    first = sql.conv(sql.substring("hash", 1, 8), 16, 10).cast("long")
    bucket = sql.shiftright(first * sql.lit(plan.buckets).cast("long"), 32)
    part = sql.floor(bucket / sql.lit(plan.buckets_per_part)).cast("int")
    digest = sql.unhex(sql.substring("hash", 1, 2 * DIGEST_BYTES))
    return hashed.withColumn("digest", digest).withColumn("part", part).drop("hash")


def _carried(error: FedsparkError) -> str:
    """What the driver needs to raise it again. Storage has classes of its own: they arrive as their nearest base."""
    kind = next(base for base in type(error).__mro__ if base.__module__ == fedspark.errors.__name__)
    return json.dumps([kind.__name__, error.message, error.remedy])


def _unplaced(batch: pa.RecordBatch) -> tuple[pa.Table, npt.NDArray[np.uint8]]:
    column = batch.column("digest")
    digests = np.frombuffer(column.cast(pa.binary(DIGEST_BYTES)).buffers()[1], np.uint8).reshape(-1, DIGEST_BYTES)
    return pa.Table.from_batches([batch.select(list(range(batch.num_columns - 1)))]), digests[: len(column)]


def place(
    preparation: Preparation, keys: pa.Array | pa.ChunkedArray
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """Digest (uint8[N, 16]) and part (int32[N]) of every key."""
    plan = preparation.plan
    digests = bucket_digest(plan.salt, keys.to_pylist())
    return digests, (bucket_of(digests, plan.buckets) // plan.buckets_per_part).astype(np.int32)


def write_part(preparation: Preparation, part: int, pieces: Iterable[tuple[pa.Table, npt.NDArray[np.uint8]]]) -> int:
    """Sort the rows of one part, given in any order and any number of pieces with their digests, and write its file.

    Returns the number of rows.
    """
    tables, digests = [preparation.schema.empty_table()], [np.zeros((0, DIGEST_BYTES), np.uint8)]
    for table, digest in pieces:
        tables.append(table.rename_columns(preparation.schema.names).cast(preparation.schema))
        digests.append(digest)
    digest = np.concatenate(digests)
    order = digest_order(digest)
    digest = digest[order]
    _refuse_duplicates(digest)
    bucket = bucket_of(digest, preparation.plan.buckets)
    table = pa.concat_tables(tables).take(pa.array(order))
    table = table.add_column(0, "digest", digest_array(digest)).add_column(0, "bucket", pa.array(bucket))

    padded = preparation.plan.padded[preparation.me]
    numbers = np.asarray(preparation.plan.buckets_of(part))
    starts, ends = np.searchsorted(bucket, numbers, "left"), np.searchsorted(bucket, numbers, "right")
    if int((ends - starts).sum()) != table.num_rows:
        raise ValueError(f"rows of other parts were given to part {part}: the shuffle did not do what it promises")
    if (ends - starts).max() > padded:
        raise CryptoError(
            f"A bucket has more rows than the {padded:,} that buckets are padded to: by chance, in one of 2^40 runs.",
            remedy="Start a new run (another label): it draws another salt.",
        )
    preparation.files.write(part, [table.slice(start, end - start) for start, end in zip(starts, ends, strict=True)])
    return table.num_rows


def digest_order(digests: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """The permutation (int64[N]) that sorts digests (uint8[N, 16]) as big-endian numbers."""
    words = np.ascontiguousarray(digests).view(">u8").astype(np.uint64).reshape(-1, 2)
    return np.lexsort((words[:, 1], words[:, 0]))


def digest_array(digests: npt.NDArray[np.uint8]) -> pa.Array:
    """The same digests as Arrow fixed_size_binary[16]."""
    buffer = pa.py_buffer(np.ascontiguousarray(digests))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(DIGEST_BYTES), len(digests), [None, buffer])


def _refuse_duplicates(sorted_digests: npt.NDArray[np.uint8]) -> None:
    repeats = int((sorted_digests[1:] == sorted_digests[:-1]).all(axis=1).sum())
    if repeats:
        raise TableError(
            f"The staged table has {repeats:,} rows whose key is there already.",
            remedy="Set 'duplicates' of this table in the party file, or remove the repeated ids at the source.",
        )


# ---- align: keep the rows of common people --------------------------------------------------------------------------


def finish(run: Run, source: Source, plan: Plan, aligned: PartFiles, rows: int) -> Alignment:
    """Store what the intersection left, for later steps."""
    alignment = Alignment(
        table=source.name,
        parts=plan.parts,
        buckets_per_part=plan.buckets_per_part,
        rows=rows,
        rows_mine=source.rows,
        rows_by_party=dict(plan.rows),
        files=aligned.pattern,
    )
    run.once("psi/alignment", alignment.to_json)
    return alignment


def align_part(prepared: PartFiles, aligned: PartFiles, part: int, masks: Sequence[Mask]) -> int:
    """Write the aligned file of one part: of every bucket the rows where its mask (bool[rows of the bucket]) is true.

    Returns the number of rows kept.
    """
    source = prepared.read(part)
    kept = [source.read(index).filter(pa.array(mask)) for index, mask in enumerate(masks)]
    if len(kept) != source.buckets:
        raise ValueError(f"part {part} has {source.buckets} buckets, got masks for {len(kept)}")
    aligned.write(part, kept)
    return sum(table.num_rows for table in kept)
