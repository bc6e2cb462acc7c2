"""Predict: intersect another table and score the people in it with a model of this run or of an earlier one."""

from __future__ import annotations

from fedspark.conf import PredictOptions
from fedspark.models import artifact
from fedspark.models.split import Rows
from fedspark.party import Role
from fedspark.psi.align import Alignment
from fedspark.run import Run
from fedspark.scoring import send_scores, write_scores
from fedspark.steps.cost import Cost
from fedspark.steps.psi import intersect, psi_record


def run_step(run: Run, options: PredictOptions) -> None:
    """Scores with ids end up at the guest, as Parquet and CSV, with ``join: left`` for all of its rows; an arbiter has
    no part in it.
    """
    if run.role is Role.ARBITER:
        return
    model = artifact.load(run, options.model, label=options.model_run, pipeline=options.model_pipeline)
    cost = Cost.begin(run)
    choice, alignment = intersect(run, options, options.table)
    assert isinstance(alignment, Alignment)  # the pipeline file was checked for that
    named = {"title": f"Scores of {options.table}", "headline": {"people scored": alignment.rows}}
    if run.role is Role.HOST:
        send_scores(run, model, alignment, Rows.ALL)
        run.write_record(psi_record(run, options, choice, alignment, cost) | named)
        return
    written = write_scores(run, model, alignment)
    without = f", {written.unmatched:,} of them null, as hosts do not have these people" if written.unmatched else ""
    run.progress.say(f"{written.rows:,} scores in {written.url}{without}")
    record = psi_record(run, options, choice, alignment, cost) | named
    record["facts"] |= {"scores": written.url, "model": written.model_id}
    run.write_record(record)
