"""What a message consists of: its address, its sealed objects in order, its sealed meta; signed by the sender. Pure.

A message lies in the folder ``<prefix>/<first 16 of run id>/<address>``: objects ``part-00000-000`` (part, chunk),
then ``manifest``, written last: a message exists when its manifest does. The manifest lists every object with bytes
and SHA-256 of the sealed form; what the sender says about the content (rows, schema) is in the meta, sealed like a
part.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedspark.errors import Oversized, Replayed, Tampered
from fedspark.exchange.signed import VERSION, open_signed, sign

KIND = "manifest"
MANIFEST = "manifest"
MAX_PARTS = 100_000
MAX_CHUNKS = 1_000

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_OBJECT = re.compile(r"part-([0-9]{5})-([0-9]{3})")
_PATH = re.compile(r"([^/]+)/([0-9]{4,})/([^/]+)\.([0-9]+)/([^/.]+)\.([^/.]+)")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Limits:
    """Largest sizes in bytes that are accepted from a peer, and that we keep to.

    Of a sealed object, of a part, of a manifest.
    """

    object_bytes: int = 256 * 2**20
    part_bytes: int = 2 * 2**30
    manifest_bytes: int = 8 * 2**20


@dataclass(frozen=True)
class Address:
    """The name of one message in a run: which step, round, tag and attempt, from whom, to whom (party names)."""

    step: str
    round: int
    tag: str
    sender: str
    receiver: str
    attempt: int = 0

    def __post_init__(self) -> None:
        names = (self.step, self.sender, self.receiver)
        if not all(map(_NAME.fullmatch, names)) or not _TAG.fullmatch(self.tag):
            raise ValueError(
                f"{self!r}: names begin with a letter or digit and go on with these, '_', '-' (in tags '.')"
            )
        if type(self.round) is not int or type(self.attempt) is not int or self.round < 0 or self.attempt < 0:
            raise ValueError(f"{self!r}: round and attempt count from 0")

    @property
    def path(self) -> str:
        """Folder of the message below the folder of its run."""
        return f"{self.step}/{self.round:04d}/{self.tag}.{self.attempt}/{self.sender}.{self.receiver}"

    @classmethod
    def from_path(cls, path: str) -> Address | None:
        """The address whose ``path`` this is, None when it is no such path."""
        match = _PATH.fullmatch(path)
        if match is None:
            return None
        step, round_, tag, attempt, sender, receiver = match.groups()
        try:
            address = cls(step, int(round_), tag, sender, receiver, int(attempt))
        except ValueError:
            return None
        return address if address.path == path else None

    def __str__(self) -> str:
        repeat = f", attempt {self.attempt}" if self.attempt else ""
        route = f"from {self.sender} to {self.receiver}"
        return f"message {self.tag!r} of step {self.step!r}, round {self.round}{repeat}, {route}"


@dataclass(frozen=True)
class SealedObject:
    """One object: ``name`` in the message's folder, ``size`` in bytes and hex ``sha256`` of the sealed form."""

    name: str
    size: int
    sha256: str

    @classmethod
    def of(cls, name: str, sealed: bytes) -> SealedObject:
        return cls(name, len(sealed), sha256(sealed).hexdigest())


@dataclass(frozen=True)
class Manifest:
    """A message as its sender signed it. ``run`` is the full run id, ``transcript`` the hex hash of the handshake."""

    run: str
    transcript: str
    address: Address
    objects: tuple[SealedObject, ...]
    meta_sealed: bytes

    @property
    def parts(self) -> tuple[tuple[SealedObject, ...], ...]:
        """The objects of every part, in order."""
        by_part = groupby(self.objects, key=lambda entry: entry.name.rpartition("-")[0])
        return tuple(tuple(chunks) for _, chunks in by_part)

    def sign(self, identity: Ed25519PrivateKey) -> bytes:
        """The signed manifest as it is stored; ValueError when the objects are not in order."""
        wrong = misplaced(self.objects)
        if wrong is not None:
            raise ValueError(f"{self.address}: objects are those of parts 0, 1, ... in order; {wrong!r} is not")
        return sign(KIND, self._body(), identity)

    def _body(self) -> dict[str, Any]:
        address = self.address
        return {
            "run": self.run,
            "transcript": self.transcript,
            "step": address.step,
            "round": address.round,
            "tag": address.tag,
            "attempt": address.attempt,
            "sender": address.sender,
            "receiver": address.receiver,
            "parts": [{"name": entry.name, "bytes": entry.size, "sha256": entry.sha256} for entry in self.objects],
            "meta_sealed": base64.b64encode(self.meta_sealed).decode(),
        }


