"""Evaluate: the guest learns how good the model is on the people held out, from counts of scores."""

from __future__ import annotations

from typing import Any

from fedspark.conf import EvaluateOptions, TrainOptions
from fedspark.evaluation import ScoreCounts
from fedspark.models import artifact
from fedspark.models.split import Rows
from fedspark.party import Role
from fedspark.reports.step_records import evaluation_record
from fedspark.run import Run
from fedspark.scoring import score_counts, send_scores
from fedspark.steps.train import training_alignment


def run_step(run: Run, options: EvaluateOptions) -> None:
    """Training and validation people, each with the figures of all metrics; an arbiter has no part in it."""
    if run.role is Role.ARBITER:
        return
    model = artifact.load(run, options.model)
    train = run.pipeline.step(options.model)
    assert isinstance(train, TrainOptions)  # the pipeline file was checked for that
    alignment = training_alignment(run, train)
    if run.role is Role.HOST:
        for rows in (Rows.VALIDATION, Rows.TRAINING):
            send_scores(run, model, alignment, rows)
        return
    figures = {}
    for rows in (Rows.VALIDATION, Rows.TRAINING):
        counts = score_counts(run, model, alignment, rows, (options.threshold, *options.thresholds))
        figures[rows] = _figures(run, counts, rows)
    held_out = figures[Rows.VALIDATION]
    run.progress.say(f"AUC {held_out['auc']:.4f}, KS {held_out['ks']:.4f}, log-loss {held_out['log_loss']:.4f}")
    run.write_record(_record(options, figures))


def _figures(run: Run, counts: ScoreCounts, rows: Rows) -> dict[str, Any]:
    figures: dict[str, Any] = run.once(str(rows), lambda: counts.result(f"the {rows} rows").to_record())
    return figures


def _record(options: EvaluateOptions, figures: dict[Rows, dict[str, Any]]) -> dict[str, Any]:
    record = evaluation_record(figures[Rows.VALIDATION], step=options.name)
    titles = {"auc": "AUC", "ks": "KS", "log_loss": "log-loss", "brier": "Brier score"}
    titles |= {"calibration_error": "calibration error", "accuracy": "accuracy"}
    table = {
        "title": "Beside the rows it was trained on",
        "columns": ["", "validation", "training"],
        "rows": [
            [title, figures[Rows.VALIDATION][name], figures[Rows.TRAINING][name]] for name, title in titles.items()
        ],
    }
    return {**record, "tables": [*record["tables"], table]}
