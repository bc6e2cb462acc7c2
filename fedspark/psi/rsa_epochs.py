"""Epochs: what a host keeps of one table for one guest, so that it signs its own ids once and not in every query.

An epoch is an RSA key, a salt, the table in prepared part files under that salt, and the sorted tags of all its ids.
They belong together: whatever ends one of them ends all. An epoch ends when the host's ``cache_days`` are over, when
the table's content is no longer that of its snapshot, when host or guest has another identity key, when the pipeline
asks for other sizes, when fedspark has another protocol version, or when the host drops it; the next query makes the
next one. Everything in it follows from a seed that is drawn for it and kept sealed to the host's identity key.

Runs that began with an epoch may still need it when it ends: it stays for the party's ``deadline_hours``, at host and
guest, and the first query after that removes it. A run that takes longer, or whose epoch is dropped by hand, says so.

In the host's workspace, under ``psi-cache/PROJECT/PIPELINE/TABLE/GUEST/EPOCH/``:

| path | content |
|---|---|
| seed.sealed | 32 secret bytes |
| begun.json | what the epoch is bound to, and when it began: written before the work, which so can be taken up again |
| steps/epoch/psi/{prepared,order,tags}/ | rows by bucket; which row a tag belongs to; tags as they are sent |
| epoch.json | the document that a guest gets: written last |
| ended.json | since when, and why, no new run uses it |

The guest keeps, under the host's name in the same place of its own workspace, epoch.json and the tags.

The context of all hashes and of the key's proof names epoch, salt, project, pipeline, table, and the identity keys of
host and guest, and the protocol version: a document that was made for one guest, table or pipeline, or by software that
computes otherwise, passes for no other.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from fedspark.conf.options.psi import PsiSettings
from fedspark.crypto import rsa
from fedspark.crypto.randomness import content_digest
from fedspark.crypto.rsa import RsaKey, RsaPublic
from fedspark.errors import CryptoError, Mismatch, StoreError
from fedspark.exchange.columns import pack_values
from fedspark.exchange.hello import PROTOCOL_VERSION
from fedspark.exchange.manifest import MAX_PARTS
from fedspark.exchange.signed import canonical_json
from fedspark.party import Party
from fedspark.psi import cache
from fedspark.psi.align import Source, part_files
from fedspark.psi.distribute import distribute
from fedspark.psi.epoch_places import Prepared, TagFiles
from fedspark.psi.matching import sort_tags
from fedspark.psi.rsa_blind import RsaPair, Tagging, part_tags
from fedspark.psi.sizes import MAX_PART_ROWS, MAX_ROWS, Plan, affordable_part_rows, make_plan, padded_rows
from fedspark.run import Run, Workspace

DOCUMENT = "epoch.json"
BEGUN = "begun.json"
ENDED = "ended.json"
SEED = "seed.sealed"
_STEP = "epoch"
_NAME_BYTES = 16
_SALT_BYTES = 32
_NUMBERS = ("created", "expires", "buckets", "buckets_per_part", "rows", "padded")


# ---- what a guest is told --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Epoch:
    """The document of an epoch: its key with proof, the plan of the host's table, and the digest of all tags."""

    name: str
    created: int
    expires: int
    public: RsaPublic
    proof: bytes = field(repr=False)
    plan: Plan
    tags: str

    def to_json(self) -> dict[str, Any]:
        ((host, rows),) = self.plan.rows.items()
        return {
            "epoch": self.name,
            "created": self.created,
            "expires": self.expires,
            "key": self.public.to_json(),
            "proof": self.proof.hex(),
            "salt": self.plan.salt.hex(),
            "buckets": self.plan.buckets,
            "buckets_per_part": self.plan.buckets_per_part,
            "rows": rows,
            "padded": self.plan.padded[host],
            "tags": self.tags,
        }

    @staticmethod
    def from_json(value: Any, host: Party, bits: int) -> Epoch:
        """What ``host`` sent, checked but for the proof. ValueError, TypeError, KeyError or CryptoError where a field
        is missing, of another type or out of range.
        """
        numbers = {name: value[name] for name in _NUMBERS}
        if any(type(number) is not int for number in numbers.values()) or len(value) != len(numbers) + 5:
            raise ValueError("fields or their types")
        created, expires, buckets, each, rows, padded = numbers.values()
        if not (0 <= rows <= MAX_ROWS and 1 <= each <= buckets and buckets & (buckets - 1) == each & (each - 1) == 0):
            raise ValueError("numbers of rows and buckets")
        if buckets // each > MAX_PARTS or padded != padded_rows(rows, buckets) or padded * each > 2 * MAX_PART_ROWS:
            raise ValueError("sizes of buckets and parts")
        name, salt, tags = value["epoch"], bytes.fromhex(value["salt"]), bytes.fromhex(value["tags"])
        if (len(bytes.fromhex(name)), len(salt), len(tags)) != (_NAME_BYTES, _SALT_BYTES, 32):
            raise ValueError("sizes of name, salt or digest")
        return Epoch(
            name=bytes.fromhex(name).hex(),
            created=created,
            expires=expires,
            public=RsaPublic.from_json(dict(value["key"]), bits),
            proof=bytes.fromhex(value["proof"]),
            plan=Plan(salt, buckets, each, {host.name: rows}, {host.name: padded}),
            tags=tags.hex(),
        )


