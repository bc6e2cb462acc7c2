"""RSA blind signatures for repeated small queries of one guest against one large table of one host.

The protocol of ``rsa_blind`` (De Cristofaro, Tsudik, FC 2010), cut in two: what depends on the host's table alone is
done once per *epoch* (see ``rsa_epochs``), and a run signs the guest's ids only. The tags travel in the first run of an
epoch, and the guest keeps them.

Adversary: semi-honest parties that do not collude; one guest and one host.

Learned, as in ``rsa_blind``: each other's row counts, and the intersection; the guest learns it first. Beyond that,
since salt, key and tags stay the same for an epoch (``policy.cache_days`` of the host):

- The guest sees that two runs use one epoch, hence that the host's table has not changed, and an id has the same tag
  in both. The guest's blinds are fresh, so the host cannot link blinded ids; results it learns anyway.
- Every value that the host signs is a test of one id against the kept tags, now or later. A guest that cheats can put
  other ids in place of its rows and dummies and so, over many runs, enumerate the host's table. What binds it is the
  host's ``max_cached_ids_per_day``: all values that are signed for a peer in a UTC day, dummies included, over all
  tables and pipelines. Beyond it nothing is signed.
- Whoever has the tags and the epoch's key (the seed, which the host's identity key opens) can test any id against the
  whole table, until the epoch is dropped and beyond.
- The guest knows the salt before its table is frozen. It could choose ids that overfill a bucket, which stops its own
  run and tells it nothing. The host draws the salt alone: one that overfills a bucket of a guest of many buckets
  would need hundreds of its ids to fall together, which no search finds.

No key serves two guests: an epoch, its hashes and its proof are bound to one guest's identity key.

| tag | from -> to | content | rows | bytes per row |
|---|---|---|---|---|
| epoch | host -> guest | name, times, key with proof, salt, sizes, digest of all tags; part limit in rows | | |
| query | guest -> host | {rows, part_rows, holds}: holds says that it has the tags of this epoch | | |
| tags | host -> guest | as in ``rsa_blind``, the epoch for the run; unless the guest holds them | host | 12 |
| blinded | guest -> host | y = H(id) r^e, r uniform in Z_n*, fresh in every run; dummies | guest | bits / 8 |
| signed | host -> guest | y^d in the same order, released after their product was checked | guest | bits / 8 |
| matched | guest -> host | places of common people's tags, in digest order; then -1; not with ``result: guest`` | \
guest | 8 |
| result | guest -> host | {rows} of the intersection; with ``result: guest`` {} | | |

Buckets and parts of a run follow from the guest's rows, those of an epoch from the host's; both from one salt, so that
a range of digests is a few buckets of either. A guest of at most ``bucket_rows`` ids has one bucket and no dummies.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from fedspark.conf.options.psi import PsiSettings
from fedspark.crypto.hashing import TAG_BYTES, bucket_of
from fedspark.crypto.rsa import RsaKey
from fedspark.errors import Mismatch, StoreError
from fedspark.exchange.columns import from_peer, unpack_values, values_of
from fedspark.exchange.mailbox import Incoming, Outgoing, Receipt
from fedspark.exchange.manifest import MAX_PARTS
from fedspark.party import Party
from fedspark.psi import rsa_epochs as epochs
from fedspark.psi.agree import check_announced, pin_table, receive_parts, refuse_many
from fedspark.psi.align import Alignment, PartFiles, Source, finish, part_files
from fedspark.psi.daily_limit import count_ids
from fedspark.psi.distribute import distribute
from fedspark.psi.epoch_places import (
    Prepared,
    TagFiles,
    find_in_epoch,
    pack_places,
    refused,
    rows_at,
    unpack_places,
)
from fedspark.psi.matching import (
    Joining,
    ask_and_match,
    bucket_tables,
    find_tags,
    hear_nothing,
    join_and_tell,
    keep_told,
    send_wave,
    tags_of,
    write_places,
)
from fedspark.psi.rsa_blind import (
    RsaPair,
    Signing,
    allowed_bits,
    blind_part,
    received_residues,
    sign_part,
    unblind_bucket,
)
from fedspark.psi.rsa_epochs import Epoch
from fedspark.psi.sizes import MAX_ROWS, Plan, Wave, affordable_part_rows, make_plan
from fedspark.psi.tally import Tally
from fedspark.run import Run

# ---- part tasks: what travels to an executor, and what runs there ----------------------------------------------------


@dataclass(frozen=True)
class Holding:
    """Guest's context for the host's tags, which it keeps."""

    epoch: Plan
    host: str
    tags: Incoming
    files: TagFiles


@dataclass(frozen=True)
class Looking:
    """Guest's context for the host's answers."""

    pair: RsaPair
    epoch: Plan
    signed: Incoming
    files: TagFiles
    places: PartFiles


@dataclass(frozen=True)
class Keeping:
    """Host's context for the result."""

    plan: Plan
    guest: str
    host: str
    table: Prepared
    matched: Incoming
    aligned: PartFiles


