"""Open a run: keys, stores, seed, handshake. After this a party has everything a role half needs."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedspark import __version__
from fedspark.buckets import PartRunner, SparkRunner
from fedspark.conf import PartyConf, PipelineConf, check_together
from fedspark.conf.model import LABEL_PATTERN
from fedspark.conf.secrets import resolve
from fedspark.conf.urls import local_path
from fedspark.crypto.identity import parse_private, public_bytes
from fedspark.crypto.randomness import derive
from fedspark.errors import Absent, ConfigError, Mismatch, NotReady, Oversized, Tampered
from fedspark.exchange.handshake import Session, open_session
from fedspark.exchange.hello import PROTOCOL_VERSION
from fedspark.exchange.mailbox import Mailbox
from fedspark.exchange.manifest import MANIFEST
from fedspark.exchange.seal import SealKeys, seal, unseal
from fedspark.exchange.signed import canonical_json
from fedspark.exchange.store import StoreRef
from fedspark.exchange.waiting import Awaited, Waiting
from fedspark.party import Party, Roster
from fedspark.run.progress import Progress
from fedspark.run.run import Run
from fedspark.run.session import probe_executors, start_session
from fedspark.run.status import OPENING, WAITING, StatusBoard
from fedspark.run.workspace import Workspace

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SESSION_PATH = "session.json"

_SEED_BYTES = 32
_SEED_PATH = "seed.sealed"
_SECONDS_BETWEEN_WAIT_LINES = 15.0
_SECONDS_BEFORE_A_NOTE = 1.0  # shorter waits are the pace of the protocol


@dataclass(frozen=True)
class Place:
    """Where one party's side of one run lies: its own stores and the folder in the exchange."""

    workspace: Workspace
    status: StatusBoard
    exchange: StoreRef
    prefix: str


def place_of(party: PartyConf, pipeline: PipelineConf, label: str) -> Place:
    """The place of the run called ``label``; ConfigError when that is no name."""
    if not re.fullmatch(LABEL_PATTERN, label):
        raise ConfigError(
            f"{label!r} cannot be the name of a run.",
            remedy="Use letters, digits, '.', '_' and '-', beginning with a letter or digit, at most 64 of them.",
        )
    base = str(party.directory)
    folder = f"{pipeline.project}/{pipeline.pipeline}/{label}"
    files = StoreRef(party.workspace.files, tuple(sorted(party.workspace.options.items())), base)
    exchange = StoreRef(party.exchange.url, tuple(sorted(party.exchange.options.items())), base)
    workspace = Workspace.at(files, pipeline.project, pipeline.pipeline, label)
    return Place(workspace, StatusBoard(files, f"status/{folder}"), exchange, folder)


def open_run(
    party: PartyConf,
    pipeline: PipelineConf,
    label: str,
    *,
    wait_seconds: float | None = None,
    progress: Progress | None = None,
    runner: PartRunner | None = None,
    resume_only: bool = False,
) -> Run:
    """This party's side of the run called ``label``: begun now, or continued where it stopped.

    Waits for the other parties' hellos, at most ``wait_seconds`` (default: the party file's policy), then NotReady.
    ``runner`` replaces Spark. With ``resume_only``, ConfigError when this party has not begun the run.
    """
    check_together(party, pipeline)
    identity = parse_private(resolve(party.identity, party.directory), party.identity)
    roster = pinned_roster(party, pipeline)
    me = roster[party.party]
    place = place_of(party, pipeline, label)
    if resume_only and not place.workspace.exists(_SEED_PATH):
        raise ConfigError(
            f"There is no run {label} of pipeline {pipeline.pipeline} to resume in {place.workspace.url('')}.",
            remedy="Leave out --resume to begin it.",
        )
    progress = progress or Progress(me.name)
    progress.step = OPENING
    progress.say(f"exchange {place.exchange.url}, workspace {place.workspace.url('')}")
    make_private(place.workspace.ref.url)
    place.workspace.store.probe(place.workspace.prefix)
    seed = _seed(place.workspace, identity.private_bytes_raw())
    others = [peer.name for peer in roster.others(me)]
    waiting = _waiting(place, party, wait_seconds, progress, others)
    try:
        session = open_session(
            place.exchange,
            place.prefix,
            me,
            identity,
            roster,
            ephemeral=derive(seed, "ephemeral key"),
            nonce=derive(seed, "hello nonce"),
            offer=offer(pipeline),
            waiting=waiting,
        )
    except (NotReady, Absent) as error:
        raise type(error)(f"{error.message} {_where_we_look(place, others)}", remedy=error.remedy) from None
    mailbox = Mailbox(place.exchange, place.prefix, session, waiting, remember=_remember(place.workspace))
    mailbox.withdraw_stop()
    facts = {"run": session.run_id, "transcript": session.transcript.hex(), "started": time.time()}
    place.workspace.create(SESSION_PATH, canonical_json(facts))
    start = _session_starter(party, f"fedspark {pipeline.pipeline} {label} {me.name}", place.workspace)
    return Run(
        me=me,
        roster=session.roster,
        pipeline=pipeline,
        party_conf=party,
        label=label,
        id=session.run_id,
        workspace=place.workspace,
        mailbox=mailbox,
        runner=runner or SparkRunner(start),
        progress=progress,
        status=place.status,
        _seed=seed,
        _session=start,
        _own_keys=_workspace_keys(identity.private_bytes_raw()),
    )


