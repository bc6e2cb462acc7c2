"""Train: this party's half of a model's protocol on the people that a psi step found."""

from __future__ import annotations

import importlib
from typing import Any

from fedspark.conf import PsiOptions, TrainOptions
from fedspark.models.vertical_lr import Trained
from fedspark.party import Role
from fedspark.psi.align import Alignment
from fedspark.reports.step_records import coefficients_chart, coefficients_table, loss_chart, rounds_table, update_chart
from fedspark.run import Run

MODELS = {"vertical_lr": "fedspark.models.vertical_lr"}
_TEXT = "Weights are for standardised features; this party knows its own ones only."


def run_step(run: Run, options: TrainOptions) -> None:
    """Train, and leave this party's part of the model as ``model.json`` in the step's folder."""
    alignment = None if run.role is Role.ARBITER else training_alignment(run, options)
    trained: Trained = importlib.import_module(MODELS[options.model]).train(run, alignment, options)
    run.progress.say(f"{trained.rounds} rounds, stopped because: {trained.stop}")
    run.write_record(_record(options, trained))


def training_alignment(run: Run, options: TrainOptions) -> Alignment:
    """What the psi step on the training table left."""
    psi = next(s for s in run.pipeline.steps if isinstance(s, PsiOptions) and s.table == options.table)
    return Alignment.of(run.at(psi.name))


def _record(options: TrainOptions, trained: Trained) -> dict[str, Any]:
    charts, tables = [], []
    losses = [told["loss"] for told in trained.history if told.get("loss") is not None]
    changes = [told["change"] ** 0.5 for told in trained.history if told.get("change")]
    if losses:
        charts.append(loss_chart(losses, note="Mean Taylor loss with penalty, over the training rows."))
    elif changes:
        charts.append(update_chart(changes))
    facts: dict[str, Any] = {"rounds": trained.rounds, "stopped because": trained.stop, "l2": options.l2}
    if trained.part is not None:
        facts |= {"training rows": trained.part.rows, "own features": len(trained.part.features)}
        facts |= {"rows": "weighted"} if trained.part.objective.endswith("rows weighted") else {}
    if options.class_weight != "none":
        facts["class weight"] = options.class_weight
    if options.warm_start is not None:
        facts["started from"] = " ".join(filter(None, vars(options.warm_start).values()))
    if trained.part is not None:
        weights = {feature.name: feature.weight for feature in trained.part.features}
        charts.append(coefficients_chart(weights))
        tables.append(coefficients_table(feature.model_dump() for feature in trained.part.features))
    if losses or changes:
        tables.append(rounds_table(trained.history))
    return {
        "step": options.name,
        "kind": options.model,
        "title": "Training",
        "text": "\n\n".join([_TEXT, *(f"Warning. {warning}" for warning in trained.warnings)]),
        "facts": facts,
        "charts": charts,
        "tables": tables,
    }
