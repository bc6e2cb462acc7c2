"""Which function runs which kind of step, and the order of things: one step after the other, each at most once."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from fedspark.conf import PipelineConf, StepOptions, TrainOptions
from fedspark.errors import (
    ConfigError,
    CryptoError,
    FedsparkError,
    NotReady,
    PeerError,
    PolicyRefused,
    Stopped,
    TableError,
)
from fedspark.party import Role
from fedspark.run import Run, Workspace
from fedspark.run.status import DONE, FAILED, IDLE, RUNNING

KINDS = {
    "load": "fedspark.steps.load:run_step",
    "psi": "fedspark.steps.psi:run_step",
    "train": "fedspark.steps.train:run_step",
    "evaluate": "fedspark.steps.evaluate:run_step",
    "predict": "fedspark.steps.predict:run_step",
}


def run_steps(run: Run, only: str | None = None) -> None:
    """Run all steps of the pipeline that are not done yet, or the one called ``only`` (then those before it must be
    done).

    What a step leaves is create-only, so a step that was interrupted continues, and one that is done is not run again.
    """
    if only is not None:
        check_order(run.workspace, run.pipeline, run.role, only)
    for options in run.pipeline.steps:
        name = options.name
        if is_done(run, name):
            if name == only:
                return
            continue
        _run_one(run.at(name), options)
        if name == only:
            return


def check_order(workspace: Workspace, pipeline: PipelineConf, role: Role, only: str) -> None:
    """ConfigError unless ``only`` is a step of the pipeline and the steps before it are done, where we have a part in
    them.
    """
    pipeline.step(only)
    for options in pipeline.steps:
        if options.name == only or _done(workspace, only):
            return
        if not is_idle(role, options) and not _done(workspace, options.name):
            raise ConfigError(
                f"Step {only} needs step {options.name}, which is not done in run {workspace.label}.",
                remedy=f"Run it first: --step {options.name}.",
            )


def _is_final(error: FedsparkError, options: StepOptions) -> bool:
    """Whether this run cannot go on at our side as it is. A source can still be mended while it is loaded."""
    if isinstance(error, TableError):
        return options.step != "load"
    return isinstance(error, PeerError | PolicyRefused | CryptoError) and not isinstance(error, Stopped)


def is_idle(role: Role, options: StepOptions) -> bool:
    """Whether a party of that role has nothing to do in a step: an arbiter works in training only."""
    return role is Role.ARBITER and not isinstance(options, TrainOptions)


def is_done(run: Run, step: str) -> bool:
    """Whether this party has finished ``step`` in this run."""
    return _done(run.workspace, step)


def _done(workspace: Workspace, step: str) -> bool:
    return workspace.exists(f"steps/{step}/done.json")


def _run_one(run: Run, options: StepOptions) -> None:
    run.progress.step = options.name
    run.status.put(options.name, RUNNING)
    try:
        _function(options.step)(run, options)
    except NotReady:
        raise  # the wait has written the state and the awaited object
    except FedsparkError as error:
        run.status.put(options.name, FAILED, error=type(error).__name__, message=str(error))
        if _is_final(error, options):
            # Going on is impossible for good: tell the others, who would wait for us until their deadline. A notice
            # that only answers another's would keep stopping the others after that one was taken back.
            run.mailbox.stop(type(error).__name__)
        raise
    run.status.put(options.name, IDLE if is_idle(run.role, options) else DONE)
    run.workspace.create(run.path("done.json"), b"{}")  # last: a step that is done is not looked at again


def _function(kind: str) -> Callable[[Run, Any], None]:
    module, _, function = KINDS[kind].partition(":")
    loaded: Callable[[Run, Any], None] = getattr(importlib.import_module(module), function)
    return loaded
