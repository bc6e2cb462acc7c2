"""The shared vertical data sets with a binary label, and the coefficients and figures published with them.

The published models standardise with mean and population deviation of the training rows, put the training mean for a
missing number, give every category a column of its own, and minimise the mean loss plus l2/2 |w|^2 without a penalty on
the intercept, which comes last. Columns of the guest come first; a host's column that is called like one of the
guest's has _h appended.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from tests.parity.pooled import Floats, Mask, Standardised, Table

NUMERIC = ("breast_hetero", "default_credit_hetero", "epsilon_5k_hetero", "uci_credit_psi_hetero")
WITH_GAPS_OR_CATEGORIES = (
    "adult_hetero",
    "aus_auto_claims_hetero",
    "german_credit_hetero",
    "ionosphere_scale_hetero",
    "online_shoppers_hetero",
    "pg15_motor_claims_hetero",
)
L2 = 1e-3


@dataclass(frozen=True, eq=False)
class Shared:
    """One data set: both sides as they lie there, the published test ids, weights float64[F + 1] and AUC."""

    guest: pd.DataFrame
    host: pd.DataFrame
    label: str
    test_ids: frozenset[str]
    names: list[str]
    weights: Floats
    auc: float

    def tables(self) -> dict[str, Table]:
        """Guest and host as parties bring them; for sets with numbers only."""
        label = self.guest[self.label].to_numpy(float)
        return {
            "guest": _table(self.guest.drop(columns=self.label), label),
            "host": _table(self.host),
        }

    @property
    def own_columns(self) -> list[str]:
        """The guest's columns and then the host's, named as in the published model."""
        guest = [name for name in self.guest.columns if name not in ("id", self.label)]
        host = [name for name in self.host.columns if name != "id"]
        return guest + [f"{name}_h" if name in self.guest.columns else name for name in host]


@dataclass(frozen=True, eq=False)
class Encoded:
    """All columns as numbers: training people, held-out features (standardised alike) and labels 0 and 1, how many
    columns each side has, and the published weights of the columns that vary.
    """

    training: Standardised
    held_out: Floats
    held_out_label: Floats
    widths: dict[str, int]
    weights: Floats


@lru_cache(maxsize=1)
def load(directory: Path, name: str) -> Shared:
    """Read a data set and what was published with it."""
    folder, published = directory / name, directory / "baselines"
    guest, host, test = (
        pd.read_csv(folder / f"{file}.csv", dtype={"id": str}) for file in ("guest", "host", "test_ids")
    )
    model = json.loads((published / f"{name}.coef.json").read_text())["LR_taylor/joined"]
    assert model["lam"] == L2
    return Shared(
        guest=guest,
        host=host,
        label=json.loads((folder / "META.json").read_text())["label"],
        test_ids=frozenset(test["id"]),
        names=model["names"],
        weights=np.array(model["coef"]),
        auc=json.loads((published / f"{name}.json").read_text())["models"][f"LR_taylor_lam{L2:g}/joined"]["auc"],
    )


def encode(data: Shared) -> Encoded:
    """The published model's columns, except those with one value only, whose weight is 0."""
    joined = data.guest.merge(data.host, on="id", suffixes=("", "_h"))
    test = joined["id"].isin(data.test_ids).to_numpy()
    columns = np.column_stack([_column(joined, name, ~test) for name in data.names])
    varies = columns[~test].std(axis=0) > 0
    assert np.abs(data.weights[:-1][~varies]).max(initial=0.0) < 1e-9
    guest = np.array([name.split("=")[0] in data.guest.columns for name in data.names])[varies]
    assert (np.diff(guest.astype(int)) <= 0).all()  # the guest's columns come first
    label = joined[data.label].to_numpy(float)
    x, width = columns[:, varies], len(guest)
    return Encoded(
        training=Standardised(x[~test], 2 * label[~test] - 1, np.zeros(width), np.ones(width)),
        held_out=x[test],
        held_out_label=label[test],
        widths={"guest": int(guest.sum()), "host": int((~guest).sum())},
        weights=data.weights[np.append(varies, True)],
    )


def _column(joined: pd.DataFrame, name: str, training: Mask) -> Floats:
    """float64[N]: a standardised number, or whether a category is the one after the equals sign."""
    if name in joined:
        x = joined[name].to_numpy(float)
        known = x[training][~np.isnan(x[training])]
        if not len(known) or known.min() == known.max():
            return np.zeros(len(x))
        return np.nan_to_num((x - known.mean()) / known.std())
    column, value = name.split("=", 1)
    return (joined[column].fillna("<NA>").astype(str) == value).to_numpy(float)


def _table(frame: pd.DataFrame, label: Floats | None = None) -> Table:
    columns = {name: frame[name].to_numpy(float) for name in frame.columns if name != "id"}
    return Table(frame["id"].tolist(), columns, label)