def hold_part(holding: Holding, part: int) -> str:
    """Check and keep the host's tags of one part; returns their SHA-256."""
    epoch, data = holding.epoch, holding.tags.read(part)
    values = unpack_values(data, "tags", epoch.values_per_part(holding.host), TAG_BYTES)
    for bucket in values.reshape(epoch.buckets_per_part, -1, TAG_BYTES):
        find_tags(bucket[:0], bucket)  # that they ascend
    return holding.files.write(part, data)


def send_tags(files: TagFiles, outgoing: Outgoing, part: int) -> tuple[Receipt, None]:
    return outgoing.write(part, files.read(part)), None


def look_part(looking: Looking, part: int) -> int:
    """Find our rows of one part in the epoch; returns how many are there."""
    pair, found = looking.pair, []
    padded = pair.plan.padded[pair.guest]
    signed = received_residues(pair, looking.signed, "signed", pair.host, part)
    for index, rows in enumerate(bucket_tables(pair.prepared, part, ["digest", "key"])):
        ids = rows["key"].to_pylist()
        answers = signed[index * padded : (index + 1) * padded]
        with from_peer("signed", pair.host):
            signatures = unblind_bucket(pair.public, pair.bucket_key(part, index), pair.hashes(ids), answers)
        tags = tags_of(pair.context, ids, signatures)
        found.append(find_in_epoch(looking.epoch, pair.host, looking.files, tags, values_of(rows["digest"])))
    return write_places(looking.places, part, found)


def tell_part(context: tuple[Joining, str], outgoing: Outgoing, part: int) -> tuple[Receipt, None]:
    """Name the places of the common people's tags; a part has room for as many as we have rows in it, and dummies."""
    joining, host = context
    (count,) = (joining.plan.values_per_part(guest) for guest in joining.plan.padded)  # the plan is of our rows alone
    found = [table["place"].to_numpy() for table in bucket_tables(joining.places[host], part)]
    return outgoing.write(part, pack_places(np.concatenate([place[place >= 0] for place in found]), count)), None


def keep_part(keeping: Keeping, part: int) -> int:
    """Write our rows of the common people of one part, in the run's buckets; returns how many."""
    plan, epoch = keeping.plan, keeping.table.plan
    data = keeping.matched.read(part)
    places = unpack_places(data, plan.values_per_part(keeping.guest), epoch.values(keeping.host))
    rows = rows_at(keeping.table, epoch.padded[keeping.host], places)
    bucket, numbers = bucket_of(values_of(rows["digest"]), plan.buckets), np.asarray(plan.buckets_of(part))
    if len(bucket) and (bucket[0] < numbers[0] or bucket[-1] > numbers[-1]):
        raise refused("it marks people of another part")
    rows = rows.set_column(rows.column_names.index("bucket"), "bucket", pa.array(bucket))
    starts, ends = np.searchsorted(bucket, numbers, "left"), np.searchsorted(bucket, numbers, "right")
    keeping.aligned.write(part, (rows.slice(start, end - start) for start, end in zip(starts, ends, strict=True)))
    return rows.num_rows


# ---- the two roles ---------------------------------------------------------------------------------------------------


def guest(run: Run, options: PsiSettings, source: Source) -> Alignment:
    """Intersect with the host's epoch; raises PolicyRefused, before anything is sent, above ``max_peer_rows``,
    and before anything is told, below this party's ``min_intersection``.
    """
    bits, (host,) = allowed_bits(run, options), run.roster.hosts
    pin_table(run, source, {"rows": source.rows, "snapshot": source.snapshot})
    offer = run.receive("epoch", host).json()
    epoch = epochs.received(run, _field(offer, "epoch", dict, host), options.table, host, bits)
    refuse_many(run, epoch.plan.rows)
    mine = {"rows": source.rows, "part_rows": _part_rows(source, options, bits)}
    holds = {"holds": epochs.holds(run, options.table, host, epoch)}
    query = run.once("psi/query", lambda: {**mine, **holds})
    run.send("query", host, query)

    if query["holds"] and not epochs.holds(run, options.table, host, epoch):
        raise StoreError(
            f"The tags of epoch {epoch.name} of {host.name}, which we said to hold, are not there any more.",
            remedy="Start a new run (another label) at all parties: it gets them again.",
        )

    limits = [query["part_rows"], _positive(offer, "part_rows", host)]
    plan = query_plan(run, epoch, source.rows, limits, options.bucket_rows)
    files = epochs.kept_tags(run, options.table, host, epoch)
    if not query["holds"]:
        _hold_tags(run, options.table, host, epoch, files)
    prepared = distribute(run, source, plan)

    context = epochs.context_of(run, options.table, host, epoch.name, epoch.plan.salt)
    key = run.subkey("blinded", run.me.name, host.name)
    pair = RsaPair(plan, context, run.me.name, host.name, prepared, key, epoch.public)
    places = part_files(run, f"places-{host.name}")

    def looking(host: Party, wave: Wave) -> Looking:
        return Looking(pair, epoch.plan, receive_parts(run, "signed", host, plan, wave), files, places)

    ask_and_match(run, plan, "blinded", "blind ids", blind_part, {host: pair}, look_part, looking)
    return join_and_tell(run, options, source, plan, prepared, {host.name: places}, tell_part)


