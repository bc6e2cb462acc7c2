"""The handshake: all parties say hello, compare, confirm; or all of them stop, and each says which key differs.

Objects under the prefix of a run label: ``hello/<party>.json`` and ``ack/<party>.json``, written once, and
``refused/<party>.json``, which a party takes back when it tries again. A restarted party brings the same ephemeral
key and nonce from its workspace, writes the same hello and arrives at the same session. The adversary may read, copy
and replace objects, not sign for a party.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedspark.errors import Mismatch, Oversized, PeerError, Stopped, Tampered
from fedspark.exchange import hello as docs
from fedspark.exchange.hello import Hello
from fedspark.exchange.seal import SealKeys, message_keys
from fedspark.exchange.store import Missing, Store, StoreRef, Unequal
from fedspark.exchange.waiting import Waiting
from fedspark.party import Party, Roster

T = TypeVar("T")


@dataclass(frozen=True)
class Session:
    """What a finished handshake leaves: equal ``run_id`` (64 hex digits) and ``transcript`` (32 bytes) at all parties.

    ``keys`` holds the seal keys by (sender, receiver) for our own directions, ``identity`` signs for us. Stays on the
    driver.
    """

    run_id: str
    transcript: bytes
    me: Party
    roster: Roster
    keys: Mapping[tuple[str, str], SealKeys] = field(repr=False)
    identity: Ed25519PrivateKey = field(repr=False)

    def message_keys(self, sender: str, receiver: str, address: str) -> SealKeys:
        """Keys for the one message of this address; ``sender`` or ``receiver`` is this party."""
        return message_keys(self.keys[sender, receiver], address)


def open_session(
    ref: StoreRef,
    prefix: str,
    me: Party,
    identity: Ed25519PrivateKey,
    roster: Roster,
    ephemeral: bytes,
    nonce: bytes,
    offer: Mapping[str, str],
    waiting: Waiting,
) -> Session:
    """Agree with all parties of ``roster`` (which holds the pinned keys) on one run under ``prefix``.

    ``ephemeral`` (X25519 private key) and ``nonce`` are 32 fresh random bytes each, kept in the workspace for a
    restart; ``offer`` must be equal at all parties. Raises Mismatch naming what differs, Tampered, Oversized, Stopped
    when a peer refused, NotReady or Absent when one does not come, StoreError, also for a store without create-only
    puts.
    """
    if len(nonce) != docs.NONCE_BYTES:
        raise ValueError(f"a nonce has {docs.NONCE_BYTES} bytes, this one {len(nonce)}")
    store = ref.open()
    store.probe(prefix)
    public = X25519PrivateKey.from_private_bytes(ephemeral).public_key().public_bytes_raw()
    mine = Hello(me.name, me.role.value, public, nonce, dict(offer))
    table = _Table(store, prefix, me, docs.pinned_roster(roster, me, identity), identity, waiting)
    table.withdraw_refusal()
    try:
        hellos, signed = table.exchange_hellos(mine)
        run, transcript = docs.run_id(hellos), docs.transcript_hash(signed)
        keys = docs.session_keys(hellos, transcript, me.name, ephemeral)
        table.exchange_acks(run, transcript)
    except (Mismatch, Tampered, Oversized) as error:
        table.refuse(error)
        raise
    return Session(run, transcript, me, table.roster, keys, identity)


class _Table:
    """The documents of one run label, seen by one party."""

    def __init__(
        self, store: Store, prefix: str, me: Party, roster: Roster, identity: Ed25519PrivateKey, waiting: Waiting
    ) -> None:
        self.store, self.prefix, self.me, self.roster = store, prefix, me, roster
        self._identity, self._waiting = identity, waiting
        self._about = ""

    def name(self, kind: str, party: str) -> str:
        return f"{self.prefix}/{kind}/{party}.json".lstrip("/")

    def exchange_hellos(self, mine: Hello) -> tuple[dict[str, Hello], dict[str, bytes]]:
        name, signed = self.name("hello", self.me.name), mine.sign(self._identity)
        try:
            self.store.keep(name, signed)
        except Unequal:
            docs.check_own(mine, self._identity, self.me, self._read(name) or b"", name)
        raw = {self.me.name: signed}

        def open_and_compare(data: bytes, party: Party, name: str) -> Hello:
            hello = docs.open_hello(data, party, name)
            docs.check_offer(mine, hello)
            raw[party.name] = data
            return hello

        hellos = self._gather("hello", open_and_compare)
        return {self.me.name: mine, **hellos}, raw

    def exchange_acks(self, run: str, transcript: bytes) -> None:
        name = self.name("ack", self.me.name)
        try:
            self.store.keep(name, docs.sign_ack(self.me.name, run, transcript, self._identity))
        except Unequal:
            docs.check_ack(self._read(name) or b"", self.roster[self.me.name], run, transcript, name)

        def check(data: bytes, party: Party, name: str) -> bool:
            docs.check_ack(data, party, run, transcript, name)
            return True

        self._gather("ack", check)

    def refuse(self, error: PeerError) -> None:
        """Tell the others that we do not go on, so that they need not wait for the deadline."""
        document = docs.sign_refusal(self.me.name, type(error).__name__, self._about, self._identity)
        self.store.replace(self.name("refused", self.me.name), document)

    def withdraw_refusal(self) -> None:
        """Take back what ``refuse`` said in an earlier attempt."""
        name = self.name("refused", self.me.name)
        if self.store.size(name) is not None:
            self.store.delete(name)

    def _gather(self, kind: str, open_one: Callable[[bytes, Party, str], T]) -> dict[str, T]:
        """The opened document of every other party. Every look checks all that are there, whoever is awaited."""
        found: dict[str, T] = {}
        others = self.roster.others(self.me)

        def scan() -> None:
            for party in others:
                if party.name not in found:
                    self._about, name = party.name, self.name(kind, party.name)
                    data = self._read(name)
                    if data is not None:
                        found[party.name] = open_one(data, party, name)

        def look(party: Party) -> T | None:
            scan()
            if party.name not in found and (refused := self._refusal(others)) is not None:
                scan()  # what was refused may have come since, and then we can say ourselves what is wrong
                raise refused
            return found.get(party.name)

        for party in others:
            awaited = self.name(kind, party.name)
            self._waiting.until(lambda party=party: look(party), awaited, party.name, f"{kind} of {party.name}")  # type: ignore[misc]
        return found

    def _refusal(self, others: tuple[Party, ...]) -> Stopped | None:
        for party in others:
            self._about, name = party.name, self.name("refused", party.name)
            data = self._read(name)
            if data is not None:
                reason, about = docs.open_refusal(data, party, name)
                return Stopped(
                    f"{party.name} refused the handshake: {reason}{f' about {about}' if about else ''}.",
                    remedy=f"Ask {party.name} what they were told; both run the command again when it is put right.",
                )
        return None

    def _read(self, name: str) -> bytes | None:
        size = self.store.size(name)
        if size is None:
            return None
        if size > docs.LIMIT:
            raise Oversized(f"The object {name} has {size} bytes; {docs.LIMIT} are allowed. It was not read.")
        try:
            return self.store.read_range(name, 0, size)
        except Missing:
            return None
