"""The end of a run: the report, and the seed deleted, so that none of the run's keys can be had again."""

from __future__ import annotations

import time
from typing import Any

from fedspark import __version__
from fedspark.conf import PredictOptions, PsiOptions
from fedspark.exchange.signed import canonical_json
from fedspark.psi.align import sweep
from fedspark.reports import render, run_report
from fedspark.reports.step_records import traffic_record
from fedspark.run import Run, Workspace
from fedspark.run.opening import SESSION_PATH, forget_seed
from fedspark.steps.registry import is_done

REPORT = "report.html"
CLOSED = "closed.json"


def close_if_done(run: Run) -> bool:
    """When all steps are done: write the report, note that the run is closed, forget its seed. Whether they were."""
    if not all(is_done(run, options.name) for options in run.pipeline.steps):
        return False
    write_report(run)
    for options in run.pipeline.steps:
        if isinstance(options, PsiOptions | PredictOptions):
            sweep(run.at(options.name))
    run.workspace.create(CLOSED, canonical_json({"run": run.id, "finished": time.time()}))
    forget_seed(run.workspace)
    return True


def is_closed(workspace: Workspace) -> bool:
    """Whether this party has finished all steps of the run and forgotten its keys."""
    return workspace.exists(CLOSED)


def write_report(run: Run) -> str:
    """Render what the steps left behind to ``report.html`` in the run's folder; returns its URL."""
    records = [record for options in run.pipeline.steps if (record := run.read_record(options.name)) is not None]
    records.append(_traffic(run))
    page = render(run_report(_run_record(run), records))
    run.workspace.store.replace(run.workspace.name(REPORT), page.encode())
    return run.workspace.url(REPORT)


def _traffic(run: Run) -> dict[str, Any]:
    return traffic_record(
        {"party": item.sender, "step": item.step, "messages": item.messages, "bytes": item.bytes}
        for item in run.mailbox.traffic()
        if item.sender == run.me.name
    )


def _run_record(run: Run) -> dict[str, Any]:
    started, now = run.workspace.read_json(SESSION_PATH)["started"], time.time()
    return {
        "project": run.pipeline.project,
        "pipeline": run.pipeline.pipeline,
        "label": run.label,
        "run": run.id[:16],
        "party": run.me.name,
        "role": run.role.value,
        "started": _clock(started),
        "finished": _clock(now),
        "seconds": round(now - started, 1),
        "version": __version__,
        "facts": {"parties": [f"{party.name} ({party.role.value})" for party in run.roster]},
    }


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