def object_name(part: int, chunk: int) -> str:
    """Name of a chunk of a part, in the folder of its message."""
    if not (0 <= part < MAX_PARTS and 0 <= chunk < MAX_CHUNKS):
        raise ValueError(f"part {part}, chunk {chunk}: a message has at most {MAX_PARTS} parts of {MAX_CHUNKS} chunks")
    return f"part-{part:05d}-{chunk:03d}"


def open_manifest(
    data: bytes, signer_key: bytes, name: str, limits: Limits, address: Address | None = None
) -> Manifest:
    """The manifest in ``data``, read from object ``name``, signed by the holder of ``signer_key`` (32 bytes).

    Checks form, signature, sizes and order, and when ``address`` is given that the manifest is that message's; whose
    run it belongs to is the ledger's question. Raises Tampered, Mismatch, Oversized, Replayed.
    """
    signer = address.sender if address else "the sender"
    body = open_signed(data, KIND, signer_key, signer, name, limits.manifest_bytes)
    manifest = _parse(body, name)
    if address is not None and manifest.address != address:
        raise Replayed(f"The manifest {name} is the {manifest.address}, put in the place of the {address}.")
    _check_objects(manifest, name, limits)
    return manifest


def misplaced(objects: Sequence[SealedObject]) -> str | None:
    """Name of the first object that breaks the order (part 0 chunk 0, chunk 1, ..., part 1 chunk 0, ...), else None."""
    part, chunk = 0, -1
    for entry in objects:
        match = _OBJECT.fullmatch(entry.name)
        if match is None:
            return entry.name
        found = (int(match[1]), int(match[2]))
        if found not in ((part, chunk + 1), (part + (chunk >= 0), 0)):
            return entry.name
        part, chunk = found
    return None


_SCHEMA: dict[str, type] = {
    "version": int,
    "run": str,
    "transcript": str,
    "step": str,
    "round": int,
    "tag": str,
    "attempt": int,
    "sender": str,
    "receiver": str,
    "parts": list,
    "meta_sealed": str,
}
_OBJECT_SCHEMA: dict[str, type] = {"name": str, "bytes": int, "sha256": str}


def _parse(body: dict[str, Any], name: str) -> Manifest:
    _check_schema(body, _SCHEMA, name)
    for entry in body["parts"]:
        _check_schema(entry, _OBJECT_SCHEMA, name)
    try:
        address = Address(body["step"], body["round"], body["tag"], body["sender"], body["receiver"], body["attempt"])
        meta = base64.b64decode(body["meta_sealed"], validate=True)
    except (ValueError, binascii.Error) as error:
        raise Tampered(f"The manifest {name} is signed, but holds an impossible value: {error}.") from None
    objects = tuple(SealedObject(item["name"], item["bytes"], item["sha256"]) for item in body["parts"])
    return Manifest(body["run"], body["transcript"], address, objects, meta)


def _check_schema(value: object, schema: dict[str, type], name: str) -> None:
    if not isinstance(value, dict) or value.keys() != schema.keys():
        raise Tampered(f"The manifest {name} is signed, but its keys are not those of format version {VERSION}.")
    for key, kind in schema.items():
        if type(value[key]) is not kind:
            raise Tampered(f"The manifest {name} is signed, but its {key} is not a {kind.__name__}.")


def _check_objects(manifest: Manifest, name: str, limits: Limits) -> None:
    wrong = misplaced(manifest.objects)
    if wrong is not None:
        raise Tampered(f"The manifest {name} lists {wrong!r} out of order or twice.")
    for entry in manifest.objects:
        if entry.size <= 0 or not _DIGEST.fullmatch(entry.sha256):
            raise Tampered(f"The manifest {name} gives {entry.name} impossible bytes ({entry.size}) or digest.")
        if entry.size > limits.object_bytes:
            raise Oversized(
                f"The manifest {name} lists {entry.name} with {entry.size} bytes; an object may have "
                f"{limits.object_bytes} at most."
            )
    for part, chunks in enumerate(manifest.parts):
        total = sum(entry.size for entry in chunks)
        if total > limits.part_bytes:
            raise Oversized(f"Part {part} of {name} has {total} bytes; a part may have {limits.part_bytes} at most.")
