"""A party that seals and signs what it should not send, and a store that shows what it should not show."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedspark.crypto import rsa
from fedspark.crypto.ot import vole
from fedspark.crypto.randomness import Stream
from fedspark.crypto.rsa import RsaKey
from fedspark.exchange.mailbox import Mailbox, Outgoing, Receipt
from fedspark.exchange.manifest import Address
from fedspark.psi.align import Alignment
from tests.federation import Federation
from tests.psi.people import aligned

# Messages per row, in the order of the protocol, and who sends them.
PER_ROW = {
    "rsa": {"tags": "host", "blinded": "guest", "signed": "host", "matched": "guest"},
    "ecdh": {"tags": "host", "blinded": "guest", "evaluated": "host", "matched": "guest"},
    "ot": {"table": "guest", "tags": "host", "matched": "guest"},
}
MESSAGES = [pytest.param(name, tag, id=f"{name}-{tag}") for name, tags in PER_ROW.items() for tag in tags]

Rows = list[Any]


@dataclass(frozen=True)
class Place:
    """Which part of which message: ``part`` counts within the message, ``wave`` is its round."""

    tag: str
    wave: int
    part: int

    @staticmethod
    def of(outgoing: Outgoing, part: int) -> Place:
        *_, wave, tag, _ = outgoing.folder.split("/")
        return Place(tag.partition(".")[0], int(wave), part - outgoing.first)


def sent_instead(monkeypatch: pytest.MonkeyPatch, change: Callable[[Place, bytes], bytes]) -> None:
    """From now on, senders seal ``change(place, content)`` in place of their content."""
    original = Outgoing.write

    def write(self: Outgoing, part: int, plaintext: bytes) -> Receipt:
        return original(self, part, change(Place.of(self, part), plaintext))

    monkeypatch.setattr(Outgoing, "write", write)


def rows_changed(data: bytes, change: Callable[[Rows], Rows]) -> bytes:
    """The same Arrow column with other rows."""
    with pa.ipc.open_stream(data) as reader:
        table = reader.read_all()
    rows = pa.array(change(table.column(0).to_pylist()), table.schema.field(0).type)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_batch(pa.record_batch([rows], schema=table.schema))
    return bytes(sink.getvalue().to_pybytes())


def recorded(monkeypatch: pytest.MonkeyPatch) -> dict[Place, bytes]:
    """Contents of all parts that are sent from now on. What both parties send (sizes, nonces) has one place."""
    contents: dict[Place, bytes] = {}

    def note(place: Place, data: bytes) -> bytes:
        contents[place] = data
        return data

    sent_instead(monkeypatch, note)
    return contents


class LaterRun(Federation):
    """The parties of ``Federation()`` with the same identity keys, in another run."""

    def __init__(self, **more: Any) -> None:
        super().__init__(seed="later", **more)

    def _private(self, name: str) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"seed/identity/{name}".encode()).digest())


def objects_instead(monkeypatch: pytest.MonkeyPatch, at: Address, objects: Callable[[], Mapping[str, bytes]]) -> None:
    """When the message ``at`` is committed, the store shows these objects (by name) in its folder instead."""
    original = Mailbox.commit

    def commit(self: Mailbox, address: Address, *arguments: Any) -> None:
        if address != at:
            original(self, address, *arguments)
            return
        shown, store, folder = dict(objects()), self._ref.open(), self._folder(at)
        manifest = shown.pop("manifest", None)
        for name, data in shown.items():
            store.replace(f"{folder}/{name}", data)
        if manifest is None:
            original(self, address, *arguments)
        else:
            store.replace(f"{folder}/manifest", manifest)

    monkeypatch.setattr(Mailbox, "commit", commit)


def folder_of(federation: Federation, at: Address) -> dict[str, bytes]:
    """The objects of one message in the exchange, by their names in its folder."""
    found = {}
    for name, data in federation.objects(federation.exchange).items():
        folder, _, last = name.rpartition("/")
        if folder.endswith(f"/{at.path}"):
            found[last] = data
    return found


def people_of(federation: Federation, results: Mapping[str, Alignment]) -> dict[str, list[str]]:
    """Who counts as common, by party."""
    return {name: aligned(federation, name, result)["key"].to_pylist() for name, result in results.items()}


_REMEMBERED: dict[tuple[Any, ...], Any] = {}


def remember_set_ups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make no key and no base transfer twice: equal federations have equal ones, and making them takes longest."""

    def remembered(key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        if key not in _REMEMBERED:
            _REMEMBERED[key] = make()
        return _REMEMBERED[key]

    generate, prove, verify = RsaKey.generate, rsa.prove, rsa.verify_proof
    start, answer, finish = vole.start, vole.answer, vole.finish
    replaced: list[tuple[Any, str, Any]] = [
        (
            RsaKey,
            "generate",
            lambda s, bits: remembered((drawn := s.bytes(32), bits), lambda: generate(Stream(drawn), bits)),
        ),
        (rsa, "prove", lambda key, context: remembered(("prove", key.public, context), lambda: prove(key, context))),
        (rsa, "verify_proof", lambda *given: remembered(("verify", *given), lambda: verify(*given))),
        (vole, "start", lambda *given: remembered(("start", *given), lambda: start(*given))),
        (vole, "answer", lambda *given: remembered(("answer", *given), lambda: answer(*given))),
        (
            vole,
            "finish",
            lambda sizes, started, reply: remembered(
                ("finish", sizes, started.choice.sent, reply), lambda: finish(sizes, started, reply)
            ),
        ),
    ]
    for place, name, function in replaced:
        monkeypatch.setattr(place, name, staticmethod(function) if place is RsaKey else function)
