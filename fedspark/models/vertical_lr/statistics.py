"""First pass over aligned part files: who trains, and the statistics of their columns, classes and weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fedspark.errors import TableError
from fedspark.models.artifact import FEATURE
from fedspark.models.split import Rows, Split
from fedspark.models.vertical_lr import limits, maths, weights
from fedspark.models.vertical_lr.encoding import X_MOST
from fedspark.models.vertical_lr.maths import Floats, Int64s, Moments
from fedspark.models.vertical_lr.weights import Classes, Weights
from fedspark.psi.align import PartFiles
from fedspark.run import Run


@dataclass(frozen=True)
class Source:
    """Context of the first pass: the aligned part files, their feature names, what the guest has beside them, and who
    trains.
    """

    aligned: PartFiles
    features: tuple[str, ...]
    label: bool
    weight: bool
    split: Split

    def training(self, table: pa.Table) -> tuple[pa.Table, Floats]:
        """The training rows of one bucket, and their features as float64[N, F]."""
        chosen = table.filter(pa.array(self.split.choose(table["key"], Rows.TRAINING)))
        columns = [chosen[FEATURE + name].to_numpy() for name in self.features]
        return chosen, np.column_stack(columns) if columns else np.zeros((chosen.num_rows, 0))

    def weights(self, rows: pa.Table) -> Floats:
        """Their weights as they were read, float64[N]; 1 where there are none."""
        return rows["weight"].to_numpy() if self.weight else np.ones(rows.num_rows)


def source_of(aligned: PartFiles, guest: bool, split: Split) -> Source:
    names = aligned.read(0).schema.names
    if guest and "label" not in names:
        raise TableError("The guest's aligned table has no label.", remedy="Name the label column in the party file.")
    features = tuple(name.removeprefix(FEATURE) for name in names if name.startswith(FEATURE))
    if not features and not guest:
        raise TableError("The aligned table has no feature.", remedy="List features in the party file.")
    return Source(aligned, features, guest, guest and "weight" in names, split)


@dataclass(frozen=True, eq=False)
class Profile:
    """What the first pass finds in one part.

    ``unusable`` counts values per column that are missing or infinite; ``classes`` (at the guest) are the `Moments` of
    rows with label 0 and 1, ``weights`` summarises their weights.
    """

    moments: Moments
    unusable: Int64s
    classes: tuple[Moments, Moments]
    weights: Classes
    order: str


def profile_part(source: Source, part: int) -> Profile:
    """Statistics of the training rows of one part."""
    file, width = source.aligned.read(part), len(source.features)
    moments, unusable, order = [], np.zeros(width, np.int64), hashlib.sha256()
    classes: tuple[list[Moments], list[Moments]] = ([], [])
    weighing = [Weights(), Weights()]
    for bucket in file:
        rows, x = source.training(bucket)
        unusable += (~np.isfinite(x)).sum(axis=0)
        moments.append(Moments.of(x))
        order.update(b"".join(rows["digest"].to_pylist()))
        if source.label and rows.num_rows:
            own, ones = _weights(source, rows), positive(rows)
            for value, chosen in enumerate((~ones, ones)):
                classes[value].append(Moments.of(x[chosen]))
                weighing[value] = weighing[value].merge(Weights.of(own[chosen]))
    both = maths.merged(classes[0], width), maths.merged(classes[1], width)
    whole = maths.merged(moments, width)
    return Profile(whole, unusable, both, (weighing[0], weighing[1]), order.hexdigest())


def positive(rows: pa.Table) -> npt.NDArray[np.bool_]:
    label = rows["label"].to_numpy()
    wrong = int(((label != 0.0) & (label != 1.0)).sum())
    if wrong:
        raise TableError(
            f"The label of {wrong:,} training rows is neither 0 nor 1.", remedy="Map the label column to 0 and 1."
        )
    return label == 1.0


def _weights(source: Source, rows: pa.Table) -> Floats:
    own = source.weights(rows)
    wrong = int((~(np.isfinite(own) & (own >= 0.0))).sum())
    if wrong:
        raise TableError(
            f"The weight of {wrong:,} training rows is missing, infinite or below 0.",
            remedy="Correct the weight column at the source, or do not name one.",
        )
    return own


def statistics(run: Run, source: Source, parts: int, limit: int, balanced: bool) -> dict[str, Any]:
    found: list[Profile] = run.parts("statistics of training rows", profile_part, parts, source)
    width = len(source.features)
    moments = maths.merged((profile.moments for profile in found), width)
    unusable = np.sum([profile.unusable for profile in found], axis=0)
    limits.check_values(source.features, moments, unusable)
    limits.check_rows(moments.rows, run.party_conf.policy)
    classes = [maths.merged((profile.classes[value] for profile in found), width) for value in (0, 1)]
    factors, effective, warnings = None, moments.rows, list[str]()
    if source.label:
        limits.check_classes(classes[1].rows, moments.rows, limit)
        weighing = _merged([profile.weights for profile in found])
        factors = weights.factors(weighing, balanced)
        if factors is not None:
            effective = weights.check(weighing, run.party_conf.policy)
        warnings = limits.separating(source.features, classes[0], classes[1])
    if limit > 1:
        limits.check_outliers(source.features, moments)
    order = hashlib.sha256("".join(f"{profile.moments.rows}:{profile.order};" for profile in found).encode())
    columns = zip(source.features, moments.mean, moments.deviation, moments.farthest, strict=True)
    return {
        "columns": [
            {"name": name, "mean": float(mean), "scale": float(scale), "unit": float(far / scale / X_MOST)}
            for name, mean, scale, far in columns
        ],
        "rows": moments.rows,
        "effective": effective,
        "order": order.hexdigest(),
        "factors": factors,
        "warnings": warnings,
    }


def _merged(found: Sequence[Classes]) -> Classes:
    both = Weights(), Weights()
    for each in found:
        both = both[0].merge(each[0]), both[1].merge(each[1])
    return both
