"""Private set intersection by RSA blind signatures, for one guest and any number of hosts.

E. De Cristofaro, G. Tsudik: Practical private set intersection protocols with linear complexity, Financial
Cryptography 2010 (figure 4), on Chaum's blind signatures. A host holds a key (n, e = 65537, d) made for this run.
H(id)^d is a keyed function of an id that only the host can compute; the guest has it evaluated on its ids without
showing them, and compares.

Adversary: semi-honest parties that do not collude. With several hosts the guest does this with each of them; buckets,
salt and plan are common to all, and the result is what all parties share.

Learned. All data parties: each other's row counts, and the intersection (who, among their own people, everybody has).
The guest: also its intersection with each single host, and it learns the result first. A host: nothing of the other
hosts but their row counts. Nobody learns how many rows a bucket has: buckets are padded. Keys are fresh in every run,
so runs cannot be linked by signatures or tags. A guest that cheats can put other ids in place of its dummies and
rows, and so test at most as many as it announced, rounded up by padding.

| tag | from -> to | content | rows | bytes per row |
|---|---|---|---|---|
| size, nonce | all data parties | see ``agree`` | | |
| key | host -> guest | n, bits, H'(n, e, run, i)^d for i = 1..8 | | |
| tags | host -> guest | BLAKE2b-96(run, id, H(id)^d), dummies random; sorted in each bucket | host | 12 |
| blinded | guest -> host | y = H(id) r^e, r uniform in Z_n*; then dummies uniform in Z_n* | guest | bits / 8 |
| signed | host -> guest | y^d in the same order, released after (y^d)^e = y was checked | guest | bits / 8 |
| matched | guest -> host | whether the tag at this place belongs to everybody | host | 1 / 8 |
| result | guest -> host | {rows} of the intersection | | |

Rows of a message: the sender's or receiver's buckets, one after the other, each padded to its public size.

Every random number comes from the sender's run under a label of pair, purpose, part, bucket and content, so a task
that runs twice writes the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from fedspark.conf.options.psi import PsiSettings
from fedspark.crypto import rsa
from fedspark.crypto.hashing import TAG_BYTES, tag96
from fedspark.crypto.randomness import Stream, content_digest, derive
from fedspark.crypto.rsa import RsaKey, RsaPublic
from fedspark.errors import CryptoError, Mismatch, PeerError, PolicyRefused
from fedspark.exchange.columns import Values, from_peer, pack_flags, pack_values, unpack_flags, unpack_values
from fedspark.exchange.mailbox import Incoming, Outgoing, Receipt
from fedspark.party import Party
from fedspark.psi.agree import agree, receive_parts, refuse_few
from fedspark.psi.align import Alignment, Mask, PartFiles, Source, align_part, distribute, finish, part_files
from fedspark.psi.sizes import Plan
from fedspark.run import Run

# ---- the mathematics, one bucket at a time --------------------------------------------------------------------------


Residues = Sequence[Any]
"""Numbers modulo n (gmpy2's, or Python's own)."""


def draw_blinds(public: RsaPublic, key: bytes, hashes: Residues) -> list[int]:
    """r for every H(id) of one bucket, uniform in Z_n*, from the bucket's key: other content, other blinds."""
    return Stream(derive(key, "blind", content_digest(hashes))).units(public.n, len(hashes))


def blind_bucket(public: RsaPublic, key: bytes, hashes: Residues, padded: int) -> Values:
    """uint8[padded, bits/8]: H(id) r^e row by row, then dummies. All of them are uniform in Z_n*."""
    dummies = Stream(derive(key, "dummy", content_digest(hashes))).units(public.n, padded - len(hashes))
    return rsa.to_array(public, [*rsa.blind(public, hashes, draw_blinds(public, key, hashes)), *dummies])


def unblind_bucket(public: RsaPublic, key: bytes, hashes: Residues, signed: Residues) -> Values:
    """uint8[rows, bits/8]: H(id)^d = s / r for the real rows; CryptoError unless (s / r)^e = H(id) for every one."""
    r = draw_blinds(public, key, hashes)
    signatures = rsa.unblind(public, signed[: len(r)], rsa.batch_inverse(public.n, r))
    rsa.check_signatures(public, hashes, signatures)
    return rsa.to_array(public, signatures)


def tags_of(context: bytes, ids: Sequence[str], signatures: Values) -> Values:
    """uint8[rows, 12]: what guest and host compare."""
    return tag96(context, ids, [row.tobytes() for row in signatures])


