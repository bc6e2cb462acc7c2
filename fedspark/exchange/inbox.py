"""What lies in the exchange: messages with their state, and traffic by tag, for ``fedspark inbox`` and reports.

Reads manifests and listings only, so it needs no seal keys and downloads no part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from fedspark.errors import PeerError, Tampered
from fedspark.exchange.ledger import Ledger, check_listing
from fedspark.exchange.manifest import MANIFEST, Address, Limits, Manifest, open_manifest
from fedspark.exchange.store import Missing, StoreRef
from fedspark.party import Roster


class State(StrEnum):
    """``VERIFIED``: signature, sizes and order hold; ``REMOVED``: so do they, but parts are gone, as a sender deletes
    them when they are read; ``WRITING``: no manifest yet; ``REFUSED``: see the reason.
    """

    VERIFIED = "verified"
    REMOVED = "removed"
    WRITING = "writing"
    REFUSED = "refused"


@dataclass(frozen=True)
class Entry:
    """One message.

    ``bytes`` of all its objects, manifest included, also of those that were removed; number of ``parts`` (of objects,
    while there is no manifest).
    """

    address: Address
    bytes: int
    parts: int
    state: State
    reason: str = ""


@dataclass(frozen=True)
class Traffic:
    """Sum over the committed messages of one tag: their number and bytes, manifests included."""

    step: str
    tag: str
    sender: str
    receiver: str
    messages: int
    bytes: int


def inbox(ref: StoreRef, prefix: str, roster: Roster, party: str) -> list[Entry]:
    """Messages to and from ``party`` in all runs under ``prefix``, in name order. ``roster`` holds the pinned keys."""
    runs: dict[str, None] = {}
    start = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    for name, _ in ref.open().list(prefix):
        runs.setdefault(name.removeprefix(start).split("/", 1)[0])
    entries = [entry for run in runs for entry in list_messages(ref, f"{start}{run}", roster)]
    return [entry for entry in entries if party in (entry.address.sender, entry.address.receiver)]


def list_messages(
    ref: StoreRef, root: str, roster: Roster, ledger: Ledger | None = None, step: str = ""
) -> list[Entry]:
    """All messages in the folder ``root`` of a run, or those of one step; with a ledger they must belong to its run."""
    folders: dict[str, dict[str, int]] = {}
    for name, size in ref.open().list(f"{root}/{step}"):
        folder, _, own = name.removeprefix(f"{root}/").rpartition("/")
        folders.setdefault(folder, {})[own] = size
    entries = []
    for folder, found in sorted(folders.items()):
        address = Address.from_path(folder)
        if address is not None:
            entries.append(_entry(ref, f"{root}/{folder}", address, found, roster, ledger))
    return entries


def sum_traffic(entries: Iterable[Entry]) -> list[Traffic]:
    """Verified and removed messages by step, tag, sender and receiver, sorted."""
    sums: dict[tuple[str, str, str, str], tuple[int, int]] = {}
    for entry in entries:
        if entry.state in (State.VERIFIED, State.REMOVED):
            address = entry.address
            key = (address.step, address.tag, address.sender, address.receiver)
            messages, total = sums.get(key, (0, 0))
            sums[key] = (messages + 1, total + entry.bytes)
    return [Traffic(*key, *sums[key]) for key in sorted(sums)]


def _entry(
    ref: StoreRef, folder: str, address: Address, found: Mapping[str, int], roster: Roster, ledger: Ledger | None
) -> Entry:
    total = sum(found.values())
    if MANIFEST not in found:
        return Entry(address, total, len(found), State.WRITING)
    try:
        manifest = _open(ref, f"{folder}/{MANIFEST}", found[MANIFEST], address, roster, ledger)
        sent = {MANIFEST: found[MANIFEST]} | {entry.name: entry.size for entry in manifest.objects}
        if found.items() < sent.items():
            return Entry(address, sum(sent.values()), len(manifest.parts), State.REMOVED)
        check_listing(manifest, found, folder)
    except PeerError as error:
        return Entry(address, total, len(found) - 1, State.REFUSED, f"{type(error).__name__}: {error.message}")
    return Entry(address, total, len(manifest.parts), State.VERIFIED)


def _open(ref: StoreRef, name: str, size: int, address: Address, roster: Roster, ledger: Ledger | None) -> Manifest:
    if address.sender not in {party.name for party in roster}:
        raise Tampered(
            f"The manifest {name} claims to come from {address.sender!r}, who takes no part in this pipeline."
        )
    (ledger or Ledger("", "", roster)).check_manifest_size(name, size)
    try:
        data = ref.open().read_range(name, 0, size)
    except Missing:
        data = b""
    if ledger is not None:
        return ledger.open(address, data, name)
    return open_manifest(data, roster[address.sender].identity, name, Limits(), address)