def open_alone(
    party: PartyConf, pipeline: PipelineConf, *, progress: Progress | None = None, runner: PartRunner | None = None
) -> Run:
    """This party by itself, for work that outlives runs and that its peers need not be there for: it has no session
    with them, so it can send nothing. What lies in its folder has no meaning afterwards.
    """
    check_together(party, pipeline)
    identity = parse_private(resolve(party.identity, party.directory), party.identity)
    roster, name = pinned_roster(party, pipeline), os.urandom(16).hex()
    place, me = place_of(party, pipeline, name), roster[party.party]
    progress = progress or Progress(me.name)
    make_private(place.workspace.ref.url)
    place.workspace.store.probe(place.workspace.prefix)
    session = Session(name, b"", me, roster, {}, identity)
    start = _session_starter(party, f"fedspark {pipeline.pipeline} {me.name}", place.workspace)
    return Run(
        me=me,
        roster=roster,
        pipeline=pipeline,
        party_conf=party,
        label=name,
        id=name,
        workspace=place.workspace,
        mailbox=Mailbox(place.exchange, place.prefix, session, _waiting(place, party, 0, progress)),
        runner=runner or SparkRunner(start),
        progress=progress,
        status=place.status,
        _seed=os.urandom(_SEED_BYTES),
        _session=start,
        _own_keys=_workspace_keys(identity.private_bytes_raw()),
    )


def offer(pipeline: PipelineConf) -> dict[str, str]:
    """What must be equal at all parties: the pipeline, key by key, and what messages mean."""
    facts = {f"pipeline.{key}": value for key, value in pipeline.flat().items()}
    return facts | {
        "pipeline digest": pipeline.digest(),
        "protocol version": PROTOCOL_VERSION,
        "fedspark version": __version__,
    }


def pinned_roster(party: PartyConf, pipeline: PipelineConf) -> Roster:
    """All parties with the identity keys that this party file pins, our own included."""
    mine = public_bytes(parse_private(resolve(party.identity, party.directory), party.identity))
    keys = {**party.peers, party.party: mine}
    return Roster(tuple(Party(member.name, member.role, keys[member.name]) for member in pipeline.roster()))


def keep_seed(workspace: Workspace, identity: bytes, seed: bytes) -> None:
    """Store a run's seed, sealed to the party's own identity key (raw private bytes), before the run begins.

    ``open_run`` draws the seed from the operating system; a reproducible run (a test, an audit) puts its own here
    first.
    """
    workspace.keep(_SEED_PATH, seal(_workspace_keys(identity), workspace.name(_SEED_PATH), 0, seed))


def forget_seed(workspace: Workspace) -> None:
    """Delete the seed, and with it every key of the run, when the run is closed."""
    workspace.store.delete(workspace.name(_SEED_PATH))


def make_private(url: str) -> None:
    """A workspace directory that is not there yet is made for this user alone: it will hold ids, features and
    labels.
    """
    path = local_path(url)
    if path is not None and not path.exists():
        with contextlib.suppress(OSError):  # whoever writes there first says what is wrong
            path.mkdir(mode=0o700, parents=True)


