"""Send and receive: sealed parts, then one signed manifest; verified before they are parsed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fedspark.errors import Oversized, Removed, Replayed, Stopped, Tampered
from fedspark.exchange.handshake import Session
from fedspark.exchange.inbox import Entry, Traffic, list_messages, sum_traffic
from fedspark.exchange.ledger import Ledger, Remember, check_digest, check_listing, check_size, second_version
from fedspark.exchange.manifest import MANIFEST, Address, Limits, Manifest, SealedObject, object_name
from fedspark.exchange.seal import FRAME_BYTES, SealKeys, seal, sealed_size, unseal
from fedspark.exchange.signed import canonical_json, open_signed, parse_json, sign
from fedspark.exchange.store import Missing, StoreRef, Unequal
from fedspark.exchange.waiting import Awaited, Waiting
from fedspark.party import Party

__all__ = ["Address", "Awaited", "Entry", "Incoming", "Limits", "Mailbox", "Outgoing", "Receipt", "Traffic", "Waiting"]

_STOP_LIMIT = 64 * 2**10
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True)
class Receipt:
    """What a part task returns instead of data: the sealed objects of one part, (name, bytes, SHA-256) each."""

    part: int
    objects: tuple[tuple[str, int, str], ...]

    def to_json(self) -> dict[str, Any]:
        return {"part": self.part, "objects": [list(entry) for entry in self.objects]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Receipt:
        return cls(
            int(value["part"]), tuple((str(name), int(size), str(digest)) for name, size, digest in value["objects"])
        )


@dataclass(frozen=True)
class Outgoing:
    """The right to write the parts of one message; travels in task closures.

    ``folder`` is where the objects lie, ``sealed_as`` what their seals are bound to (full run id and address).
    ``first`` is what the writer calls the message's first part: a message may carry a wave of some larger whole.
    """

    ref: StoreRef
    folder: str
    sealed_as: str
    keys: SealKeys = field(repr=False)
    limits: Limits = field(default_factory=Limits)
    first: int = 0

    def write(self, part: int, plaintext: bytes) -> Receipt:
        """Seal and store part number ``part``, in several objects if it is large.

        Written before: a no-op if equal, else Unequal.
        """
        chunk_bytes, part = _plaintext_limit(self.limits.object_bytes), part - self.first
        if sealed_size(len(plaintext)) > self.limits.part_bytes:
            raise Oversized(
                f"Part {part} of {self.folder} has {len(plaintext)} bytes; with its seal, "
                f"{self.limits.part_bytes} are allowed.",
                remedy="Use fewer buckets per part.",
            )
        store, view, written = self.ref.open(), memoryview(plaintext), []
        for chunk, start in enumerate(range(0, max(len(plaintext), 1), chunk_bytes)):
            name = object_name(part, chunk)
            sealed = seal(self.keys, f"{self.sealed_as}/{name}", part, view[start : start + chunk_bytes])
            store.keep(f"{self.folder}/{name}", sealed)
            entry = SealedObject.of(name, sealed)
            written.append((entry.name, entry.size, entry.sha256))
        return Receipt(part, tuple(written))


@dataclass(frozen=True)
class Incoming:
    """A message whose manifest was accepted; travels in task closures. Objects are checked when they are read.

    ``meta`` is what the sender said about the content, ``first`` what the reader calls the message's first part.
    """

    ref: StoreRef
    folder: str
    sealed_as: str
    address: Address
    objects: tuple[tuple[SealedObject, ...], ...]
    meta: dict[str, Any] = field(repr=False)
    keys: SealKeys = field(repr=False)
    first: int = 0

    @property
    def parts(self) -> int:
        """Number of parts."""
        return len(self.objects)

    @property
    def sealed_bytes(self) -> int:
        """Sealed bytes of all parts."""
        return sum(entry.size for chunks in self.objects for entry in chunks)

    def read(self, part: int) -> bytes:
        """Content of one part; Tampered, Oversized or Mismatch when it is not what the sender signed and sealed."""
        number = part - self.first
        opened = [self._open(number, entry) for entry in self.objects[number]]
        return opened[0] if len(opened) == 1 else b"".join(opened)

    def json(self, part: int = 0) -> Any:
        """Content of a part that is JSON; Tampered when it is not strictly that."""
        return parse_json(self.read(part), f"{self.folder}/part {part}")

    def _open(self, part: int, entry: SealedObject) -> bytes:
        store, name = self.ref.open(), f"{self.folder}/{entry.name}"
        check_size(entry, store.size(name), self.folder)
        try:
            sealed = store.read_range(name, 0, entry.size)
        except Missing:
            raise Removed(f"{self.folder} lacks {entry.name!r}, which its manifest lists.") from None
        check_digest(entry, sealed, self.folder)
        return unseal(self.keys, f"{self.sealed_as}/{entry.name}", part, sealed, entry.size)


class Mailbox:
    """All messages of one run, seen by one party. ``prefix`` is the folder of the run label in the exchange.

    ``remember(path, digest)`` (optional) notes accepted manifests where a restarted process finds them, and raises
    Unequal for another digest under the same path: a create-only put into the workspace.
    """

    def __init__(
        self,
        ref: StoreRef,
        prefix: str,
        session: Session,
        waiting: Waiting,
        limits: Limits | None = None,
        remember: Remember | None = None,
    ) -> None:
        self._ref, self._session, self._waiting = ref, session, waiting
        self._limits = limits or Limits()
        self._root = f"{prefix}/{session.run_id[:16]}".lstrip("/")
        self._ledger = Ledger(session.run_id, session.transcript.hex(), session.roster, self._limits, remember)

    # ---- sending -------------------------------------------------------------------------------------------------

    def outgoing(self, address: Address, first: int = 0) -> Outgoing:
        """For the tasks that write the parts of a message, which they number from ``first`` on."""
        keys = self._sender_keys(address)
        return Outgoing(self._ref, self._folder(address), self._sealed_as(address), keys, self._limits, first)

    def committed(self, address: Address) -> bool:
        """Whether we have sent this message. Tampered or Replayed when something else lies under its name."""
        self._sender_keys(address)
        data = self._read_manifest(self._manifest_name(address))
        if data is None:
            return False
        self._ledger.open(address, data, self._manifest_name(address))
        return True

    def commit(self, address: Address, receipts: Iterable[Receipt], meta: Mapping[str, Any] | None = None) -> None:
        """Write the manifest, the last object of a message. Committed before: a no-op if equal, else Unequal."""
        keys = self._sender_keys(address)
        ordered = sorted(receipts, key=lambda receipt: receipt.part)
        objects = tuple(SealedObject(*entry) for receipt in ordered for entry in receipt.objects)
        sealed_meta = seal(
            keys,
            f"{self._sealed_as(address)}/{MANIFEST}",
            0,
            canonical_json({"parts": len(ordered), "meta": meta or {}}),
        )
        session = self._session
        manifest = Manifest(session.run_id, session.transcript.hex(), address, objects, sealed_meta)
        signed = manifest.sign(session.identity)
        if len(signed) > self._limits.manifest_bytes:
            raise Oversized(
                f"The manifest of the {address} has {len(signed)} bytes; {self._limits.manifest_bytes} are allowed.",
                remedy="Send large contents as parts, not as meta, or fewer parts.",
            )
        self._ref.open().keep(self._manifest_name(address), signed)

    def send(self, address: Address, payloads: Sequence[bytes], meta: Mapping[str, Any] | None = None) -> None:
        """A whole message at once: one part per payload, then the manifest."""
        outgoing = self.outgoing(address)
        self.commit(address, [outgoing.write(part, payload) for part, payload in enumerate(payloads)], meta)

    def remove(self, address: Address) -> None:
        """Delete the parts of a message of ours that its receiver has read. The manifest stays: it says what was sent,
        and that it was sent.
        """
        self._sender_keys(address)
        store, manifest = self._ref.open(), self._manifest_name(address)
        store.delete_many([name for name, _ in store.list(self._folder(address)) if name != manifest])

    # ---- receiving -----------------------------------------------------------------------------------------------

    def receive(self, address: Address, first: int = 0) -> Incoming:
        """The message, as soon as it is there and verified; its parts are read under numbers from ``first`` on.

        Raises NotReady when patience ends, Absent at the deadline, Stopped when a peer stopped the run, and Tampered,
        Replayed, Mismatch or Oversized when what lies there is not the message; then nothing of it was used.
        """
        keys, name = self._receiver_keys(address), self._manifest_name(address)

        def look() -> bytes | None:
            data = self._read_manifest(name)
            if data is None:
                self._check_stops()
            return data

        data = self._waiting.until(look, name, address.sender, str(address))
        try:
            manifest = self._ledger.accept(address, data, name)
        except Unequal:
            raise second_version(name, address) from None
        folder = self._folder(address)
        found = {path.removeprefix(f"{folder}/"): size for path, size in self._ref.open().list(folder)}
        check_listing(manifest, found, folder)
        meta = self._open_meta(manifest, keys, name)
        return Incoming(self._ref, folder, self._sealed_as(address), address, manifest.parts, meta, keys, first)

    def _open_meta(self, manifest: Manifest, keys: SealKeys, name: str) -> dict[str, Any]:
        sealed_name = f"{self._sealed_as(manifest.address)}/{MANIFEST}"
        opened = parse_json(unseal(keys, sealed_name, 0, manifest.meta_sealed, self._limits.manifest_bytes), name)
        if not isinstance(opened, dict) or opened.keys() != {"parts", "meta"} or not isinstance(opened["meta"], dict):
            raise Tampered(f"The sealed meta of {name} does not have the keys of this format version.")
        if opened["parts"] != len(manifest.parts):
            raise Tampered(
                f"The manifest {name} lists {len(manifest.parts)} parts, its sealed meta says {opened['parts']}."
            )
        meta: dict[str, Any] = opened["meta"]
        return meta

    # ---- stopping ------------------------------------------------------------------------------------------------

    def stop(self, reason: str) -> None:
        """Tell all parties that this run ends here.

        ``reason`` is the name of an error class: a message may hold private values.
        """
        if not _WORD.fullmatch(reason):
            raise ValueError(f"{reason!r} is not the name of an error class")
        session = self._session
        body = {
            "party": session.me.name,
            "run": session.run_id,
            "transcript": session.transcript.hex(),
            "reason": reason,
        }
        self._ref.open().replace(self._stop_name(session.me.name), sign("stop", body, session.identity))

    def withdraw_stop(self) -> None:
        """Take our stop notice back, before the run is continued."""
        store, name = self._ref.open(), self._stop_name(self._session.me.name)
        if store.size(name) is not None:
            store.delete(name)

    def _check_stops(self) -> None:
        names = {name for name, _ in self._ref.open().list(f"{self._root}/stop")}
        for party in self._session.roster.others(self._session.me):
            if self._stop_name(party.name) in names:
                self._check_stop(party)

    def _check_stop(self, party: Party) -> None:
        store, name = self._ref.open(), self._stop_name(party.name)
        size = store.size(name)
        if size is None:
            return
        if size > _STOP_LIMIT:
            raise Oversized(f"The stop notice {name} has {size} bytes; {_STOP_LIMIT} are allowed. It was not read.")
        try:
            data = store.read_range(name, 0, size)
        except Missing:
            return
        body = open_signed(data, "stop", party.identity, party.name, name, _STOP_LIMIT)
        if body.keys() != {"version", "party", "run", "transcript", "reason"} or not _WORD.fullmatch(
            str(body["reason"])
        ):
            raise Tampered(f"The stop notice {name} is signed, but its keys are not those of this format version.")
        if (body["party"], body["run"], body["transcript"]) != (
            party.name,
            self._session.run_id,
            self._session.transcript.hex(),
        ):
            raise Replayed(f"The stop notice {name} is that of another party or run.")
        raise Stopped(
            f"{party.name} stopped the run: {body['reason']}.",
            remedy=f"Ask {party.name} for the message on their side. When they have continued, run the same command "
            f"again.",
        )

    # ---- looking -------------------------------------------------------------------------------------------------

    def traffic(self, step: str = "") -> list[Traffic]:
        """Messages and sealed bytes (parts and manifests) by step, tag, sender and receiver, as far as we see them: of
        all steps, or of one.
        """
        return sum_traffic(self._entries(step))

    def messages(self) -> list[Entry]:
        """All messages of this run to us or by us, with what is wrong with them, if anything."""
        me = self._session.me.name
        return [entry for entry in self._entries() if me in (entry.address.sender, entry.address.receiver)]

    def _entries(self, step: str = "") -> list[Entry]:
        return list_messages(self._ref, self._root, self._session.roster, self._ledger, step)

    # ---- names and keys ------------------------------------------------------------------------------------------

    def _folder(self, address: Address) -> str:
        return f"{self._root}/{address.path}"

    def _manifest_name(self, address: Address) -> str:
        return f"{self._folder(address)}/{MANIFEST}"

    def _stop_name(self, party: str) -> str:
        return f"{self._root}/stop/{party}.json"

    def _sealed_as(self, address: Address) -> str:
        return f"{self._session.run_id}/{address.path}"

    def _sender_keys(self, address: Address) -> SealKeys:
        if address.sender != self._session.me.name:
            raise ValueError(f"{self._session.me.name} cannot send the {address}")
        return self._keys(address)

    def _receiver_keys(self, address: Address) -> SealKeys:
        if address.receiver != self._session.me.name:
            raise ValueError(f"{self._session.me.name} cannot receive the {address}")
        return self._keys(address)

    def _keys(self, address: Address) -> SealKeys:
        return self._session.message_keys(address.sender, address.receiver, address.path)

    def _read_manifest(self, name: str) -> bytes | None:
        store = self._ref.open()
        size = store.size(name)
        if size is None:
            return None
        self._ledger.check_manifest_size(name, size)
        try:
            return store.read_range(name, 0, size)
        except Missing:
            return None


def _plaintext_limit(sealed_limit: int) -> int:
    """Most plaintext bytes, whole frames where possible, whose sealed form has at most ``sealed_limit`` bytes."""
    frames = (sealed_limit - sealed_size(0)) // (FRAME_BYTES + 16)
    limit = frames * FRAME_BYTES or sealed_limit - sealed_size(0)
    if limit <= 0 or sealed_size(limit) > sealed_limit:
        raise ValueError(f"An object limit of {sealed_limit} bytes leaves no room for a seal.")
    return limit
