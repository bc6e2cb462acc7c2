"""Our rows, bucket by bucket: prepared before an intersection (see ``distribute``), aligned after it.

A *prepared* part file holds all our rows of one part, one row group per bucket, sorted by digest; an *aligned* one
the rows of the common people only, in the same order. Digests are equal at all parties (one salt), so row r of bucket
b is the same person everywhere, and ids need not travel again.

Columns: bucket int32, digest fixed_size_binary[16], key string, then the staged table's own: id.NAME (source ids),
label, weight, x.NAME.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fedspark.buckets import BucketFile, write_buckets
from fedspark.psi.sizes import Plan
from fedspark.run import Run, Workspace
from fedspark.tables.chunks import Chunks
from fedspark.tables.shapes import IdShapes

LEFT = ("aligned", "unmatched")
"""The kinds of part files that an intersection leaves."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Source:
    """What a party brings to an intersection: the frozen table ``name`` of ``rows`` rows and ``columns`` columns.

    ``snapshot`` identifies its content. ``data`` are the chunks that staging left, or a small table itself. ``shapes``
    is what its ids look like, None if nobody looked.
    """

    name: str
    rows: int
    columns: int
    snapshot: str
    data: pa.Table | Chunks
    shapes: IdShapes | None = None

    @property
    def row_bytes(self) -> int:
        """About what one row takes in memory: id, digest and numbers."""
        return 128 + 8 * self.columns


@dataclass(frozen=True)
class Alignment:
    """What an intersection leaves: ``parts`` aligned part files in our workspace, ``rows`` common people in all.

    ``files`` is the pattern of their workspace paths, ``rows_by_party`` the rows of every data party's table. Where the
    guest keeps its other rows too (``join: left``), they lie in as many part files ``unmatched_files``, alike in form.
    JSON-able.
    """

    table: str
    parts: int
    buckets_per_part: int
    rows: int
    rows_mine: int
    rows_by_party: dict[str, int]
    files: str
    unmatched_rows: int = 0
    unmatched_files: str | None = None

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

    def remove(self, parts: Iterable[int]) -> None:
        """Delete the files of these parts, where there are any."""
        names = [self.workspace.name(self.pattern.format(part=part)) for part in parts]
        self.workspace.store.delete_many(names)

    def write(self, part: int, tables: Iterable[pa.Table]) -> None:
        """Create-only; writing the same again is a no-op, so a task may run twice."""
        self.workspace.keep(self.pattern.format(part=part), write_buckets(tables))


def part_files(run: Run, kind: str) -> PartFiles:
    """The part files named ``kind`` (prepared, aligned, ...) of the run's current step."""
    return PartFiles(run.workspace, run.path(f"psi/{kind}/part-{{part:05d}}.parquet"))


# ---- align: keep the rows of common people --------------------------------------------------------------------------


def finish(
    run: Run,
    source: Source,
    plan: Plan,
    aligned: PartFiles,
    rows: int,
    spent: Sequence[PartFiles],
    unmatched: PartFiles | None = None,
) -> Alignment:
    """Store what the intersection left, for later steps, and remove part files that nobody asks for any more."""
    alignment = Alignment(
        table=source.name,
        parts=plan.parts,
        buckets_per_part=plan.buckets_per_part,
        rows=rows,
        rows_mine=source.rows,
        rows_by_party=dict(plan.rows),
        files=aligned.pattern,
        unmatched_rows=source.rows - rows if unmatched else 0,
        unmatched_files=unmatched.pattern if unmatched else None,
    )
    run.once("psi/alignment", alignment.to_json)
    for files in spent:
        files.remove(range(plan.parts))
    return alignment


def sweep(run: Run) -> None:
    """Delete the part files of the run's current step that no later step reads. An intersection does so itself, but a
    task that Spark had given up, or of a process that was killed, may have written some again.
    """
    folder = run.workspace.name(run.path("psi"))
    stray = [
        name
        for name, _ in run.workspace.store.list(folder)
        if not name.endswith(".json") and name.removeprefix(f"{folder}/").split("/")[0] not in LEFT
    ]
    run.workspace.store.delete_many(stray)


def align_part(
    prepared: PartFiles, aligned: PartFiles, part: int, masks: Sequence[Mask], unmatched: PartFiles | None = None
) -> int:
    """Write the aligned file of one part: of every bucket the rows where its mask (bool[rows of the bucket]) is true,
    and the others to ``unmatched``, if somebody wants them.

    Returns the number of rows in the aligned file.
    """
    source = prepared.read(part)
    if len(masks) != source.buckets:
        raise ValueError(f"part {part} has {source.buckets} buckets, got masks for {len(masks)}")
    aligned.write(part, (source.read(index).filter(pa.array(mask)) for index, mask in enumerate(masks)))
    if unmatched is not None:
        unmatched.write(part, (source.read(index).filter(pa.array(~mask)) for index, mask in enumerate(masks)))
    return sum(int(mask.sum()) for mask in masks)
