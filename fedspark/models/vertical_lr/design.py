"""From aligned part files to the design matrix: statistics, checks, quantised training rows, the own Hessian block.

Each pass is one part task; what it finds is committed in the workspace before anything depends on it. A design part
file holds the training rows of one aligned part: x0, x1, ... int16 (multiples of the column's unit), at the guest
y int8 (-1, +1) and, where rows have weights, w int32 (mean 1, 16 fraction bits).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from fedspark.buckets import BucketFile
from fedspark.models.split import Split
from fedspark.models.vertical_lr import limits, maths
from fedspark.models.vertical_lr.encoding import WEIGHT_FRACTION, encode_weights, quantise
from fedspark.models.vertical_lr.maths import Floats, Int16s, Int64s, Majority
from fedspark.models.vertical_lr.statistics import Source, positive, source_of, statistics
from fedspark.party import Role
from fedspark.psi.align import Alignment, PartFiles
from fedspark.run import Run

INTERCEPT = "(intercept)"


@dataclass(frozen=True)
class Column:
    """A feature: its name in the table, mean and population standard deviation over the training rows, and the
    standardised value that encoded rows are multiples of.
    """

    name: str
    mean: float
    scale: float
    unit: float


@dataclass(frozen=True)
class Design:
    """A party's training rows, as all rounds use them.

    ``rows[part]`` training rows lie in ``files``; ``order`` is a digest of who they are and how they are ordered;
    ``penalty`` and the F x F matrix ``inverse`` (of the own Hessian block) cover the columns in order, at the guest
    with the intercept last; ``sums`` are those of the encoded columns over all rows; ``effective`` is how many rows of
    equal weight they are worth (only the guest knows). ``warnings`` are for people: columns that repeat others, or that
    tell the classes apart.
    """

    files: PartFiles
    columns: tuple[Column, ...]
    rows: tuple[int, ...]
    order: str
    intercept: bool
    penalty: Floats
    inverse: Floats
    sums: tuple[int, ...]
    effective: int
    weighted: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def units(self) -> Floats:
        """What an encoded 1 stands for in every column, float64[F]; 1 for the intercept."""
        return np.array([column.unit for column in self.columns] + [1.0] * self.intercept)

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


def build(run: Run, alignment: Alignment, split: Split, l2: float, balanced: bool = False) -> Design:
    """Two passes over the aligned part files. TableError or PolicyRefused for data that must not be trained on."""
    aligned, guest = PartFiles(run.workspace, alignment.files), run.role is Role.GUEST
    limit = run.party_conf.policy.min_bin_rows
    source = source_of(aligned, guest, split)
    found = run.once("statistics", lambda: statistics(run, source, alignment.parts, limit, balanced))
    columns = tuple(Column(**column) for column in found["columns"])
    factors = found["factors"]

    files = PartFiles(run.workspace, run.path("design/part-{part:05d}.parquet"))
    writing = Writing(source, files, columns, None if factors is None else tuple(factors))
    made = run.once("design", lambda: _design(run, writing, alignment.parts, l2, limit))
    return Design(
        files=files,
        columns=columns,
        rows=tuple(made["rows"]),
        order=found["order"],
        intercept=guest,
        penalty=_penalty(len(columns), guest, l2),
        inverse=np.array(made["inverse"], dtype=np.float64),
        sums=tuple(made["sums"]),
        effective=found["effective"],
        weighted=factors is not None,
        warnings=(*found["warnings"], *made["warnings"]),
    )


def _penalty(columns: int, guest: bool, l2: float) -> Floats:
    return np.array([l2] * columns + [0.0] * guest)


# ---- second pass: the design matrix ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Writing:
    """Context of the second pass; ``factors`` multiply the weights of rows with label 0 and 1, None: no weights."""

    source: Source
    files: PartFiles
    columns: tuple[Column, ...]
    factors: tuple[float, float] | None


@dataclass(frozen=True, eq=False)
class Written:
    """What the second pass finds in one part: sums of the encoded columns int64[F], X'X, the same of rows before they
    were rounded, and with weights and intercept the own Hessian block, times 4 N.
    """

    rows: int
    sums: Int64s
    gram: Floats
    exact_gram: Floats
    hessian: Floats
    majorities: tuple[Majority, ...]


def write_design_part(writing: Writing, part: int) -> Written:
    """Quantise the training rows of one part and write its design file."""
    source, columns = writing.source, writing.columns
    mean = np.array([column.mean for column in columns])
    quantum = np.array([column.unit * column.scale for column in columns])
    tables, matrices, row_weights, exact = [], [], [], np.zeros((len(columns), len(columns)))
    for bucket in source.aligned.read(part):
        rows, x = source.training(bucket)
        quantised = quantise(x, mean, quantum)
        table = {f"x{index}": pa.array(quantised[:, index]) for index in range(len(columns))}
        if source.label:
            table["y"] = pa.array(np.where(positive(rows), 1, -1).astype(np.int8))
        if writing.factors is not None:
            weights = encode_weights(source.weights(rows) * np.array(writing.factors)[positive(rows).astype(int)])
            table["w"] = pa.array(weights.astype(np.int32))
            row_weights.append(weights * 2.0**-WEIGHT_FRACTION)
        exact += maths.gram((x - mean) / np.array([column.scale for column in columns]))
        tables.append(pa.table(table))
        matrices.append(quantised)
    writing.files.write(part, tables)
    x_part = np.concatenate(matrices)
    majorities = tuple(Majority.of(x_part[:, index]) for index in range(len(columns)))
    real = x_part * np.array([column.unit for column in columns])
    whole = np.column_stack([real, np.ones(len(real))]) if source.label else real
    hessian = maths.gram(whole, np.concatenate(row_weights) if row_weights else None)
    return Written(len(x_part), x_part.sum(axis=0, dtype=np.int64), maths.gram(real), exact, hessian, majorities)


@dataclass(frozen=True, eq=False)
class Matrix:
    """The training rows of one part: x int16[N, F]; at the guest y int64[N] in -1, +1 and, if weighted, w int64[N]."""

    x: Int16s
    y: Int64s
    weights: Int64s | None


def read_design_part(files: PartFiles, part: int) -> Matrix:
    """What `write_design_part` wrote; no y at a host."""
    file: BucketFile = files.read(part)
    table = file.read_all()
    own = {name: table[name].to_numpy().astype(np.int64) for name in ("y", "w") if name in table.column_names}
    columns = [table[name].to_numpy() for name in table.column_names if name not in own]
    x = np.column_stack(columns) if columns else np.zeros((file.rows, 0), np.int16)
    return Matrix(x, own.get("y", np.zeros(0, np.int64)), own.get("w"))


def _design(run: Run, writing: Writing, parts: int, l2: float, limit: int) -> dict[str, Any]:
    found: list[Written] = run.parts("prepare training rows", write_design_part, parts, writing)
    rows, names = sum(part.rows for part in found), writing.source.features
    _check_rare_columns(run, writing, found, limit)
    gram = np.sum([part.gram for part in found], axis=0)
    _check_leverage(run, writing, gram, parts, rows, limit)
    exact = np.sum([part.exact_gram for part in found], axis=0)
    repeated = [names[index] for index in sorted(maths.dependent_columns(exact))]
    penalty = _penalty(len(writing.columns), writing.source.label, l2)
    block = np.sum([part.hessian for part in found], axis=0) / (4 * rows) + np.diag(penalty)
    inverse = maths.inverse_block(block, [*names, INTERCEPT])
    return {
        "rows": [part.rows for part in found],
        "sums": np.sum([part.sums for part in found], axis=0).tolist(),
        "inverse": inverse.tolist(),
        "warnings": limits.collinear(repeated),
    }


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


def _check_leverage(run: Run, writing: Writing, gram: Floats, parts: int, rows: int, limit: int) -> None:
    if limit == 1 or len(writing.columns) < 2:
        return
    inverse = np.linalg.pinv(gram, hermitian=True)
    units = tuple(column.unit for column in writing.columns)
    measuring = Measuring(writing.files, units, tuple(map(tuple, inverse.tolist())))
    limits.check_leverage(max(run.parts("measure leverage", leverage_part, parts, measuring)) + 1 / rows, rows)


@dataclass(frozen=True)
class Measuring:
    """Context of `leverage_part`: the columns' units, and the (pseudo-)inverse of X'X over all training rows."""

    files: PartFiles
    units: tuple[float, ...]
    inverse: tuple[tuple[float, ...], ...]


def leverage_part(measuring: Measuring, part: int) -> float:
    """The largest x (X'X)^-1 x' of the rows of one part: how far one row decides its own fitted value."""
    x = read_design_part(measuring.files, part).x * np.array(measuring.units)
    return float(np.einsum("ij,jk,ik->i", x, np.array(measuring.inverse), x).max(initial=0.0))
