"""One process of one party: open the run, do what is to be done, close it when all is done."""

from __future__ import annotations

from fedspark.buckets import PartRunner
from fedspark.conf import PartyConf, PipelineConf, check_together
from fedspark.errors import FedsparkError, PeerError
from fedspark.run import Progress, Run, open_run
from fedspark.run.opening import forget_seed, place_of
from fedspark.run.status import DONE, FAILED, OPENING
from fedspark.steps.closing import REPORT, close_if_done, is_closed
from fedspark.steps.registry import check_order, run_steps


def run_party(
    party: PartyConf,
    pipeline: PipelineConf,
    label: str,
    *,
    step: str | None = None,
    resume_only: bool = False,
    wait_seconds: float | None = None,
    progress: Progress | None = None,
    runner: PartRunner | None = None,
) -> None:
    """Run all steps (or ``step``) of this party's side of the run called ``label``; a closed run is left as it is.

    Raises what steps raise; NotReady when a peer's message is not there after ``wait_seconds``; before anybody is
    waited for, ConfigError when ``step`` cannot be run.
    """
    if step is not None:
        pipeline.step(step)
    progress = progress or Progress(party.party)
    place = place_of(party, pipeline, label)
    workspace = place.workspace
    if is_closed(workspace):
        forget_seed(workspace)  # again, should the process have died in between
        progress.step = ""
        progress.say(f"run {label} is finished; its report is {workspace.url(REPORT)}")
        progress.say("the next one needs another name: --run NAME, equal at all parties")
        return
    if step is not None:
        check_together(party, pipeline)
        (role,) = [member.role for member in pipeline.roster() if member.name == party.party]
        check_order(workspace, pipeline, role, step)
    try:
        run = open_run(
            party,
            pipeline,
            label,
            wait_seconds=wait_seconds,
            progress=progress,
            runner=runner,
            resume_only=resume_only,
        )
    except PeerError as error:
        place.status.put(OPENING, FAILED, error=type(error).__name__, message=str(error))
        raise
    if party.scores:
        _check_sinks(run, step)
    run.status.put(OPENING, DONE)
    progress.say(f"run {label} ({run.id[:16]}) with {', '.join(p.name for p in run.roster.others(run.me))}")
    run_steps(run, step)
    if close_if_done(run):
        progress.step = ""
        progress.say(f"run {label} is finished; its report is {workspace.url(REPORT)}")


def _check_sinks(run: Run, step: str | None) -> None:
    from fedspark.steps.predict import check_before  # with Spark, which parties without sinks may not have

    try:
        check_before(run, step)
    except FedsparkError as error:
        run.status.put(OPENING, FAILED, error=type(error).__name__, message=str(error))
        raise
