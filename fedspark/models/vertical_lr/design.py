"""From aligned part files to the design matrix: statistics, checks, quantised training rows, the own Hessian block.

Each pass is one part task; what it finds is committed in the workspace before anything depends on it. A design part
file holds the training rows of one aligned part: x0, x1, ... int32 (16 fractional bits), at the guest y int8 (-1, +1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from fedspark.buckets import BucketFile
from fedspark.errors import TableError
from fedspark.models.artifact import FEATURE
from fedspark.models.split import Rows, Split
from fedspark.models.vertical_lr import limits, maths
from fedspark.models.vertical_lr.maths import Floats, Int32s, Int64s, Majority, Moments
from fedspark.party import Role
from fedspark.psi.align import Alignment, PartFiles
from fedspark.run import Run

INTERCEPT = "(intercept)"


@dataclass(frozen=True)
class Column:
    """A feature: its name in the table, mean and population standard deviation over the training rows."""

    name: str
    mean: float
    scale: float


@dataclass(frozen=True)
class Design:
    """A party's training rows, as all rounds use them.

    ``rows[part]`` training rows lie in ``files``; ``order`` is a digest of who they are and how they are ordered;
    ``penalty`` and the F x F matrix ``inverse`` (of the own Hessian block) cover the columns in order, at the guest
    with the intercept last.
    """

    files: PartFiles
    columns: tuple[Column, ...]
    rows: tuple[int, ...]
    order: str
    intercept: bool
    penalty: Floats
    inverse: Floats

    @property
    def parts(self) -> int:
        return len(self.rows)

    @property
    def total(self) -> int:
        """Training rows in all parts."""
        return sum(self.rows)

    @property
    def width(self) -> int:
        """Columns, the intercept included."""
        return len(self.columns) + self.intercept


def build(run: Run, alignment: Alignment, split: Split, l2: float) -> Design:
    """Two passes over the aligned part files. TableError or PolicyRefused for data that must not be trained on."""
    aligned, guest = PartFiles(run.workspace, alignment.files), run.role is Role.GUEST
    limit = run.party_conf.policy.min_bin_rows
    source = Source(aligned, _features(aligned, guest), guest, split)
    statistics = run.once("statistics", lambda: _statistics(run, source, alignment.parts, limit))
    columns = tuple(Column(**column) for column in statistics["columns"])

    files = PartFiles(run.workspace, run.path("design/part-{part:05d}.parquet"))
    writing = Writing(source, files, columns, statistics["rows"])
    made = run.once("design", lambda: _design(run, writing, alignment.parts, l2, limit))
    return Design(
        files=files,
        columns=columns,
        rows=tuple(made["rows"]),
        order=statistics["order"],
        intercept=guest,
        penalty=_penalty(len(columns), guest, l2),
        inverse=np.array(made["inverse"], dtype=np.float64),
    )


def _penalty(columns: int, guest: bool, l2: float) -> Floats:
    return np.array([l2] * columns + [0.0] * guest)


def _features(aligned: PartFiles, guest: bool) -> tuple[str, ...]:
    names = aligned.read(0).schema.names
    if guest and "label" not in names:
        raise TableError("The guest's aligned table has no label.", remedy="Name the label column in the party file.")
    features = tuple(name.removeprefix(FEATURE) for name in names if name.startswith(FEATURE))
    if not features and not guest:
        raise TableError("The aligned table has no feature.", remedy="List features in the party file.")
    return features


# ---- first pass: statistics ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """Context of the first pass: the aligned part files, their feature names, and who trains."""

    aligned: PartFiles
    features: tuple[str, ...]
    label: bool
    split: Split

    def training(self, table: pa.Table) -> tuple[pa.Table, Floats]:
        """The training rows of one bucket, and their features as float64[N, F]."""
        chosen = table.filter(pa.array(self.split.choose(table["key"], Rows.TRAINING)))
        columns = [chosen[FEATURE + name].to_numpy() for name in self.features]
        return chosen, np.column_stack(columns) if columns else np.zeros((chosen.num_rows, 0))


@dataclass(frozen=True, eq=False)
class Profile:
    """What the first pass finds in one part; ``unusable`` counts values per column that are missing or infinite."""

    moments: Moments
    unusable: Int64s
    positives: int
    order: str


def profile_part(source: Source, part: int) -> Profile:
    """Statistics of the training rows of one part."""
    file, width = source.aligned.read(part), len(source.features)
    moments, unusable, positives, order = [], np.zeros(width, np.int64), 0, hashlib.sha256()
    for bucket in file:
        rows, x = source.training(bucket)
        unusable += (~np.isfinite(x)).sum(axis=0)
        moments.append(Moments.of(x))
        positives += _positives(rows) if source.label else 0
        order.update(b"".join(rows["digest"].to_pylist()))
    return Profile(maths.merged(moments, width), unusable, positives, order.hexdigest())


def _positives(rows: pa.Table) -> int:
    label = rows["label"].to_numpy()
    wrong = int(((label != 0.0) & (label != 1.0)).sum())
    if wrong:
        raise TableError(
            f"The label of {wrong:,} training rows is neither 0 nor 1.", remedy="Map the label column to 0 and 1."
        )
    return int(label.sum())


def _statistics(run: Run, source: Source, parts: int, limit: int) -> dict[str, Any]:
    found: list[Profile] = run.parts("statistics of training rows", profile_part, parts, source)
    moments = maths.merged((profile.moments for profile in found), len(source.features))
    unusable = np.sum([profile.unusable for profile in found], axis=0)
    limits.check_values(source.features, moments, unusable)
    limits.check_rows(moments.rows, run.party_conf.policy)
    if source.label:
        limits.check_classes(sum(profile.positives for profile in found), moments.rows, limit)
    if limit > 1:
        limits.check_outliers(source.features, moments)
    scales = moments.deviation
    order = hashlib.sha256("".join(f"{profile.moments.rows}:{profile.order};" for profile in found).encode())
    return {
        "columns": [
            {"name": name, "mean": float(mean), "scale": float(scale)}
            for name, mean, scale in zip(source.features, moments.mean, scales, strict=True)
        ],
        "rows": moments.rows,
        "order": order.hexdigest(),
    }


# ---- second pass: the design matrix ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Writing:
    """Context of the second pass; ``rows`` is the number of training rows of all parts."""

    source: Source
    files: PartFiles
    columns: tuple[Column, ...]
    rows: int


@dataclass(frozen=True, eq=False)
class Written:
    """What the second pass finds in one part."""

    rows: int
    gram: Floats
    majorities: tuple[Majority, ...]


def write_design_part(writing: Writing, part: int) -> Written:
    """Quantise the training rows of one part and write its design file."""
    source, columns = writing.source, writing.columns
    mean = np.array([column.mean for column in columns])
    scale = np.array([column.scale for column in columns])
    tables, matrices = [], []
    for bucket in source.aligned.read(part):
        rows, x = source.training(bucket)
        quantised = maths.quantise(x, mean, scale, writing.rows)
        table = {f"x{index}": pa.array(quantised[:, index]) for index in range(len(columns))}
        if source.label:
            table["y"] = pa.array((2 * rows["label"].to_numpy() - 1).astype(np.int8))
        tables.append(pa.table(table))
        matrices.append(quantised)
    writing.files.write(part, tables)
    x_part = np.concatenate(matrices)
    majorities = tuple(Majority.of(x_part[:, index]) for index in range(len(columns)))
    return Written(len(x_part), maths.gram(_with_intercept(x_part, source.label)), majorities)


def read_design_part(files: PartFiles, part: int, intercept: bool) -> tuple[Int32s, Int64s]:
    """X int32[N, F] (at the guest with a last column of ones) and y int64[N] in -1, +1 (at a host empty)."""
    file: BucketFile = files.read(part)
    table = file.read_all()
    y = table["y"].to_numpy().astype(np.int64) if "y" in table.column_names else np.zeros(0, np.int64)
    columns = [table[name].to_numpy() for name in table.column_names if name != "y"]
    x = np.column_stack(columns) if columns else np.zeros((file.rows, 0), np.int32)
    return _with_intercept(x, intercept), y


def _with_intercept(x: Int32s, intercept: bool) -> Int32s:
    return np.column_stack([x, np.full(len(x), 1 << maths.X_FRACTION, np.int32)]) if intercept else x


def _design(run: Run, writing: Writing, parts: int, l2: float, limit: int) -> dict[str, Any]:
    found: list[Written] = run.parts("prepare training rows", write_design_part, parts, writing)
    rows = sum(part.rows for part in found)
    _check_rare_columns(run, writing, found, limit)
    _check_leverage(run, writing, found, limit)
    penalty = _penalty(len(writing.columns), writing.source.label, l2)
    block = sum(part.gram for part in found) / (4 * rows) + np.diag(penalty)
    inverse = maths.inverse_block(block, [*writing.source.features, INTERCEPT])
    return {"rows": [part.rows for part in found], "inverse": inverse.tolist()}


def _check_rare_columns(run: Run, writing: Writing, found: Sequence[Written], limit: int) -> None:
    rows = sum(part.rows for part in found)
    suspects: dict[int, int] = {}
    for index in range(len(writing.columns)):
        majority = Majority(0)
        for part in found:
            majority = majority.merge(part.majorities[index])
        if rows - majority.at_most < limit:
            suspects[index] = majority.value
    if not suspects:
        return
    counting = Counting(writing.files, suspects)
    counts = np.sum(run.parts("count common values", count_part, len(found), counting), axis=0)
    names = [writing.columns[index].name for index in suspects]
    limits.check_rare({name: rows - int(count) for name, count in zip(names, counts, strict=True)}, limit)


@dataclass(frozen=True)
class Counting:
    """Context of an exact count: column index -> quantised value."""

    files: PartFiles
    values: dict[int, int]


def count_part(counting: Counting, part: int) -> list[int]:
    """How many rows of one part hold the given value, per column asked for."""
    table = counting.files.read(part).read_all([f"x{index}" for index in counting.values])
    return [int((table[f"x{index}"].to_numpy() == value).sum()) for index, value in counting.values.items()]


def _check_leverage(run: Run, writing: Writing, found: Sequence[Written], limit: int) -> None:
    width = len(writing.columns)
    if limit == 1 or width < 2:
        return
    gram = np.sum([part.gram for part in found], axis=0)[:width, :width]
    measuring = Measuring(writing.files, tuple(map(tuple, np.linalg.pinv(gram, hermitian=True).tolist())))
    rows = sum(part.rows for part in found)
    limits.check_leverage(max(run.parts("measure leverage", leverage_part, len(found), measuring)) + 1 / rows, rows)


@dataclass(frozen=True)
class Measuring:
    """Context of `leverage_part`: the (pseudo-)inverse of X'X over all training rows."""

    files: PartFiles
    inverse: tuple[tuple[float, ...], ...]


def leverage_part(measuring: Measuring, part: int) -> float:
    """The largest x (X'X)^-1 x' of the rows of one part: how far one row decides its own fitted value."""
    x = read_design_part(measuring.files, part, intercept=False)[0] / 2.0**maths.X_FRACTION
    return float(np.einsum("ij,jk,ik->i", x, np.array(measuring.inverse), x).max(initial=0.0))
