"""All parties of a run in one process: real mailboxes and workspaces over memory or a directory, role halves as
threads.

    federation = Federation(hosts=2)
    results = federation.play("psi", {"guest": lambda run: ..., "host1": ..., "host2": ...})

Seeds, nonces and keys follow from party names, so two federations with equal input leave equal objects: that is how
the two part runners, and a killed and an unkilled run, are compared.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedspark.buckets import InProcessRunner, PartRunner
from fedspark.conf import PartyConf, PipelineConf, party_from, pipeline_from
from fedspark.exchange import hello as documents
from fedspark.exchange.handshake import Session
from fedspark.exchange.mailbox import Mailbox, Waiting
from fedspark.exchange.seal import SealKeys
from fedspark.exchange.signed import raw_public_key
from fedspark.exchange.store import StoreRef
from fedspark.party import Party, Roster, identity_text
from fedspark.run import Progress, Run, Workspace
from fedspark.run.status import StatusBoard

PATIENCE_SECONDS = 120.0
_numbers = itertools.count()


class OtherPartyFailed(Exception):
    """Ends the wait of a party whose peer has failed in this process."""


class Federation:
    """One run of one pipeline. ``base`` is a directory, or None for memory; ``policy`` maps party names to policy
    settings.
    """

    def __init__(
        self,
        *,
        hosts: int = 1,
        arbiter: bool = True,
        base: str | None = None,
        runner: Callable[[], PartRunner] = InProcessRunner,
        session: Callable[[], Any] | None = None,
        steps: Sequence[Mapping[str, Any]] = (
            {"step": "load", "tables": ["people"]},
            {"step": "psi", "table": "people"},
        ),
        policy: Mapping[str, Mapping[str, Any]] | None = None,
        seed: str = "seed",
        patience: float = PATIENCE_SECONDS,
        keep_messages: bool = True,  # most tests look at what was sent
    ) -> None:
        self.base = base
        self._root = f"memory://federation-{next(_numbers)}" if base is None else f"file://{base}"
        self._runner, self._spark, self._seed, self._patience = runner, session or _no_spark, seed, patience
        names = ["host"] if hosts == 1 else [f"host{number}" for number in range(1, hosts + 1)]
        parties = {"guest": "guest", "hosts": names, **({"arbiter": "arbiter"} if arbiter else {})}
        self.pipeline: PipelineConf = pipeline_from(
            {"project": "test", "pipeline": "test", "parties": parties, "steps": [dict(step) for step in steps]}
        )
        self._identities = {party.name: self._private(party.name) for party in self.pipeline.roster()}
        self.roster = Roster(
            tuple(Party(p.name, p.role, raw_public_key(self._identities[p.name])) for p in self.pipeline.roster())
        )
        self._policy, self._keep_messages = policy or {}, keep_messages
        self.label = "run"
        self._failed = threading.Event()
        self._sessions = self._handshake()

    def next_run(
        self, label: str, *, policy: Mapping[str, Mapping[str, Any]] | None = None, new_key_of: str = ""
    ) -> Federation:
        """Another run of the same parties, in the same stores, with seeds and nonces of its own; one of them may have
        got another identity key.
        """
        other = copy.copy(self)
        other.label, other._policy = label, self._policy if policy is None else policy
        other._failed = threading.Event()
        if new_key_of:
            new = Ed25519PrivateKey.from_private_bytes(self._secret("new identity", new_key_of))
            other._identities = {**self._identities, new_key_of: new}
            other.roster = Roster(
                tuple(Party(p.name, p.role, raw_public_key(other._identities[p.name])) for p in self.roster)
            )
        other._sessions = other._handshake()
        return other

    # ---- one party ---------------------------------------------------------------------------------------------------

    @property
    def exchange(self) -> StoreRef:
        """The store that all parties share."""
        return StoreRef(f"{self._root}-exchange" if self.base is None else f"{self._root}/exchange")

    def files(self, name: str) -> StoreRef:
        """The private store of one party."""
        return StoreRef(f"{self._root}-{name}" if self.base is None else f"{self._root}/{name}")

    def run(self, name: str, step: str = "", *, patience: float | None = None) -> Run:
        """A fresh view of the run, as a process of this party has it after the handshake: also after an earlier one
        died.
        """
        waiting = Waiting(
            limit_seconds=self._patience if patience is None else patience,
            on_wait=self._look_around,
            first_poll=0.002,
            last_poll=0.02,
        )
        return Run(
            me=self.roster[name],
            roster=self.roster,
            pipeline=self.pipeline,
            party_conf=self._party_conf(name),
            label=self.label,
            id=self._sessions[name].run_id,
            workspace=Workspace(self.files(name), f"runs/test/test/{self.label}"),
            mailbox=Mailbox(self.exchange, f"test/test/{self.label}", self._sessions[name], waiting),
            runner=self._runner(),
            progress=Progress(name, quiet=True),
            status=StatusBoard(self.files(name), f"status/test/test/{self.label}"),
            _seed=self._secret_of_run("seed", name),
            _session=self._spark,
            _own_keys=SealKeys(self._secret("own mac", name), self._secret("own enc", name)),
        ).at(step)

    def objects(self, ref: StoreRef) -> dict[str, bytes]:
        """Everything in a store, by name."""
        store = ref.open()
        return {name: store.read(name) for name, _ in store.list("")}

    # ---- all parties -------------------------------------------------------------------------------------------------

    def play(self, step: str, roles: Mapping[str, Callable[[Run], Any]]) -> dict[str, Any]:
        """Run the role halves at the same time and return their results by party; the first error of any is raised."""
        results, errors = self.play_out(step, roles)
        for error in errors.values():
            raise error
        return results

    def play_out(
        self, step: str, roles: Mapping[str, Callable[[Run], Any]]
    ) -> tuple[dict[str, Any], dict[str, BaseException]]:
        """The same, with results and errors by party; a party that only waited for a failed one is in neither."""
        results: dict[str, Any] = {}
        errors: dict[str, BaseException] = {}
        self._failed.clear()

        def half(name: str, role: Callable[[Run], Any]) -> None:
            try:
                with contextlib.suppress(OtherPartyFailed):
                    results[name] = role(self.run(name, step))
            except BaseException as error:
                errors[name] = error
                self._failed.set()

        threads = [threading.Thread(target=half, args=pair, name=pair[0], daemon=True) for pair in roles.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results, errors

    # ---- set-up ------------------------------------------------------------------------------------------------------

    def _look_around(self, _object: str, _waited: float) -> None:
        if self._failed.is_set():
            raise OtherPartyFailed

    def _secret(self, *words: str) -> bytes:
        return hashlib.sha256("/".join([self._seed, *words]).encode()).digest()

    def _secret_of_run(self, *words: str) -> bytes:
        return self._secret(*words, *([] if self.label == "run" else [self.label]))

    def _private(self, name: str) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self._secret("identity", name))

    def _handshake(self) -> dict[str, Session]:
        hellos, signed = {}, {}
        for party in self.roster:
            ephemeral = X25519PrivateKey.from_private_bytes(self._secret_of_run("ephemeral", party.name))
            public = ephemeral.public_key().public_bytes_raw()
            hello = documents.Hello(party.name, party.role.value, public, self._secret_of_run("nonce", party.name), {})
            hellos[party.name], signed[party.name] = hello, hello.sign(self._identities[party.name])
        run, transcript = documents.run_id(hellos), documents.transcript_hash(signed)
        sessions = {}
        for party in self.roster:
            keys = documents.session_keys(hellos, transcript, party.name, self._secret_of_run("ephemeral", party.name))
            sessions[party.name] = Session(run, transcript, party, self.roster, keys, self._identities[party.name])
        return sessions

    def _party_conf(self, name: str) -> PartyConf:
        return party_from(
            {
                "party": name,
                "identity": "env:UNUSED",
                "workspace": {"files": self.files(name).url},
                "exchange": {"url": self.exchange.url, "keep_messages": self._keep_messages},
                "peers": {p.name: identity_text(p.identity) for p in self.roster.others(self.roster[name])},
                "policy": {"min_training_rows": 2, "min_distinct_scores": 1, **self._policy.get(name, {})},
            },
            directory="/",
        )


def _no_spark() -> Any:
    raise AssertionError("this test runs without Spark")
