"""``Run``: the one argument of every role half."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from fedspark.buckets import PartFunction, PartRunner
from fedspark.conf import PartyConf, PipelineConf
from fedspark.crypto.randomness import Stream, derive
from fedspark.errors import Removed, StoreError
from fedspark.exchange.mailbox import Address, Incoming, Mailbox, Outgoing, Receipt
from fedspark.exchange.seal import SealKeys, seal, unseal
from fedspark.exchange.signed import canonical_json
from fedspark.exchange.store import Missing
from fedspark.party import Party, Role, Roster
from fedspark.run.progress import Progress
from fedspark.run.status import StatusBoard
from fedspark.run.workspace import Workspace

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_SECRET_LIMIT = 1024

Parts = int | range
"""How many parts, all of them, or a range of part numbers."""

SendFunction = Callable[[Any, Outgoing, int], tuple[Receipt, Any]]
"""``function(context, outgoing, part) -> (receipt, small JSON value)``; top-level, so that executors find it by
name.
"""


@dataclass(frozen=True)
class Run:
    """One party's side of one execution of a pipeline, seen from one step.

    ``id`` is equal at all parties and differs in every run; ``label`` is what users call the run. ``at(step)`` gives
    the view of a step: messages, random streams and workspace names of different steps never meet.
    """

    me: Party
    roster: Roster
    pipeline: PipelineConf
    party_conf: PartyConf
    label: str
    id: str
    workspace: Workspace
    mailbox: Mailbox
    runner: PartRunner
    progress: Progress
    status: StatusBoard
    _seed: bytes = field(repr=False)
    _session: Callable[[], SparkSession] = field(repr=False)
    _own_keys: SealKeys = field(repr=False)
    step_name: str = ""

    @property
    def role(self) -> Role:
        return self.me.role

    @property
    def spark(self) -> SparkSession:
        """This party's Spark session, started at the first use. An arbiter never gets here."""
        return self._session()

    def at(self, step: str) -> Run:
        """The same run seen from another step."""
        return dataclasses.replace(self, step_name=step)

    def aside(self, folder: str, name: str, seed: bytes) -> Run:
        """This party at work on something that outlives the run: in a ``folder`` beside the runs, with a seed (32
        secret bytes) and a name of its own, so that nothing it draws or leaves is the run's. It sends no messages.
        """
        return dataclasses.replace(self, id=name, workspace=Workspace(self.workspace.ref, folder), _seed=seed).at(name)

    # ---- secrets that outlive the run, sealed to this party's identity key ---------------------------------------

    def keep_secret(self, path: str, secret: bytes) -> None:
        """Store ``secret`` under a workspace path; only this party's identity key opens it."""
        name = self.workspace.name(path)
        self.workspace.keep(path, seal(self._own_keys, name, 0, secret))

    def read_secret(self, path: str) -> bytes:
        """What ``keep_secret`` stored; Tampered when another key sealed it or it was changed."""
        return unseal(self._own_keys, self.workspace.name(path), 0, self.workspace.read(path), _SECRET_LIMIT)

    # ---- chance: every random number comes from this run's secret seed -------------------------------------------

    def subkey(self, *fields: str | int | bytes) -> bytes:
        """32 secret bytes bound to run, step and ``fields`` (PROTOCOLS: no two uses share a label)."""
        return derive(self._seed, self.id, self.step_name, *fields)

    def stream(self, *fields: str | int | bytes) -> Stream:
        """The random stream under ``subkey(*fields)``; one use each."""
        return Stream(self.subkey(*fields))

    # ---- what is computed once and read back after a restart -----------------------------------------------------

    def path(self, name: str) -> str:
        """Workspace path of ``name`` in this step's folder."""
        return f"steps/{self.step_name}/{name}"

    def once(self, name: str, compute: Callable[[], Any]) -> Any:
        """A JSON value that is computed at most once per run and step; every later call reads the stored one."""
        path = self.path(f"{name}.json")
        if not self.workspace.exists(path):
            try:
                self.workspace.create(path, canonical_json(compute()))
            except (Missing, Removed):
                # Another process of this party was faster, and has removed by now what only this value was made of.
                if not self.workspace.exists(path):
                    raise
        return self.workspace.read_json(path)

    # ---- part tasks ----------------------------------------------------------------------------------------------

    def parts(
        self,
        title: str,
        function: PartFunction,
        parts: Parts,
        context: Any,
        *,
        rows: int | None = None,
        of: int | None = None,
        buckets: int = 1,
    ) -> list[Any]:
        """``function(context, part)`` for every part, as tasks of this party's runner; small results in part order.

        ``parts`` is how many there are, or which of them to do now: a wave, and ``of`` says how many there are in all.
        ``rows`` is what all of them hold and ``buckets`` what each has, for progress.
        """
        numbers = range(parts) if isinstance(parts, int) else parts
        with self.progress.phase(title, numbers, rows, of=of, buckets=buckets) as done:
            return self.runner.run(function, numbers, context, done)

    # ---- messages ------------------------------------------------------------------------------------------------

    def address(
        self, tag: str, *, sender: Party | None = None, receiver: Party | None = None, round: int = 0, attempt: int = 0
    ) -> Address:
        """Name of a message of this step; the side that is not given is this party."""
        return Address(
            step=self.step_name,
            round=round,
            tag=tag,
            sender=(sender or self.me).name,
            receiver=(receiver or self.me).name,
            attempt=attempt,
        )

    def send(self, tag: str, to: Party, payload: Any, *, round: int = 0, meta: dict[str, Any] | None = None) -> None:
        """Send a small message of one part: bytes as they are, anything else as canonical JSON. Sent before: no-op."""
        address = self.address(tag, receiver=to, round=round)
        if not self.mailbox.committed(address):
            data = payload if isinstance(payload, bytes) else canonical_json(payload)
            self.mailbox.send(address, [data], meta or {})

    def receive(self, tag: str, sender: Party, *, round: int = 0, first: int = 0) -> Incoming:
        """The verified message, whose parts count from ``first`` on; waits for it, or ends with NotReady."""
        with self.progress.timed(f"wait for {sender.name}"):
            return self.mailbox.receive(self.address(tag, sender=sender, round=round), first)

    def send_parts(
        self,
        tag: str,
        to: Party,
        title: str,
        function: SendFunction,
        parts: Parts,
        context: Any,
        *,
        round: int = 0,
        rows: int | None = None,
        of: int | None = None,
        buckets: int = 1,
        meta: dict[str, Any] | None = None,
    ) -> list[Any]:
        """Let part tasks write the parts of a message (all, or a wave: see ``parts``, also for what is told to
        progress), then commit it; returns their small JSON results in part order.

        Receipts and results are stored before the manifest is written: after a restart they are read back, never
        recomputed.
        """
        address = self.address(tag, receiver=to, round=round)
        outgoing = self.mailbox.outgoing(address, 0 if isinstance(parts, int) else parts.start)

        def write() -> dict[str, Any]:
            task = partial(_send_part, function, outgoing)
            pairs = self.parts(title, task, parts, context, rows=rows, of=of, buckets=buckets)
            return {"receipts": [receipt.to_json() for receipt, _ in pairs], "results": [result for _, result in pairs]}

        record = self.once(_sent(tag, to, round), write)
        if not self.mailbox.committed(address):
            self.mailbox.commit(address, [Receipt.from_json(item) for item in record["receipts"]], meta or {})
        results: list[Any] = record["results"]
        return results

    def sent(self, tag: str, to: Party, *, round: int = 0) -> bool:
        """Whether all parts of a message of ``send_parts`` are written, so that its tasks never run again."""
        return self.workspace.exists(self.path(f"{_sent(tag, to, round)}.json"))

    def remove_read(self, tag: str, to: Party, *, round: int = 0) -> None:
        """Delete the parts of a message of ours when an answer shows that they were read, unless the party file says
        ``keep_messages``. Where we may not delete, they stay.
        """
        if not self.party_conf.exchange.keep_messages:
            with contextlib.suppress(StoreError):
                self.mailbox.remove(self.address(tag, receiver=to, round=round))

    # ---- what the step leaves for people -------------------------------------------------------------------------

    def write_record(self, record: dict[str, Any]) -> None:
        """The step's part of the report (fedspark.reports), in the order in which people read it; written once, when
        the step is done.
        """
        self.workspace.create(self.path("record.json"), json.dumps(record, allow_nan=False).encode())

    def read_record(self, step: str) -> dict[str, Any] | None:
        path = self.at(step).path("record.json")
        if not self.workspace.exists(path):
            return None
        record: dict[str, Any] = self.workspace.read_json(path)
        return record


def _sent(tag: str, to: Party, round: int) -> str:
    return f"sent/{round:04d}/{tag}.{to.name}"


def _send_part(function: SendFunction, outgoing: Outgoing, context: Any, part: int) -> tuple[Receipt, Any]:
    return function(context, outgoing, part)