def sort_tags(tags: Values, key: bytes, padded: int) -> tuple[Values, np.ndarray]:
    """One bucket's tags filled with random dummies and sorted by value, and for each place our row (int32) or -1 for
    a dummy.
    """
    count = padded - len(tags)
    random = Stream(derive(key, "dummy", content_digest([tags.tobytes()]))).bytes(TAG_BYTES * count)
    every = np.concatenate([tags, np.frombuffer(random, np.uint8).reshape(count, TAG_BYTES)])
    order = np.argsort(_words(every), kind="stable")
    return every[order], np.where(order < len(tags), order, -1).astype(np.int32)


def find_tags(mine: Values, theirs: Values) -> np.ndarray:
    """int32[len(mine)]: the place of each of our tags among the peer's sorted ones, or -1. PeerError unless they
    ascend strictly.
    """
    wanted, sorted_tags = _words(mine), _words(theirs)
    if (sorted_tags[1:] <= sorted_tags[:-1]).any():
        raise PeerError(
            "A bucket of the message 'tags' is refused: its tags do not ascend.", remedy="Nothing was used."
        )
    if not len(sorted_tags):
        return np.full(len(wanted), -1, np.int32)
    place = np.minimum(np.searchsorted(sorted_tags, wanted), len(sorted_tags) - 1)
    return np.where(sorted_tags[place] == wanted, place, -1).astype(np.int32)


def _words(tags: Values) -> np.ndarray:
    # numpy ignores trailing zeros of byte strings, which is harmless here: all have one width.
    return np.ascontiguousarray(tags).view(f"S{TAG_BYTES}").reshape(-1)


# ---- part tasks: what travels to an executor, and what runs there ---------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """What all tasks of one guest-host pair share. ``key`` is this party's subkey for the message that is written."""

    plan: Plan
    public: RsaPublic
    context: bytes
    guest: str
    host: str
    prepared: PartFiles
    key: bytes = field(repr=False)

    def ids(self, part: int) -> list[list[str]]:
        """Our ids of one part, bucket by bucket in digest order."""
        return [bucket["key"].to_pylist() for bucket in _tables(self.prepared, part, ["key"])]

    def bucket_key(self, part: int, index: int) -> bytes:
        return derive(self.key, part, self.plan.buckets_of(part)[index])

    def hashes(self, ids: Sequence[str]) -> Residues:
        return rsa.full_domain_hash(self.public, self.context, ids)


@dataclass(frozen=True)
class Matching:
    """Guest's context for one host: its answers, and where the places of our rows among its tags are kept."""

    pair: Pair
    signed: Incoming
    tags: Incoming
    places: PartFiles


@dataclass(frozen=True)
class Joining:
    """Guest's context when all hosts have answered."""

    plan: Plan
    places: dict[str, PartFiles]
    prepared: PartFiles
    aligned: PartFiles


@dataclass(frozen=True)
class Tagging:
    """Host's context for its own ids; ``order`` keeps which row a tag belongs to. The private key lives for this run
    only.
    """

    pair: Pair
    key: RsaKey = field(repr=False)
    order: PartFiles


@dataclass(frozen=True)
class Signing:
    """Host's context for the guest's blinded ids."""

    pair: Pair
    key: RsaKey = field(repr=False)
    blinded: Incoming


@dataclass(frozen=True)
class Keeping:
    """Host's context when the guest has told the result."""

    pair: Pair
    order: PartFiles
    matched: Incoming
    aligned: PartFiles


def blind_part(pair: Pair, outgoing: Outgoing, part: int) -> tuple[Receipt, None]:
    padded = pair.plan.padded[pair.guest]
    columns = []
    for index, ids in enumerate(pair.ids(part)):
        hashes = pair.hashes(ids)
        columns.append(blind_bucket(pair.public, pair.bucket_key(part, index), hashes, padded))
    return outgoing.write(part, pack_values("blinded", np.concatenate(columns))), None


def tag_part(tagging: Tagging, outgoing: Outgoing, part: int) -> tuple[Receipt, None]:
    pair, columns, orders = tagging.pair, [], []
    for index, ids in enumerate(pair.ids(part)):
        signatures = rsa.to_array(pair.public, rsa.sign(tagging.key, pair.hashes(ids)))
        tags = tags_of(pair.context, ids, signatures)
        tags, order = sort_tags(tags, pair.bucket_key(part, index), pair.plan.padded[pair.host])
        columns.append(tags)
        orders.append(pa.table({"row": order}))
    tagging.order.write(part, orders)
    return outgoing.write(part, pack_values("tags", np.concatenate(columns))), None


