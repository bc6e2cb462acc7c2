"""The whole pipeline of a few parties in this process: each gets its own table, all play the real protocols."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.cpu import TreeClock
from fedspark.conf import EvaluateOptions, PredictOptions, TrainOptions
from fedspark.conf.options.psi import PsiSettings
from fedspark.models import artifact
from fedspark.models.artifact import ModelPart
from fedspark.models.split import Rows
from fedspark.party import Role
from fedspark.psi.align import Alignment, Source
from fedspark.run import Run
from fedspark.scoring import send_scores, write_scores
from fedspark.steps import evaluate, train
from fedspark.steps.psi import match
from tests.federation import Federation
from tests.parity.pooled import Floats, Table

Settings = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Parties:
    """A run of load, psi, train, evaluate and predict; ``seconds`` of wall time and ``cpu`` seconds of all parties
    together by step, filled as steps are played.
    """

    federation: Federation
    seconds: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)

    @classmethod
    def meet(cls, hosts: int = 1, psi: Settings | None = None, **settings: Any) -> Parties:
        """Handshake of a guest, ``hosts`` hosts and an arbiter; everything but what is said here is a default."""
        steps: list[dict[str, Any]] = [
            {"step": "load", "tables": ["people", "newcomers"]},
            {"step": "psi", "table": "people", **(psi or {})},
            {"step": "train", "table": "people"},
            {"step": "evaluate"},
            {"step": "predict", "table": "newcomers", **(psi or {})},
        ]
        return cls(Federation(hosts=hosts, steps=steps, **settings))

    @property
    def names(self) -> list[str]:
        """The parties with data, the guest first."""
        return [party.name for party in self.federation.roster.data_parties]

    @property
    def training(self) -> TrainOptions:
        options = self.federation.pipeline.step("train")
        assert isinstance(options, TrainOptions)
        return options

    # ---- steps -------------------------------------------------------------------------------------------------------

    def intersect(self, tables: Mapping[str, Table]) -> dict[str, Alignment]:
        """The psi step on these tables."""
        return self._play("psi", lambda run: _intersect(run, tables[run.me.name]), self.names)

    def train(self) -> None:
        """The train step, at all parties."""
        self._play("train", lambda run: train.run_step(run, self.training), [*self.names, "arbiter"])

    def evaluate(self) -> dict[str, Any]:
        """What the guest finds on the people held out."""
        options = self.federation.pipeline.step("evaluate")
        assert isinstance(options, EvaluateOptions)
        self._play("evaluate", lambda run: evaluate.run_step(run, options), self.names)
        figures: dict[str, Any] = self.federation.run("guest").workspace.read_json("steps/evaluate/validation.json")
        return figures

    def predict(self, tables: Mapping[str, Table]) -> dict[str, tuple[float, float]]:
        """The predict step on tables without labels: score and probability by id, as the guest's Parquet files say."""

        def half(run: Run) -> Any:
            alignment, model = _intersect(run, tables[run.me.name]), artifact.load(run, "train")
            if run.role is Role.GUEST:
                return write_scores(run, model, alignment)
            return send_scores(run, model, alignment, Rows.ALL)

        files = self._play("predict", half, self.names)["guest"]
        store = self.federation.run("guest").workspace
        found: dict[str, tuple[float, float]] = {}
        for name in files.files:
            if name.endswith(".parquet"):
                scores = pq.read_table(io.BytesIO(store.read(f"{files.folder}/{name}")))
                found |= {row["person"]: (row["score"], row["probability"]) for row in scores.to_pylist()}
        return found

    def _play(self, step: str, half: Callable[[Run], Any], names: list[str]) -> dict[str, Any]:
        clock = TreeClock()
        started, used = time.monotonic(), clock()
        results = self.federation.play(step, dict.fromkeys(names, half))
        self.seconds[step], self.cpu[step] = time.monotonic() - started, clock() - used
        return results

    # ---- what training left ------------------------------------------------------------------------------------------

    def part(self, name: str) -> ModelPart:
        """The model file of a party."""
        return artifact.load(self.federation.run(name), "train")

    @property
    def weights(self) -> Floats:
        """float64[F + 1] for standardised features, the parties' columns in order, then the intercept."""
        parts = [self.part(name) for name in self.names]
        intercept = parts[0].intercept
        assert intercept is not None
        return np.array([*(feature.weight for part in parts for feature in part.features), intercept])

    @property
    def rounds(self) -> int:
        """Updates of the weights."""
        return len(self.part("guest").history) - 1

    def scores(self, x: Floats) -> Floats:
        """z float64[N] that the model files give to raw features float64[N, F]."""
        features = [feature for name in self.names for feature in self.part(name).features]
        mean, scale = (np.array([getattr(f, what) for f in features]) for what in ("mean", "scale"))
        weights = self.weights
        z: Floats = (x - mean) / scale @ weights[:-1] + weights[-1]
        return z


def _intersect(run: Run, table: Table) -> Alignment:
    options = run.pipeline.step(run.step_name)
    assert isinstance(options, PsiSettings | PredictOptions)
    staged = _staged(table)
    snapshot = hashlib.sha256(repr(staged.to_pydict()).encode()).hexdigest()
    _, found = match(run, options, Source(options.table, staged.num_rows, staged.num_columns, snapshot, staged))
    assert isinstance(found, Alignment)
    return found


def _staged(table: Table) -> pa.Table:
    label = {} if table.label is None else {"label": table.label}
    features = {f"x.{name}": column for name, column in table.columns.items()}
    return pa.table({"key": table.ids, "id.person": table.ids, **label, **features})
