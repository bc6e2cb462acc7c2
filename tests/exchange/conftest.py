"""Three parties with fixed keys after a handshake, and the powers of an adversary who can write to the exchange."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedspark.exchange.handshake import Session
from fedspark.exchange.mailbox import Address, Limits, Mailbox, Waiting
from fedspark.exchange.manifest import Manifest, open_manifest
from fedspark.exchange.seal import direction_keys
from fedspark.exchange.store import Store, StoreRef
from fedspark.party import Party, Role, Roster

RUN = "5f" * 32
PREFIX = "runs/bank/credit/first"
ROLES = {"guest": Role.GUEST, "host": Role.HOST, "arbiter": Role.ARBITER}
_NUMBERS = itertools.count()


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.slept: list[float] = []
        self.at: dict[int, Callable[[], None]] = {}

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        event = self.at.pop(len(self.slept), None)
        if event is not None:
            event()

    def waiting(self, limit: float = 0.0, deadline: float = 3600.0, **more: Any) -> Waiting:
        return Waiting(limit, deadline, clock=self, wall=self, sleep=self.sleep, **more)


def identity_of(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32, b"."))


def roster() -> Roster:
    return Roster(tuple(Party(n, r, identity_of(n).public_key().public_bytes_raw()) for n, r in ROLES.items()))


def session_of(name: str, run: str = RUN, transcript: bytes = b"t" * 32) -> Session:
    """What the handshake would leave at party ``name``; the shared secret of two parties is made of their names."""
    keys = {}
    for other in ROLES:
        secret = "+".join(sorted((name, other))).encode().ljust(32, b".")
        for sender, receiver in ((name, other), (other, name)):
            keys[sender, receiver] = direction_keys(secret, transcript, sender, receiver)
    return Session(run, transcript, roster()[name], roster(), keys, identity_of(name))


@dataclass
class Exchange:
    """The exchange of one run, with everything that a writer of the bucket, or a dishonest party, can do to it."""

    ref: StoreRef
    clock: Clock = field(default_factory=Clock)

    @property
    def store(self) -> Store:
        return self.ref.open()

    def mailbox(self, name: str, session: Session | None = None, **more: Any) -> Mailbox:
        waiting = more.pop("waiting", None) or self.clock.waiting()
        return Mailbox(self.ref, PREFIX, session or session_of(name), waiting, **more)

    def folder(self, address: Address, run: str = RUN) -> str:
        return f"{PREFIX}/{run[:16]}/{address.path}"

    def part(self, address: Address, part: int = 0, chunk: int = 0) -> str:
        return f"{self.folder(address)}/part-{part:05d}-{chunk:03d}"

    def manifest(self, address: Address) -> str:
        return f"{self.folder(address)}/manifest"

    def send(self, address: Address, *payloads: bytes, session: Session | None = None, **more: Any) -> None:
        self.mailbox(address.sender, session, **more).send(address, payloads or (b"first", b"second"), {"rows": 2})

    def receive(self, address: Address, **more: Any) -> Any:
        return self.mailbox(address.receiver, **more).receive(address)

    def edit(self, name: str, change: Callable[[bytes], bytes]) -> None:
        """Replace an object by a changed one, as somebody with write access can."""
        self.store.replace(name, change(self.store.read(name)))

    def resign(self, address: Address, **changes: Any) -> None:
        """Replace the manifest by one with other fields that the (dishonest) sender signed."""
        identity = identity_of(address.sender)
        raw = self.store.read(self.manifest(address))
        held = open_manifest(raw, identity.public_key().public_bytes_raw(), "held", Limits(), address)
        self.store.replace(self.manifest(address), replace(held, **changes).sign(identity))

    def held(self, address: Address) -> Manifest:
        key = identity_of(address.sender).public_key().public_bytes_raw()
        return open_manifest(self.store.read(self.manifest(address)), key, "held", Limits(), address)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def memory() -> StoreRef:
    return StoreRef(f"memory://exchange-{next(_NUMBERS)}")


@pytest.fixture(params=["memory", "directory"])
def ref(request: pytest.FixtureRequest, memory: StoreRef, tmp_path: Path) -> StoreRef:
    return memory if request.param == "memory" else StoreRef(f"file://{tmp_path}/exchange")


@pytest.fixture
def exchange(ref: StoreRef) -> Exchange:
    return Exchange(ref)


@pytest.fixture
def address() -> Address:
    return Address("train", 3, "g", "guest", "host")


@pytest.fixture
def parties() -> Roster:
    return roster()


@pytest.fixture
def identities() -> dict[str, Ed25519PrivateKey]:
    return {name: identity_of(name) for name in ROLES}


@pytest.fixture
def session() -> Callable[..., Session]:
    return session_of