def sign_part(signing: Signing, outgoing: Outgoing, part: int) -> tuple[Receipt, None]:
    pair = signing.pair
    blinded = _residues(pair, signing.blinded, "blinded", pair.guest, part)
    signed = rsa.to_array(pair.public, rsa.sign(signing.key, blinded))
    return outgoing.write(part, pack_values("signed", signed)), None


def match_part(matching: Matching, part: int) -> int:
    """Find our rows among one host's tags; returns how many are there."""
    pair, found = matching.pair, []
    padded, theirs = pair.plan.padded[pair.guest], pair.plan.padded[pair.host]
    signed = _residues(pair, matching.signed, "signed", pair.host, part)
    tags = unpack_values(matching.tags.read(part), "tags", pair.plan.values_per_part(pair.host), TAG_BYTES)
    for index, ids in enumerate(pair.ids(part)):
        hashes = pair.hashes(ids)
        answers = signed[index * padded : (index + 1) * padded]
        with from_peer("signed", pair.host):
            signatures = unblind_bucket(pair.public, pair.bucket_key(part, index), hashes, answers)
        mine = tags_of(pair.context, ids, signatures)
        found.append(pa.table({"place": find_tags(mine, tags[index * theirs : (index + 1) * theirs])}))
    matching.places.write(part, found)
    return sum(int((table["place"].to_numpy() >= 0).sum()) for table in found)


def join_part(joining: Joining, part: int) -> int:
    """Keep our rows that every host has; returns how many."""
    return align_part(joining.prepared, joining.aligned, part, [mask for mask, _ in _joined(joining, part)])


def tell_part(context: tuple[Joining, str], outgoing: Outgoing, part: int) -> tuple[Receipt, None]:
    """Mark the common people among one host's tags."""
    joining, host = context
    columns = []
    for mask, places in _joined(joining, part):
        flags = np.zeros(joining.plan.padded[host], np.bool_)
        flags[places[host][mask]] = True
        columns.append(flags)
    return outgoing.write(part, pack_flags("matched", np.concatenate(columns))), None


def keep_part(keeping: Keeping, part: int) -> int:
    """The host's side of ``join_part``: marked tags back to rows."""
    pair = keeping.pair
    flags = unpack_flags(keeping.matched.read(part), "matched", pair.plan.values_per_part(pair.host))
    padded, masks = pair.plan.padded[pair.host], []
    orders = [table["row"].to_numpy() for table in _tables(keeping.order, part)]
    for index, order in enumerate(orders):
        rows = order[flags[index * padded : (index + 1) * padded]]
        if (rows < 0).any():
            raise PeerError(
                f"The message 'matched' of {pair.guest} is refused: it marks {int((rows < 0).sum()):,} dummies.",
                remedy="Nothing of it was used. The guest's software is wrong; ask them.",
            )
        mask = np.zeros(int((order >= 0).sum()), np.bool_)
        mask[rows] = True
        masks.append(mask)
    return align_part(pair.prepared, keeping.aligned, part, masks)


def _joined(joining: Joining, part: int) -> list[tuple[Mask, dict[str, np.ndarray]]]:
    """For every bucket: which of our rows all hosts have, and the places of our rows among each host's tags."""
    by_host = {host: [t["place"].to_numpy() for t in _tables(files, part)] for host, files in joining.places.items()}
    buckets = [dict(zip(by_host, places, strict=True)) for places in zip(*by_host.values(), strict=True)]
    return [(np.logical_and.reduce([place >= 0 for place in places.values()]), places) for places in buckets]


def _residues(pair: Pair, incoming: Incoming, tag: str, sender: str, part: int) -> Residues:
    values = unpack_values(incoming.read(part), tag, pair.plan.values_per_part(pair.guest), pair.public.width)
    with from_peer(tag, sender):
        return rsa.from_array(pair.public, values)


def _tables(files: PartFiles, part: int, columns: Sequence[str] | None = None) -> list[pa.Table]:
    source = files.read(part)
    return [source.read(index, columns) for index in range(source.buckets)]


# ---- the two roles --------------------------------------------------------------------------------------------------


