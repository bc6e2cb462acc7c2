"""What files show only when they are given together: keys and places of several parties, tables and models of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations

from fedspark.conf import LoadOptions, PartyConf, PipelineConf, PredictOptions, TrainOptions
from fedspark.conf.secrets import resolve
from fedspark.conf.urls import local_path
from fedspark.crypto.identity import parse_private, public_bytes
from fedspark.errors import ConfigError, FedsparkError
from fedspark.exchange.store import StoreRef
from fedspark.party import Role, identity_text
from fedspark.run.workspace import Workspace
from fedspark.tables.look_server import look_anywhere
from fedspark.tables.problems import listed, nearest
from fedspark.tables.sinks import Sink

_MODEL = "model.json"


def wrong_peer_keys(parties: Sequence[PartyConf]) -> Iterator[ConfigError]:
    """A peer's key that is not the public half of the key that the peer's own file names, if that can be read here."""
    own = [(party, _public_key(party)) for party in parties]
    for (party, _), (peer, key) in permutations(own, 2):
        held = party.peers.get(peer.party)
        if held is not None and key is not None and held != key:
            yield ConfigError(
                f"{party.path}: peers.{peer.party} is {identity_text(held)}, but the key of {peer.party} in "
                f"{peer.path} ({peer.identity}) has the public half {identity_text(key)}.",
                remedy=f"Use the .pub file that 'fedspark keygen {peer.party}' wrote beside the private key.",
            )


def different_exchanges(parties: Sequence[PartyConf]) -> Iterator[str]:
    """A sentence for every party whose exchange is at another URL than that of the first; mounts may differ."""
    for party in parties[1:]:
        first, url = parties[0], party.exchange.url
        if url != first.exchange.url:
            yield (
                f"exchange.url is {first.exchange.url} in {first.path} and {url} in {party.path}: all parties must "
                "share one place, under whatever name they reach it"
            )


def table_problems(party: PartyConf, pipeline: PipelineConf) -> Iterator[FedsparkError | str]:
    """What a first look at the tables shows that the pipeline loads at this party; a sentence for one not looked at."""
    me = next((member for member in pipeline.roster() if member.name == party.party), None)
    if me is None or me.role is Role.ARBITER:
        return
    trained = {step.table for step in pipeline.steps if isinstance(step, TrainOptions)}
    loaded = [name for step in pipeline.steps if isinstance(step, LoadOptions) for name in step.tables]
    for name in dict.fromkeys(loaded):
        if (table := party.tables.get(name)) is None:
            continue
        needs_label = me.role is Role.GUEST and name in trained
        try:
            passed = look_anywhere(name, table, party.directory, id_type=pipeline.ids.type, needs_label=needs_label)
        except FedsparkError as error:
            yield type(error)(f"{party.path}: {error.message}", remedy=error.remedy)
        else:
            if passed:
                yield f"{party.path}: table {name!r} was not looked at: {passed}"


def missing_models(party: PartyConf, pipeline: PipelineConf) -> Iterator[str]:
    """A sentence for every predict step whose model, of an earlier run, is not in this party's workspace (yet)."""
    me = next((member for member in pipeline.roster() if member.name == party.party), None)
    if me is None or me.role is Role.ARBITER:
        return
    for step in pipeline.steps:
        if not isinstance(step, PredictOptions) or step.model_run is None:
            continue
        trained_by = step.model_pipeline or pipeline.pipeline
        folder = Workspace.at(StoreRef(party.workspace.files), pipeline.project, trained_by, step.model_run)
        path = local_path(folder.url(f"steps/{step.model}/{_MODEL}"))
        if path is not None and not path.exists():
            yield (
                f"{party.path}: step {step.name} of pipeline {pipeline.pipeline} needs the model of run "
                f"{step.model_run} of pipeline {trained_by}, and there is no {path}"
            )


def sink_problems(party: PartyConf, pipeline: PipelineConf) -> Iterator[FedsparkError]:
    """What keeps a guest's sinks from taking the scores of a pipeline's next run: server, login, rights, table."""
    if not party.scores or not _is_guest(party, pipeline):
        return
    from fedspark.scoring import sink_schema  # with much that other files need nothing of

    for step in pipeline.steps:
        if not isinstance(step, PredictOptions) or step.table not in party.tables:
            continue
        for conf in party.scores.get(step.name, []):
            schema = sink_schema(conf, dict.fromkeys(party.tables[step.table].id, ""))
            try:
                Sink.of(conf, party.directory, schema, "check", "check").check()
            except FedsparkError as error:
                where = f"{party.path}: scores.{step.name}"
                yield type(error)(f"{where}: {error.message}", remedy=error.remedy)


def unused_scores(party: PartyConf, pipelines: Sequence[PipelineConf]) -> Iterator[str]:
    """A sentence for every name under `scores` that no predict step has, of the pipelines whose guest this party is."""
    steps = [
        step.name
        for pipeline in pipelines
        if _is_guest(party, pipeline)
        for step in pipeline.steps
        if isinstance(step, PredictOptions)
    ]
    for name in party.scores:
        if name not in steps:
            known = f"the predict steps of which we are the guest are {listed(steps)}" if steps else "we are no guest"
            close = nearest(name, steps)
            hint = f"; did you mean {close!r}?" if close else ""
            yield f"{party.path}: scores.{name} serves no step of these pipelines: {known}{hint}"


def _is_guest(party: PartyConf, pipeline: PipelineConf) -> bool:
    return party.party == pipeline.parties.guest


def _public_key(party: PartyConf) -> bytes | None:
    try:
        return public_bytes(parse_private(resolve(party.identity, party.directory), party.identity))
    except ConfigError:
        return None  # another party's private key is not to be read here
