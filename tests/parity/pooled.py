"""What one owner of all columns would find: joined tables, the optimum by plain numpy and by scikit-learn, figures.

Nothing here uses fedspark: ids are joined by sets, the split is SHA-256 by hand, standardisation is numpy's. The
objective is the one of the federated model, with labels y in {-1, +1} and features standardised over training rows:

    J(w) = mean(ln 2 - y z / 2 + z^2 / 8) + l2/2 |w|^2,   intercept unpenalised
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, roc_auc_score, roc_curve

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

SALT = "fedspark-split-v1"


@dataclass(frozen=True, eq=False)
class Table:
    """What one party holds: N ids, float64[N] columns by name, and at the guest labels 0 and 1."""

    ids: list[str]
    columns: dict[str, Floats]
    label: Floats | None = None

    def take(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> Table:
        """Some of the rows, in the order given."""
        label = None if self.label is None else self.label[rows]
        return Table([self.ids[row] for row in rows], {n: c[rows] for n, c in self.columns.items()}, label)


@dataclass(frozen=True, eq=False)
class Joined:
    """The people that all parties hold: x float64[N, F] with the columns of one party after those of the other."""

    ids: list[str]
    x: Floats
    label: Floats | None
    widths: dict[str, int]

    @property
    def training(self) -> Mask:
        """The people whose hash does not fall into the first 30 %."""
        return np.array([fraction(person) >= 0.3 for person in self.ids])


@dataclass(frozen=True, eq=False)
class Standardised:
    """Training people with mean 0 and population deviation 1 in every column, and y in {-1, +1}."""

    x: Floats
    y: Floats
    mean: Floats
    scale: Floats

    @classmethod
    def of(cls, joined: Joined) -> Standardised:
        assert joined.label is not None
        x, y = joined.x[joined.training], joined.label[joined.training]
        mean, scale = x.mean(axis=0), x.std(axis=0)
        return cls((x - mean) / scale, 2 * y - 1, mean, scale)

    def scores(self, x: Floats, weights: Floats) -> Floats:
        """z float64[N] of people with raw features x float64[N, F]; weights float64[F + 1] end with the intercept."""
        return (x - self.mean) / self.scale @ weights[:-1] + weights[-1]


def fraction(person: str, salt: str = SALT) -> float:
    """A number in [0, 1) that everybody can compute from an id."""
    return int(hashlib.sha256(f"{salt}|{person}".encode()).hexdigest()[:8], 16) / 2**32


def join(tables: Mapping[str, Table]) -> Joined:
    """The common people, in the order of their ids."""
    ids = sorted(set.intersection(*(set(table.ids) for table in tables.values())))
    columns, label = [], None
    for table in tables.values():
        row = {person: index for index, person in enumerate(table.ids)}
        rows = np.array([row[person] for person in ids])
        columns += [column[rows] for column in table.columns.values()]
        label = table.label[rows] if table.label is not None else label
    widths = {party: len(table.columns) for party, table in tables.items()}
    return Joined(ids, np.column_stack(columns), label, widths)


# ---- the same objective, and the exact one ---------------------------------------------------------------------------


def optimum(train: Standardised, l2: float) -> Floats:
    """Where the gradient of J is zero, float64[F + 1] with the intercept last: one linear system."""
    rows, columns = train.x.shape
    x = np.column_stack([train.x, np.ones(rows)])
    hessian = x.T @ x / (4 * rows) + np.diag([l2] * columns + [0.0])
    solution: Floats = np.linalg.solve(hessian, x.T @ train.y / (2 * rows))
    return solution


def ridge(train: Standardised, l2: float) -> Floats:
    """The same by scikit-learn: 8 N J = |2y - z|^2 + 4 l2 N |w|^2 + constant."""
    model = Ridge(alpha=4 * l2 * len(train.y)).fit(train.x, 2 * train.y)
    return np.append(model.coef_, model.intercept_)


def exact(train: Standardised, l2: float) -> Floats:
    """The optimum for the logistic loss itself."""
    model = LogisticRegression(C=1 / (l2 * len(train.y)), tol=1e-8, max_iter=10_000).fit(train.x, train.y)
    return np.append(model.coef_, model.intercept_)


# ---- figures ---------------------------------------------------------------------------------------------------------


def figures(label: Floats, z: Floats) -> dict[str, float]:
    """AUC, KS and log-loss of log-odds z against labels 0 and 1."""
    false_positive, true_positive, _ = roc_curve(label, z, drop_intermediate=False)
    return {
        "auc": float(roc_auc_score(label, z)),
        "ks": float(np.max(np.abs(true_positive - false_positive))),
        "log_loss": float(log_loss(label, 1 / (1 + np.exp(-z)))),
    }