def context_of(run: Run, table: str, host: Party, name: str, salt: bytes) -> bytes:
    """32 bytes that name an epoch and those who share it, in every hash."""
    words = ["fedspark psi epoch", PROTOCOL_VERSION, run.pipeline.project, run.pipeline.pipeline, table, name]
    identities = [host.identity, run.roster.guest.identity]
    return content_digest([*(word.encode() for word in words), *identities, salt])


def tags_digest(digests: list[str]) -> str:
    """One digest of the SHA-256 (in hex) of all parts."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()


# ---- the guest's side ------------------------------------------------------------------------------------------------


def received(run: Run, message: Any, table: str, host: Party, bits: int) -> Epoch:
    """The epoch that ``host`` names in this run. Mismatch unless it is well-formed, its key is proven for this epoch
    and this pair, and it is the one that we know where we know one of that name.
    """
    try:
        epoch = Epoch.from_json(message, host, bits)
        rsa.verify_proof(epoch.public, context_of(run, table, host, epoch.name, epoch.plan.salt), epoch.proof)
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        raise Mismatch(
            f"The message 'epoch' of {host.name} is malformed ({error}).",
            remedy="Ask them which fedspark version they run.",
        ) from None
    except CryptoError as error:
        raise Mismatch(f"The epoch of {host.name} is refused: {error.message}", remedy=error.remedy) from None
    kept = kept_place(run, table, host, epoch.name)
    if kept.exists(DOCUMENT) and kept.read_json(DOCUMENT) != epoch.to_json():
        raise Mismatch(
            f"{host.name} names epoch {epoch.name}, but with other content than in an earlier run.",
            remedy="Nothing was sent. Ask them: an epoch never changes. They can drop it, and so begin another one.",
        )
    return epoch


def kept_place(run: Run, table: str, host: Party, name: str) -> Workspace:
    """Where the guest keeps the tags of an epoch of ``host``."""
    return Workspace(run.workspace.ref, f"{_home(run, table, host)}/{name}")


def kept_tags(run: Run, table: str, host: Party, epoch: Epoch) -> TagFiles:
    """The guest's copy of the tags."""
    return TagFiles(kept_place(run, table, host, epoch.name), "tags/part-{part:05d}.arrow")


def holds(run: Run, table: str, host: Party, epoch: Epoch) -> bool:
    """Whether the guest has all tags of this epoch."""
    return kept_place(run, table, host, epoch.name).exists(DOCUMENT)


def keep(run: Run, table: str, host: Party, epoch: Epoch, digests: list[str]) -> None:
    """Note that all tags are there; Mismatch when they are not those that the epoch names. Those of epochs
    that ended ``deadline_hours`` ago go.
    """
    place = kept_place(run, table, host, epoch.name)
    if tags_digest(digests) != epoch.tags:
        place.remove("tags")
        raise Mismatch(
            f"The tags of {host.name} are not those of its epoch {epoch.name}.",
            remedy="Nothing of them was kept. Ask them to drop the epoch, and start a new run.",
        )
    place.keep(DOCUMENT, canonical_json(epoch.to_json()))
    for other in _in_home(run, table, host):
        document = other.read_json(DOCUMENT) if other.exists(DOCUMENT) else {}
        if _over(run, document.get("expires", epoch.expires)):
            other.remove("")


