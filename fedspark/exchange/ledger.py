"""Which manifests and objects are accepted. Pure: bytes and listings in, verified values or exceptions out.

The order is the rule: size, signature and place of a manifest before it is used; names and sizes of the objects from
the listing before anything is downloaded; digest before anything is opened. What fails is refused with an error that
names the object and the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256

from fedspark.errors import Oversized, Removed, Replayed, Tampered
from fedspark.exchange.manifest import MANIFEST, Address, Limits, Manifest, SealedObject, open_manifest
from fedspark.party import Roster

Remember = Callable[[str, bytes], None]
"""``remember(path, digest)`` notes for ever which manifest was accepted under a path.

Raises when another was noted before.
"""


class Ledger:
    """The rules of one run, and the memory of what was accepted in it.

    ``run`` and ``transcript`` are hex; ``roster`` holds the pinned keys. With ``remember`` the memory outlives the
    process.
    """

    def __init__(
        self, run: str, transcript: str, roster: Roster, limits: Limits | None = None, remember: Remember | None = None
    ) -> None:
        self.run = run
        self.transcript = transcript
        self.limits = limits or Limits()
        self._roster = roster
        self._remember = remember
        self._accepted: dict[str, bytes] = {}

    def check_manifest_size(self, name: str, size: int) -> None:
        """Oversized when a manifest is too large to be downloaded."""
        if size > self.limits.manifest_bytes:
            raise Oversized(
                f"The manifest {name} has {size} bytes; {self.limits.manifest_bytes} are allowed. It was not read."
            )

    def open(self, expected: Address, data: bytes, name: str) -> Manifest:
        """The manifest of message ``expected`` of this run; else Tampered, Replayed, Mismatch or Oversized."""
        manifest = open_manifest(data, self._roster[expected.sender].identity, name, self.limits, expected)
        if manifest.run != self.run:
            raise Replayed(f"The manifest {name} belongs to run {manifest.run[:16]}, this is run {self.run[:16]}.")
        if manifest.transcript != self.transcript:
            raise Replayed(
                f"The manifest {name} was signed under another handshake "
                f"({manifest.transcript[:16]}, ours is {self.transcript[:16]})."
            )
        return manifest

    def accept(self, expected: Address, data: bytes, name: str) -> Manifest:
        """As ``open``, and the first version accepted is the only one: Replayed when another was accepted before."""
        manifest = self.open(expected, data, name)
        digest = sha256(data).digest()
        if self._accepted.get(expected.path, digest) != digest:
            raise second_version(name, expected)
        if self._remember is not None and expected.path not in self._accepted:
            self._remember(expected.path, digest)
        self._accepted[expected.path] = digest
        return manifest


def second_version(name: str, address: Address) -> Replayed:
    """The error for a manifest that took the place of one that was accepted before."""
    return Replayed(
        f"The manifest {name} is another version of one that was accepted before: the {address} was rewritten.",
        remedy=f"Ask {address.sender} what happened to their workspace; start a new run label.",
    )


def check_listing(manifest: Manifest, found: Mapping[str, int], folder: str) -> None:
    """The objects in the message's folder (name there -> bytes) must be exactly those of the manifest."""
    listed = {entry.name for entry in manifest.objects}
    extra = sorted(found.keys() - listed - {MANIFEST})
    if extra:
        raise Tampered(f"{folder} holds {extra[0]!r}{_more(extra)}, which its manifest does not list.")
    missing = sorted(listed - found.keys())
    if missing:
        raise Removed(f"{folder} lacks {missing[0]!r}{_more(missing)}, which its manifest lists.")
    for entry in manifest.objects:
        check_size(entry, found[entry.name], folder)


def check_size(entry: SealedObject, size: int | None, folder: str) -> None:
    """The object must have the signed size; asked before it is downloaded."""
    if size is None:
        raise Removed(f"{folder} lacks {entry.name!r}, which its manifest lists.")
    if size > entry.size:
        raise Oversized(f"{folder}/{entry.name} has {size} bytes, its manifest says {entry.size}. It was not read.")
    if size < entry.size:
        raise Tampered(f"{folder}/{entry.name} was cut: it has {size} bytes, its manifest says {entry.size}.")


def check_digest(entry: SealedObject, sealed: bytes, folder: str) -> None:
    """The object must have the signed bytes; asked before it is opened."""
    if len(sealed) != entry.size or sha256(sealed).hexdigest() != entry.sha256:
        raise Tampered(f"{folder}/{entry.name} is not what its sender signed: size or SHA-256 differ.")


def _more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