def guest(run: Run, options: PsiSettings, source: Source) -> Alignment:
    """Intersect with every host; raises PolicyRefused, before anything is told, below this party's
    ``min_intersection``.
    """
    _refuse_short_key(run, options.key_bits)
    plan = agree(run, source, value_bytes=options.key_bits // 8, bucket_rows=options.bucket_rows)
    prepared = distribute(run, source, plan)

    pairs = {}
    for host in run.roster.hosts:
        public = _receive_key(run, host, options.key_bits)
        key = run.subkey("blinded", run.me.name, host.name)
        pairs[host.name] = pair = Pair(plan, public, _context(run), run.me.name, host.name, prepared, key)
        run.send_parts("blinded", host, "blind ids", blind_part, plan.parts, pair, rows=source.rows)

    places = {host.name: part_files(run, f"places-{host.name}") for host in run.roster.hosts}
    for host in run.roster.hosts:
        signed, tags = receive_parts(run, "signed", host, plan), receive_parts(run, "tags", host, plan)
        matching = Matching(pairs[host.name], signed, tags, places[host.name])
        _total(run, f"psi/matched-{host.name}", "match ids", match_part, plan, matching)

    joining = Joining(plan, places, prepared, part_files(run, "aligned"))
    rows = _total(run, "psi/rows", "align rows", join_part, plan, joining)
    refuse_few(run, rows)
    for host in run.roster.hosts:
        run.send_parts("matched", host, "tell the result", tell_part, plan.parts, (joining, host.name), rows=rows)
        run.send("result", host, {"rows": rows})
    return finish(run, source, plan, joining.aligned, rows)


def host(run: Run, options: PsiSettings, source: Source) -> Alignment:
    """Answer the guest; raises PolicyRefused below this party's ``min_intersection``, when the guest already knows
    the result.
    """
    _refuse_short_key(run, options.key_bits)
    plan = agree(run, source, value_bytes=options.key_bits // 8, bucket_rows=options.bucket_rows)
    prepared = distribute(run, source, plan)

    peer = run.roster.guest
    key = RsaKey.generate(run.stream("rsa key"), options.key_bits)
    proof = rsa.prove(key, _context(run))
    run.send("key", peer, {"key": key.public.to_json(), "proof": proof.hex()})
    subkey = run.subkey("tags", run.me.name, peer.name)
    pair = Pair(plan, key.public, _context(run), peer.name, run.me.name, prepared, subkey)
    order = part_files(run, "order")
    run.send_parts("tags", peer, "tag own ids", tag_part, plan.parts, Tagging(pair, key, order), rows=source.rows)

    signing = Signing(pair, key, receive_parts(run, "blinded", peer, plan))
    run.send_parts("signed", peer, "sign ids", sign_part, plan.parts, signing, rows=plan.values(peer.name))

    keeping = Keeping(pair, order, receive_parts(run, "matched", peer, plan), part_files(run, "aligned"))
    told = run.receive("result", peer).json()
    rows = _total(run, "psi/rows", "align rows", keep_part, plan, keeping)
    if told != {"rows": rows}:
        raise Mismatch(
            f"{peer.name} announced {told} as the result, but marked {rows:,} of our people as common.",
            remedy="Do not use the alignment: the two sides would not have the same rows. Ask the guest.",
        )
    refuse_few(run, rows)
    return finish(run, source, plan, keeping.aligned, rows)


def _refuse_short_key(run: Run, bits: int) -> None:
    limit = run.party_conf.policy.min_key_bits
    if bits < limit:
        raise PolicyRefused(
            f"Step {run.step_name} has RSA keys of {bits} bits; this party's limit min_key_bits is {limit}.",
            remedy="Raise key_bits in the pipeline file, or lower policy.min_key_bits in the party file.",
        )


def _context(run: Run) -> bytes:
    return content_digest([run.id.encode(), run.step_name.encode()])


def _receive_key(run: Run, host: Party, bits: int) -> RsaPublic:
    message = run.receive("key", host).json()
    try:
        public = RsaPublic.from_json(dict(message["key"]), bits)
        rsa.verify_proof(public, _context(run), bytes.fromhex(message["proof"]))
    except (TypeError, KeyError, ValueError):
        raise Mismatch(
            f"The message 'key' of {host.name} is malformed.", remedy="Ask them which fedspark version they run."
        ) from None
    except CryptoError as error:
        raise Mismatch(f"The RSA key of {host.name} is refused: {error.message}", remedy=error.remedy) from None
    return public


def _total(run: Run, name: str, title: str, function: Callable[[Any, int], int], plan: Plan, context: Any) -> int:
    """Sum of what the part tasks return, computed once per run."""
    return run.once(name, lambda: sum(run.parts(title, function, plan.parts, context, rows=plan.rows[run.me.name])))
