"""``fedspark psi-cache``: epochs (see psi/rsa_epochs) made before a guest asks, looked at, and dropped."""

from __future__ import annotations

from dataclasses import dataclass

from fedspark.buckets import PartRunner
from fedspark.conf import PartyConf, PipelineConf
from fedspark.conf.options.psi import PsiSettings
from fedspark.errors import ConfigError
from fedspark.party import Role
from fedspark.psi import cache
from fedspark.psi import rsa_epochs as epochs
from fedspark.run import Progress, Workspace
from fedspark.run.opening import open_alone, place_of
from fedspark.steps.load import source_of, stage_table

_ANY_RUN = "1"
_SHORTEST = 4  # digits of an epoch's name that are enough to drop it


@dataclass(frozen=True)
class Found:
    """One epoch in this party's workspace, of ``bytes``: ``made`` here as a host, or what a guest keeps of one."""

    table: str
    peer: str
    place: Workspace
    rows: int
    created: int
    expires: int
    made: bool
    finished: bool
    bytes: int

    @property
    def name(self) -> str:
        return self.place.label

    @property
    def state(self) -> str:
        """In words."""
        if not self.finished:
            return "begun" if self.made else "incomplete"
        if self.expires <= cache.now():
            return "expired"
        if self.place.exists(epochs.ENDED):
            return "replaced"
        return "made here" if self.made else "tags kept"


def make(
    party: PartyConf,
    pipeline: PipelineConf,
    table: str | None = None,
    *,
    progress: Progress | None = None,
    runner: PartRunner | None = None,
) -> list[Found]:
    """See to it that there is a valid epoch of every table that a step with ``cache`` intersects (or of ``table``), so
    that the guest's next query need not wait for one. ConfigError unless this party is the pipeline's host.
    """
    wanted = _steps(pipeline, table)
    run = open_alone(party, pipeline, progress=progress, runner=runner)
    if run.role is not Role.HOST:
        raise ConfigError(
            f"{party.party} is {run.role.value} in pipeline {pipeline.pipeline}; only a host has epochs to make.",
            remedy="Run it at the host. Here, --list and --drop work on what is kept of them.",
        )
    try:
        for settings in wanted:
            run.progress.step = settings.name
            _, source = source_of(run, settings.table, stage_table(run, settings.table))
            epochs.for_guest(run.at(settings.name), settings, source)
    finally:
        run.workspace.remove("")
    return [one for one in find(party, pipeline) if one.table in {settings.table for settings in wanted}]


def find(party: PartyConf, pipeline: PipelineConf) -> list[Found]:
    """All epochs of a pipeline in this party's workspace, by table, peer and age."""
    workspace = place_of(party, pipeline, _ANY_RUN).workspace
    prefix = f"{cache.FOLDER}/{pipeline.project}/{pipeline.pipeline}"
    sizes: dict[str, int] = {}
    for name, size in workspace.store.list(prefix):
        words = name.removeprefix(f"{prefix}/").split("/")
        if len(words) > 3:
            folder = "/".join([prefix, *words[:3]])
            sizes[folder] = sizes.get(folder, 0) + size
    found = [_found(Workspace(workspace.ref, folder), size) for folder, size in sizes.items()]
    return sorted(found, key=lambda one: (one.table, one.peer, one.created, one.name))


def drop(party: PartyConf, pipeline: PipelineConf, name: str) -> list[Found]:
    """Delete the epoch whose name begins like this, or with ``all`` every epoch of the pipeline; returns them.
    ConfigError unless it is one.
    """
    known = find(party, pipeline)
    dropped = [one for one in known if name == "all" or (len(name) >= _SHORTEST and one.name.startswith(name))]
    if len(dropped) != 1 and name != "all":
        there = ", ".join(one.name for one in known) or "none"
        raise ConfigError(
            f"{name!r} is not the beginning ({_SHORTEST} digits or more) of one epoch of pipeline {pipeline.pipeline}.",
            remedy=f"Epochs here: {there}.",
        )
    for one in dropped:
        one.place.remove("")
    return dropped


def _steps(pipeline: PipelineConf, table: str | None) -> list[PsiSettings]:
    """One step for each table."""
    cached = [step for step in pipeline.steps if isinstance(step, PsiSettings) and step.cache]
    wanted = {step.table: step for step in cached if table in (None, step.table)}
    if not wanted:
        what = f"intersects {table}" if table else "is there"
        raise ConfigError(
            f"No step with `cache: true` {what} in pipeline {pipeline.pipeline}.",
            remedy="Write `cache: true` into its psi or predict step, at all parties.",
        )
    return list(wanted.values())


def _found(place: Workspace, size: int) -> Found:
    table, peer = place.prefix.split("/")[-3:-1]
    made, finished = place.exists(epochs.SEED), place.exists(epochs.DOCUMENT)
    name = epochs.BEGUN if place.exists(epochs.BEGUN) else epochs.DOCUMENT
    facts = place.read_json(name) if place.exists(name) else {"rows": 0, "created": 0, "expires": 0}
    numbers = (facts["rows"], facts["created"], facts["expires"])
    return Found(table, peer, place, *numbers, made=made, finished=finished, bytes=size)
