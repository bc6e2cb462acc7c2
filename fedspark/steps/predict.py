"""Predict: intersect another table and score the people in it with a model of this run or of an earlier one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fedspark.conf import PredictOptions
from fedspark.models import artifact
from fedspark.models.split import Rows
from fedspark.party import Role
from fedspark.psi.align import Alignment
from fedspark.run import Run
from fedspark.scoring import Delivery, ScoreFiles, check_sinks, deliver, send_scores, write_scores
from fedspark.steps.cost import Cost
from fedspark.steps.load import staged_source
from fedspark.steps.psi import intersect, psi_record
from fedspark.steps.registry import is_done
from fedspark.tables.problems import listed


def run_step(run: Run, options: PredictOptions) -> None:
    """Scores with ids end up at the guest, as Parquet and CSV, with ``join: left`` for all of its rows, and in the
    tables that its party file names; an arbiter has no part in it.
    """
    if run.role is Role.HOST:
        _send(run, options)
    elif run.role is Role.GUEST:
        # Once they are written, only sinks are left to do: nobody is asked again, and no message has to be there.
        scored = run.once("scored", lambda: _score(run, options))
        files, record = ScoreFiles.from_json(scored["files"]), json.loads(scored["record"])
        without = f", {files.unmatched:,} of them null, as hosts do not have these people" if files.unmatched else ""
        run.progress.say(f"{files.rows:,} scores in {files.url}{without}")
        if options.name in run.party_conf.scores:
            record["tables"] = [_deliveries(deliver(run, files, _ids(run, options))), *record["tables"]]
        run.write_record(record)


def check_before(run: Run, only: str | None) -> None:
    """Before anything is computed, raise what would keep the scores of this party's predict steps from their sinks.

    ``only`` is the one step that is to run; then its own sinks, and as long as that is the first, those of all.
    """
    if run.role is not Role.GUEST:
        return
    steps = [options for options in run.pipeline.steps if isinstance(options, PredictOptions)]
    unknown = [name for name in run.party_conf.scores if name not in [options.name for options in steps]]
    if unknown:
        run.progress.say(f"check: the party file has `scores` of {listed(unknown)}, no predict step of this pipeline")
    first = run.pipeline.steps[0].name
    for options in steps:
        name = options.name
        if only in (None, first, name) and not is_done(run, name):
            check_sinks(run.at(name), run.party_conf.table(options.table).id)


def _send(run: Run, options: PredictOptions) -> None:
    cost = Cost.begin(run)
    model = artifact.load(run, options.model, label=options.model_run, pipeline=options.model_pipeline)
    choice, alignment = intersect(run, options, options.table)
    assert isinstance(alignment, Alignment)  # the pipeline file was checked for that
    send_scores(run, model, alignment, Rows.ALL)
    run.write_record(psi_record(run, options, choice, alignment, cost) | _named(options, alignment))


def _score(run: Run, options: PredictOptions) -> dict[str, Any]:
    """The guest's half; the files that were written, and the record of what that took."""
    model = artifact.load(run, options.model, label=options.model_run, pipeline=options.model_pipeline)
    cost = Cost.begin(run)
    choice, alignment = intersect(run, options, options.table)
    assert isinstance(alignment, Alignment)
    files = write_scores(run, model, alignment)
    record = psi_record(run, options, choice, alignment, cost) | _named(options, alignment)
    record["facts"] |= {"scores": files.url, "model": files.model_id}
    return {"files": files.to_json(), "record": json.dumps(record)}  # as text, which keeps the order of its facts


def _named(options: PredictOptions, alignment: Alignment) -> dict[str, Any]:
    return {"title": f"Scores of {options.table}", "headline": {"people scored": alignment.rows}}


def _ids(run: Run, options: PredictOptions) -> dict[str, str]:
    """The id columns of the scored table and their types in the source's words."""
    card, _ = staged_source(run, options.table)
    return {column.name: column.type for column in card.columns if column.role == "id"}


def _deliveries(delivered: Sequence[Delivery]) -> dict[str, Any]:
    columns = ["table", "rows", {"name": "time", "unit": "seconds"}]
    rows = [[one.place, one.rows, one.seconds] for one in delivered]
    return {"title": "Scores written to tables", "columns": columns, "rows": rows}