def _seed(workspace: Workspace, identity: bytes) -> bytes:
    if not workspace.exists(_SEED_PATH):
        sealed = seal(_workspace_keys(identity), workspace.name(_SEED_PATH), 0, os.urandom(_SEED_BYTES))
        workspace.create(_SEED_PATH, sealed)
    try:
        return unseal(_workspace_keys(identity), workspace.name(_SEED_PATH), 0, workspace.read(_SEED_PATH), 1024)
    except (Tampered, Oversized, Mismatch):  # nobody sent this: it is our own file
        raise ConfigError(
            f"The seed of this run, {workspace.url(_SEED_PATH)}, does not open with our identity key: the run was "
            "begun with another key, or the file was changed.",
            remedy="Let `identity` in the party file name the key with which the run was begun, or start a new run "
            "label at all parties.",
        ) from None


def _workspace_keys(identity: bytes) -> SealKeys:
    return SealKeys(derive(identity, "workspace mac"), derive(identity, "workspace enc"))


def _remember(workspace: Workspace) -> Callable[[str, bytes], None]:
    def remember(path: str, digest: bytes) -> None:
        workspace.keep(f"accepted/{path}", digest)

    return remember


def _where_we_look(place: Place, others: Sequence[str]) -> str:
    text = f"We look in {place.exchange.url}."
    if len(_absentees(place, "hello", others)) < len(others):
        return text
    return (
        f"{text} No peer has said hello there: compare exchange.url of the party files and the run label "
        f"({place.workspace.label}) with the others'."
    )


def _absentees(place: Place, kind: str, others: Sequence[str]) -> list[str]:
    """Peers whose ``hello`` or ``ack`` is not in the exchange."""
    store = place.exchange.open()
    return [peer for peer in others if store.size(f"{place.prefix}/{kind}/{peer}.json") is None]


def in_words(name: str) -> str:
    """An awaited object for people.

    ``train/0003/u.0/laboratory.hospital/manifest`` is 'u (round 3) of laboratory', ``hello/laboratory.json`` 'hello of
    laboratory'.
    """
    words = name.split("/")
    if len(words) >= 2 and words[-2] in ("hello", "ack"):
        return f"{words[-2]} of {words[-1].removesuffix('.json')}"
    if len(words) < 4 or words[-1] != MANIFEST:
        return name
    tag, sender = words[-3].rpartition(".")[0], words[-2].partition(".")[0]
    return f"{tag} (round {int(words[-4])}) of {sender}"


def _waiting(
    place: Place, party: PartyConf, wait_seconds: float | None, progress: Progress, others: Sequence[str] = ()
) -> Waiting:
    limit = party.policy.wait_seconds if wait_seconds is None else wait_seconds
    said, limit_said, noted = 0.0, False, ("", 0.0)

    def words(awaited: str) -> str:
        kind = awaited.split("/")[-2] if "/" in awaited else ""
        missing = _absentees(place, kind, others) if kind in ("hello", "ack") else []
        return f"{kind} of {' and '.join(missing)}" if missing else in_words(awaited)

    def since(awaited: str) -> float:
        # Kept in the workspace: the deadline counts from the first wait, over all restarts.
        path = f"waits/{hashlib.sha256(awaited.encode()).hexdigest()[:32]}"
        place.workspace.create(path, repr(time.time()).encode())
        return float(place.workspace.read(path))

    def on_wait(awaited: str, waited: float) -> None:
        nonlocal said, limit_said, noted
        step, now = progress.step or OPENING, time.time()
        if waited >= _SECONDS_BEFORE_A_NOTE and (step != noted[0] or now - noted[1] >= _SECONDS_BETWEEN_WAIT_LINES):
            noted = step, now
            place.status.note_wait(step, words(awaited), now - waited)
        if waited < said:
            said = 0.0
        if waited - said >= _SECONDS_BETWEEN_WAIT_LINES:
            said = waited
            most = "" if limit_said else f", at most {limit:g} s"
            limit_said = True
            progress.say(f"waiting for {words(awaited)} ({waited:.0f} s{most})")

    def on_not_ready(awaited: Awaited) -> None:
        facts = {"awaited": awaited.object, "from": awaited.peer, "deadline": awaited.deadline}
        place.status.put(progress.step or OPENING, WAITING, **facts)

    return Waiting(
        limit_seconds=limit,
        deadline_seconds=party.policy.deadline_hours * 3600,
        on_wait=on_wait,
        on_not_ready=on_not_ready,
        since=since,
    )


def _session_starter(party: PartyConf, name: str, workspace: Workspace) -> Callable[[], SparkSession]:
    @functools.cache
    def start() -> SparkSession:
        session = start_session(party, name)
        probe_executors(session, workspace)
        return session

    return start