def _over(run: Run, ended: int) -> bool:
    """Whether no run can still use an epoch that ended then."""
    return ended + run.party_conf.policy.deadline_hours * 3600 <= cache.now()


# ---- the host's side -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """An epoch as its host has it."""

    epoch: Epoch
    context: bytes
    key: RsaKey = field(repr=False)
    table: Prepared
    tags: TagFiles


@dataclass(frozen=True)
class Storing:
    """Context of the tasks that tag the host's own ids and keep the tags."""

    tagging: Tagging
    tags: TagFiles


def for_guest(run: Run, settings: PsiSettings, source: Source) -> Kept:
    """The epoch that this run uses, made now if there is none that is valid; decided once, also over restarts."""
    chosen = run.once("psi/epoch", lambda: _choose(run, settings, source))
    view = run.aside(f"{_home(run, settings.table, run.roster.guest)}/{chosen['name']}", chosen["name"], b"")
    _refuse_dropped(settings.table, view.workspace)
    return _made(run, settings, source, view.workspace)


def _refuse_dropped(table: str, place: Workspace) -> None:
    if not place.exists(SEED):
        raise StoreError(
            f"The epoch {place.label} of table {table}, with which this run began, is not there any more.",
            remedy="Start a new run (another label) at all parties: it takes or makes another epoch.",
        )


def serves(run: Run, settings: PsiSettings, source: Source) -> bool:
    """Whether a finished epoch is there that this run could use, so that none of our ids has to be signed for it."""
    bound, days = _bound(run, settings, source), run.party_conf.policy.cache_days
    places = _in_home(run, settings.table, run.roster.guest)
    finished = (place for place in places if place.exists(BEGUN) and place.exists(DOCUMENT))
    return any(not _ended(place.read_json(BEGUN), bound, days) for place in finished)


def _choose(run: Run, settings: PsiSettings, source: Source) -> dict[str, str]:
    """The newest valid epoch, finished or begun, or one that begins now; those that no run can still use go."""
    bound = _bound(run, settings, source)
    valid: list[tuple[bool, int, str]] = []
    for place in _in_home(run, settings.table, run.roster.guest):
        if not place.exists(BEGUN):
            continue
        begun = place.read_json(BEGUN)
        why = _ended(begun, bound, run.party_conf.policy.cache_days)
        if why:
            _end(run, settings.table, place, min(begun["expires"], cache.now()), why)
        else:
            place.store.delete(place.name(ENDED))  # a table that is as it was again
            valid.append((place.exists(DOCUMENT), begun["created"], place.label))
    if valid:
        return {"name": max(valid)[2]}
    name = run.subkey("epoch name")[:_NAME_BYTES].hex()
    home = _home(run, settings.table, run.roster.guest)
    view = run.aside(f"{home}/{name}", name, b"")
    view.keep_secret(SEED, run.subkey("epoch seed"))
    created = cache.now()
    times = {"created": created, "expires": created + run.party_conf.policy.cache_days * cache.DAY_SECONDS}
    view.workspace.create(BEGUN, canonical_json({**bound, **times}))
    return {"name": name}


def _end(run: Run, table: str, place: Workspace, since: int, why: str) -> None:
    """Note that an epoch serves no new run, and remove it when none that began before can still use it."""
    if place.create(ENDED, canonical_json({"since": since, "why": why})):
        run.progress.say(f"epoch {place.label[:8]} of {table} serves no new run: {why}")
    if _over(run, place.read_json(ENDED)["since"]):
        place.remove("")


def _bound(run: Run, settings: PsiSettings, source: Source) -> dict[str, Any]:
    """What must be the same for an epoch to serve: protocol, content of the table, guest, sizes. ``rows`` are for
    people.
    """
    columns = ",".join(source.data.schema.names)
    return {
        "protocol": PROTOCOL_VERSION,
        "snapshot": hashlib.sha256(f"{source.snapshot}|{columns}".encode()).hexdigest(),
        "rows": source.rows,
        "host": run.me.identity.hex(),
        "guest": run.roster.guest.identity.hex(),
        "key_bits": settings.key_bits,
        "bucket_rows": settings.bucket_rows,
    }


