"""Small aligned tables for the model tests, written the way an intersection leaves them, and their pooled optimum."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fedspark.buckets import PartFunction, write_buckets
from fedspark.crypto.hashing import split_fraction
from fedspark.psi.align import Alignment
from tests.federation import Federation

Floats = npt.NDArray[np.float64]
STEP = "train"
SALT = "fedspark-split-v1"
TRAIN: dict[str, Any] = {"step": "train", "table": "people", "validation": 0.25, "l2": 0.01, "tolerance": 1e-12}
STEPS = ({"step": "load", "tables": ["people"]}, {"step": "psi", "table": "people"}, TRAIN)


@dataclass(frozen=True, eq=False)
class People:
    """``features[party]`` float64[N, F_party], ``label`` and perhaps ``weight`` float64[N] of the same N people."""

    features: dict[str, Floats]
    label: Floats
    names: dict[str, list[str]] = field(default_factory=dict)
    weight: Floats | None = None

    @property
    def keys(self) -> list[str]:
        return [f"person-{row:04d}" for row in range(len(self.label))]

    def columns(self, party: str) -> list[str]:
        count = self.features[party].shape[1]
        return self.names.get(party) or [f"{party}_{index}" for index in range(count)]

    def training(self, share: float) -> npt.NDArray[np.bool_]:
        return split_fraction(self.keys, SALT) >= share


def people(rows: int = 60, widths: Mapping[str, int] | None = None, seed: int = 7) -> People:
    """Correlated features at all parties and a label that depends on them."""
    rng = np.random.default_rng(seed)
    widths = widths or {"guest": 3, "host": 4}
    common = rng.normal(size=(rows, 2))
    features = {
        party: common @ rng.normal(size=(2, width)) + rng.normal(size=(rows, width)) * (1.0 + np.arange(width))
        for party, width in widths.items()
    }
    z = sum(x @ (rng.normal(size=x.shape[1]) / (1.0 + np.arange(x.shape[1]))) for x in features.values())
    return People(features, (z + rng.normal(size=rows) > 0.3).astype(float))


def align(
    federation: Federation, table: People, *, step: str = "psi", buckets: int = 6, parts: int = 3, label: bool = True
) -> dict[str, Alignment]:
    """Write aligned part files for every party with features; the second bucket is left empty."""
    digests = [hashlib.sha256(key.encode()).digest()[:16] for key in table.keys]
    bucket = np.array([digest[0] * buckets // 256 for digest in digests])
    bucket[bucket == 1] = 0
    order = sorted(range(len(digests)), key=lambda row: (bucket[row], digests[row]))
    per_part = buckets // parts
    alignments = {}
    for party, x in table.features.items():
        run = federation.run(party, step)
        alignments[party] = Alignment(
            table="people",
            parts=parts,
            buckets_per_part=per_part,
            rows=len(table.label),
            rows_mine=len(table.label),
            rows_by_party={name: len(table.label) for name in table.features},
            files=run.path("psi/aligned/part-{part:05d}.parquet"),
        )
        whole = _table(table, party, x, digests, bucket, label and party == "guest").take(order)
        sorted_buckets = bucket[order]
        for part in range(parts):
            tables = [
                whole.filter(pa.array(sorted_buckets == number))
                for number in range(part * per_part, (part + 1) * per_part)
            ]
            run.workspace.create(alignments[party].path(part), write_buckets(tables))
    return alignments


def _table(
    table: People, party: str, x: Floats, digests: Sequence[bytes], bucket: npt.NDArray[np.int64], label: bool
) -> pa.Table:
    columns: dict[str, Any] = {
        "bucket": pa.array(bucket, pa.int32()),
        "digest": pa.array(digests, pa.binary(16)),
        "key": table.keys,
        "id.person": table.keys,
    }
    if label:
        columns["label"] = table.label
        columns |= {} if table.weight is None else {"weight": table.weight}
    for index, name in enumerate(table.columns(party)):
        columns[f"x.{name}"] = x[:, index]
    return pa.table(columns)


def pooled_optimum(
    table: People, share: float, l2: float, weight: Floats | None = None
) -> tuple[dict[str, Floats], float]:
    """Weights of every party and the intercept that minimise the Taylor loss over the training rows, by plain numpy;
    with ``weight`` float64[N] its weighted mean.
    """
    training = table.training(share)
    omega = np.ones(training.sum()) if weight is None else weight[training] / weight[training].mean()
    x = np.column_stack(list(table.features.values()))[training]
    x = np.column_stack([(x - x.mean(axis=0)) / x.std(axis=0), np.ones(len(x))])
    y = 2 * table.label[training] - 1
    penalty = np.diag([l2] * (x.shape[1] - 1) + [0.0])
    w = np.linalg.solve((x.T * omega) @ x / (4 * len(x)) + penalty, x.T @ (omega * y) / (2 * len(x)))
    weights, start = {}, 0
    for party, features in table.features.items():
        weights[party] = w[start : start + features.shape[1]]
        start += features.shape[1]
    return weights, float(w[-1])


class Twice:
    """Runs every part task two times, as Spark may."""

    def run(self, function: PartFunction, parts: range, context: Any, on_done: Callable[[int], None]) -> list[Any]:
        return [(function(context, part), function(context, part))[1] for part in parts]