def host(run: Run, options: PsiSettings, source: Source) -> Alignment | Tally:
    """Answer the guest from the epoch; raises PolicyRefused, before anything is signed, above ``max_peer_rows`` or
    ``max_cached_ids_per_day``, and below ``min_intersection``, when the guest already knows the result.
    """
    bits, peer = allowed_bits(run, options), run.roster.guest
    pin_table(run, source, {"rows": source.rows, "snapshot": source.snapshot})
    kept = epochs.for_guest(run, options, source)
    epoch, limit = kept.epoch, run.once("psi/part_rows", lambda: _part_rows(source, options, bits))
    run.send("epoch", peer, {"epoch": epoch.to_json(), "part_rows": limit})

    query = run.receive("query", peer).json()
    rows = _field(query, "rows", int, peer)
    refuse_many(run, {peer.name: rows})
    plan = query_plan(run, epoch, rows, [_positive(query, "part_rows", peer), limit], options.bucket_rows)
    count_ids(run, peer, plan.values(peer.name))
    tag_waves = [] if _field(query, "holds", bool, peer) else epoch.plan.waves
    for wave in tag_waves:
        send_wave(run, "tags", peer, "send tags", send_tags, epoch.plan, wave, lambda: kept.tags)

    pair = RsaPair(plan, kept.context, peer.name, run.me.name, kept.table.prepared, b"", epoch.public)
    for wave in plan.waves:
        make = partial(_signing, run, pair, kept.key, wave)
        send_wave(run, "signed", peer, "sign ids", sign_part, plan, wave, make, whose=peer)

    aligned = part_files(run, "aligned")
    found = None
    if options.result == "both":
        matched = receive_parts(run, "matched", peer, plan)
        found = keep_told(run, plan, keep_part, Keeping(plan, peer.name, run.me.name, kept.table, matched, aligned))
    else:
        hear_nothing(run)
    read = [("signed", wave) for wave in plan.waves] + [("tags", wave) for wave in tag_waves]
    for tag, wave in read:
        run.remove_read(tag, peer, round=wave.number)
    return Tally.of(source, plan, None) if found is None else finish(run, source, plan, aligned, found, [])


def query_plan(run: Run, epoch: Epoch, rows: int, part_rows: list[int], bucket_rows: int) -> Plan:
    """The plan of one query: buckets and parts as ``rows`` ids of the guest need them, under the epoch's salt."""
    guest = run.roster.guest.name
    check_announced(run, {guest: rows, **epoch.plan.rows})
    plan = make_plan({guest: rows}, part_rows, bucket_rows, epoch.plan.salt)
    if plan.parts > MAX_PARTS:
        raise Mismatch(
            f"A query of {rows:,} ids would take {plan.parts:,} parts; a message has {MAX_PARTS:,} at most.",
            remedy="Raise bucket_rows in the pipeline file, or ask whose part limit is so small.",
        )
    return dataclasses.replace(plan, rows={guest: rows, **epoch.plan.rows})


def _hold_tags(run: Run, table: str, host: Party, epoch: Epoch, files: TagFiles) -> None:
    def hold() -> list[str]:
        digests = []
        for wave in epoch.plan.waves:
            holding = Holding(epoch.plan, host.name, receive_parts(run, "tags", host, epoch.plan, wave), files)
            rows, parts = epoch.plan.rows[host.name], epoch.plan.parts
            digests += run.parts("keep tags", hold_part, wave.parts, holding, rows=rows, of=parts)
        epochs.keep(run, table, host, epoch, digests)
        return digests

    run.once("psi/held", hold)


def _signing(run: Run, pair: RsaPair, key: RsaKey, wave: Wave) -> Signing:
    return Signing(pair, key, receive_parts(run, "blinded", run.roster.guest, pair.plan, wave))


def _part_rows(source: Source, options: PsiSettings, bits: int) -> int:
    return min(options.bucket_rows, affordable_part_rows(source.row_bytes, bits // 8))


def _field(message: Any, name: str, kind: type[Any], sender: Party) -> Any:
    """A field of an opened message; Mismatch when it is missing or of another type, or a number is out of range."""
    value: Any = message.get(name) if isinstance(message, dict) else None
    if type(value) is not kind or (kind is int and not 0 <= value <= MAX_ROWS):
        raise Mismatch(
            f"A message of {sender.name} is malformed: its field {name} must be {kind.__name__}, in range.",
            remedy="Ask them which fedspark version they run.",
        )
    return value


def _positive(message: Any, name: str, sender: Party) -> int:
    return max(1, int(_field(message, name, int, sender)))