def _ended(begun: dict[str, Any], bound: dict[str, Any], days: int) -> str:
    """Why an epoch does not serve any more; empty while it does."""
    if min(begun["expires"], begun["created"] + days * cache.DAY_SECONDS) <= cache.now():
        return f"its {days} days are over"
    if begun.get("protocol") != bound["protocol"]:
        return "fedspark of another protocol version made it"
    for role in ("host", "guest"):
        if begun[role] != bound[role]:
            return f"the {role} has another identity key"
    if (begun["snapshot"], begun["rows"]) != (bound["snapshot"], bound["rows"]):
        return "the table has changed"
    return "" if bound.items() <= begun.items() else "the pipeline asks for other sizes"


def _made(run: Run, settings: PsiSettings, source: Source, place: Workspace) -> Kept:
    """The epoch in ``place``, its remaining work done."""
    seed = run.aside(place.prefix, place.label, b"").read_secret(SEED)
    view = run.aside(place.prefix, place.label, seed).at(_STEP)
    begun, bits = place.read_json(BEGUN), settings.key_bits
    assert bits is not None, "PsiSettings fills it in for this protocol"
    key = RsaKey.generate(view.stream("rsa key"), bits)
    limit = min(settings.bucket_rows, affordable_part_rows(source.row_bytes, bits // 8))
    plan = make_plan({run.me.name: begun["rows"]}, [limit], settings.bucket_rows, view.subkey("salt"))
    context = context_of(run, settings.table, run.me, place.label, plan.salt)
    prepared, order = part_files(view, "prepared"), part_files(view, "order")
    tags = TagFiles(place, view.path("psi/tags/part-{part:05d}.arrow"))
    if not place.exists(DOCUMENT):
        run.progress.say(f"a new epoch {place.label[:8]} of {settings.table} for {run.roster.guest.name}")
        if not place.exists(view.path("psi/prepared.json")):
            place.remove(view.path("psi/scattered"))  # of another staging of the same rows
        distribute(view, source, plan)
        pair = RsaPair(plan, context, run.roster.guest.name, run.me.name, prepared, view.subkey("tags"), key.public)
        storing = Storing(Tagging(pair, key, order), tags)
        work = functools.partial(
            view.parts, "tag own ids", store_part, plan.parts, storing, rows=source.rows, buckets=plan.buckets_per_part
        )
        digest = tags_digest(view.once("psi/tagged", work))
        proof = rsa.prove(key, context)
        made = Epoch(place.label, begun["created"], begun["expires"], key.public, proof, plan, digest)
        _refuse_dropped(settings.table, place)  # meanwhile
        place.keep(DOCUMENT, canonical_json(made.to_json()))
    epoch = Epoch.from_json(place.read_json(DOCUMENT), run.me, bits)
    if epoch.public != key.public:
        raise StoreError(
            f"The key of epoch {place.label} does not follow from its seed any more: other software made it.",
            remedy=f"Drop it: fedspark psi-cache --drop {place.label[:8]} (and --party, --pipeline); start a new run.",
        )
    return Kept(epoch, context, key, Prepared(epoch.plan, prepared, order), tags)


def store_part(storing: Storing, part: int) -> str:
    """Tag our ids of one part and keep the tags; returns their SHA-256. Not again where they are there already."""
    if storing.tags.there(part):
        return hashlib.sha256(storing.tags.read(part)).hexdigest()
    pair, order, columns, orders = storing.tagging.pair, storing.tagging.order, [], []
    for index, mine in enumerate(part_tags(storing.tagging, part)):
        column, rows = sort_tags(mine, pair.bucket_key(part, index), pair.plan.padded[pair.host])
        columns.append(column)
        orders.append(pa.table({"row": rows}))
    order.write(part, orders)
    return storing.tags.write(part, pack_values("tags", np.concatenate(columns)))


def _home(run: Run, table: str, peer: Party) -> str:
    return f"{cache.FOLDER}/{run.pipeline.project}/{run.pipeline.pipeline}/{table}/{peer.name}"


def _in_home(run: Run, table: str, peer: Party) -> Iterator[Workspace]:
    """The places of all epochs of a table with ``peer``."""
    home = _home(run, table, peer)
    names = {name.removeprefix(f"{home}/").split("/")[0] for name, _ in run.workspace.store.list(home)}
    return (Workspace(run.workspace.ref, f"{home}/{name}") for name in sorted(names))
