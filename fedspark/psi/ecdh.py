"""Private set intersection by Diffie and Hellman's function on Curve25519, for one guest and any number of hosts.

The oblivious function is 2HashDH of S. Jarecki, A. Kiayias, H. Krawczyk (ASIACRYPT 2014; one-more Diffie-Hellman,
random oracles), its use for intersection that of S. Jarecki, X. Liu (SCN 2010). A host holds a scalar b made for this
run. Hash(id, b H(id)) is a keyed function of an id that only the host can compute; the guest has b H(id) evaluated on
its ids without showing them, and compares. Those papers blind every element afresh; here one a serves a bucket, as in
C. Meadows (IEEE S&P 1986) and B. Huberman, M. Franklin, T. Hogg (EC 1999), because one scalar for many points is what
vector code and libraries do fast. H is BLAKE2b-512 and Elligator 2 onto Curve25519; ``crypto.curve`` says why that
map, and what cofactor and inverse ask of scalars.

Adversary: semi-honest parties that do not collude. With several hosts the guest does this with each of them; buckets,
salt and plan are common to all, and the result is what all parties share.

Learned. All data parties: each other's row counts, and the intersection (who, among their own people, everybody has);
with ``result: guest`` hosts learn nothing of it. The guest: also its intersection with each single host, and it learns
the result first. A host: nothing of the other hosts but their row counts. Nobody learns how many rows a bucket has:
buckets are padded. Scalars are fresh in every run, so runs cannot be linked by points or tags. What hides the guest's
ids is DDH on the curve with one scalar a for each host and bucket, not chance alone as in RSA blinding: who could solve
it one day could test ids against a kept message. A guest that cheats can put other ids in place of its dummies and
rows, and so test at most as many as it announced, rounded up by padding. A host that answers with something else than b
y makes people vanish from the result, and that goes unnoticed.

| tag | from -> to | content | rows | bytes per row |
|---|---|---|---|---|
| size, nonce | all data parties | see ``agree`` | | |
| tags | host -> guest | BLAKE2b-96(run, bucket, id, b H(id)), dummies random; sorted in each bucket | host | 12 |
| blinded | guest -> host | y = a H(id); then dummies a H', H' the map of a random hash | guest | 32 |
| evaluated | host -> guest | b y in the same order | guest | 32 |
| matched | guest -> host | whether the tag at this place is common; not sent with ``result: guest`` | host | 1 / 8 |
| result | guest -> host | {rows} of the intersection; with ``result: guest`` {} | | |

Rows of a message: the sender's or receiver's buckets, one after the other, each padded to its public size. A point
that is not below p, not on the curve or of small order is refused on both sides, before anything is made of its
message.

Every random number comes from the sender's run under a label of pair, purpose, part, bucket and content, so a task
that runs twice writes the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from fedspark.conf.options.psi import PsiSettings
from fedspark.crypto.curve import (
    HASH_BYTES,
    POINT_BYTES,
    Hashes,
    Points,
    Scalar,
    check_points,
    hash_ids,
    hash_to_curve,
    inverse_scalar,
    map_to_curve,
    multiply,
)
from fedspark.crypto.randomness import Stream, content_digest, derive
from fedspark.exchange.columns import Values, from_peer, pack_values, unpack_values
from fedspark.exchange.mailbox import Incoming, Outgoing, Receipt
from fedspark.party import Party
from fedspark.psi.agree import agree, receive_parts
from fedspark.psi.align import Alignment, PartFiles, Source, part_files
from fedspark.psi.distribute import distribute
from fedspark.psi.matching import (
    Pair,
    ask_and_match,
    find_places,
    hear_and_keep,
    join_and_tell,
    run_context,
    send_wave,
    tags_of,
    write_tags,
)
from fedspark.psi.sizes import Wave
from fedspark.psi.tally import Tally
from fedspark.run import Run

# ---- the mathematics, one bucket at a time --------------------------------------------------------------------------


def draw_blind(key: bytes, hashes: Hashes) -> Scalar:
    """a of one bucket, from the bucket's key: other content, another scalar."""
    return Scalar.draw_invertible(Stream(derive(key, "blind", content_digest([hashes.tobytes()]))))


def with_dummies(key: bytes, hashes: Hashes, padded: int) -> Hashes:
    """uint8[padded, 64]: the hashes of one bucket, then random ones, which nobody's id has."""
    count = padded - len(hashes)
    random = Stream(derive(key, "dummy", content_digest([hashes.tobytes()]))).bytes(HASH_BYTES * count)
    return np.concatenate([hashes, np.frombuffer(random, np.uint8).reshape(count, HASH_BYTES)])


def blind_bucket(key: bytes, hashes: Hashes, padded: int) -> Points:
    """uint8[padded, 32]: a H(id) row by row, then dummies made alike from random hashes."""
    return multiply(map_to_curve(with_dummies(key, hashes, padded)), draw_blind(key, hashes))


def evaluate(points: Points, b: Scalar) -> Points:
    """uint8[N, 32]: b y row by row; CryptoError, before any product is made, for a y that is no point."""
    check_points(points)
    return multiply(points, b)


def unblind_bucket(key: bytes, hashes: Hashes, evaluated: Points) -> Points:
    """uint8[rows, 32]: b H(id) for the real rows."""
    real = evaluated[: len(hashes)]
    check_points(real)
    return multiply(real, inverse_scalar(draw_blind(key, hashes)))


def bucket_tags(context: bytes, bucket: int, ids: Sequence[str], points: Points) -> Values:
    """uint8[rows, 12]: BLAKE2b-96(run, bucket, id, b H(id))."""
    return tags_of(content_digest([context, bucket]), ids, points)


# ---- part tasks: what travels to an executor, and what runs there ---------------------------------------------------


@dataclass(frozen=True)
class Matching:
    """Guest's context for one host: its answers, and where the places of our rows among its tags are kept."""

    pair: Pair
    evaluated: Incoming
    tags: Incoming
    places: PartFiles


@dataclass(frozen=True)
class Tagging:
    """Host's context for its own ids; ``order`` keeps which row a tag belongs to. b lives for this run only."""

    pair: Pair
    b: Scalar = field(repr=False)
    order: PartFiles


@dataclass(frozen=True)
class Evaluating:
    """Host's context for the guest's blinded ids."""

    pair: Pair
    b: Scalar = field(repr=False)
    blinded: Incoming


def blind_part(pair: Pair, outgoing: Outgoing, part: int) -> tuple[Receipt, None]:
    padded = pair.plan.padded[pair.guest]
    columns = [
        blind_bucket(pair.bucket_key(part, index), hash_ids(ids, pair.context), padded)
        for index, ids in enumerate(pair.ids(part))
    ]
    return outgoing.write(part, pack_values("blinded", np.concatenate(columns))), None


def tag_part(tagging: Tagging, outgoing: Outgoing, part: int) -> tuple[Receipt, None]:
    pair = tagging.pair
    tags = (
        bucket_tags(pair.context, bucket, ids, multiply(hash_to_curve(ids, pair.context), tagging.b))
        for bucket, ids in zip(pair.plan.buckets_of(part), pair.ids(part), strict=True)
    )
    return write_tags(pair, tagging.order, outgoing, part, tags)


def evaluate_part(evaluating: Evaluating, outgoing: Outgoing, part: int) -> tuple[Receipt, None]:
    pair = evaluating.pair
    blinded = _points(pair, evaluating.blinded, "blinded", part)
    with from_peer("blinded", pair.guest):
        evaluated = evaluate(blinded, evaluating.b)
    return outgoing.write(part, pack_values("evaluated", evaluated)), None


def match_part(matching: Matching, part: int) -> int:
    """Find our rows among one host's tags; returns how many are there."""
    pair, mine = matching.pair, []
    padded = pair.plan.padded[pair.guest]
    evaluated = _points(pair, matching.evaluated, "evaluated", part)
    for index, ids in enumerate(pair.ids(part)):
        answers = evaluated[index * padded : (index + 1) * padded]
        with from_peer("evaluated", pair.host):
            points = unblind_bucket(pair.bucket_key(part, index), hash_ids(ids, pair.context), answers)
        mine.append(bucket_tags(pair.context, pair.plan.buckets_of(part)[index], ids, points))
    return find_places(pair, matching.tags, matching.places, part, mine)


def _points(pair: Pair, incoming: Incoming, tag: str, part: int) -> Points:
    return unpack_values(incoming.read(part), tag, pair.plan.values_per_part(pair.guest), POINT_BYTES)


# ---- the two roles --------------------------------------------------------------------------------------------------


def guest(run: Run, options: PsiSettings, source: Source) -> Alignment:
    """Intersect with every host; raises PolicyRefused, before anything is told, below this party's
    ``min_intersection``.
    """
    plan = agree(run, source, value_bytes=HASH_BYTES, bucket_rows=options.bucket_rows)
    prepared = distribute(run, source, plan)

    pairs = {}
    for host in run.roster.hosts:
        key = run.subkey("blinded", run.me.name, host.name)
        pairs[host] = Pair(plan, run_context(run), run.me.name, host.name, prepared, key)
    places = {host.name: part_files(run, f"places-{host.name}") for host in run.roster.hosts}

    def matching(host: Party, wave: Wave) -> Matching:
        return _matching(run, pairs[host], host, wave, places[host.name])

    ask_and_match(run, plan, "blinded", "blind ids", blind_part, pairs, match_part, matching)
    return join_and_tell(run, options, source, plan, prepared, places)


def host(run: Run, options: PsiSettings, source: Source) -> Alignment | Tally:
    """Answer the guest; raises PolicyRefused below this party's ``min_intersection``, when the guest already knows
    the result.
    """
    plan = agree(run, source, value_bytes=HASH_BYTES, bucket_rows=options.bucket_rows)
    prepared = distribute(run, source, plan)

    peer = run.roster.guest
    b = Scalar.draw(run.stream("ecdh scalar"))
    subkey = run.subkey("tags", run.me.name, peer.name)
    pair = Pair(plan, run_context(run), peer.name, run.me.name, prepared, subkey)
    order = part_files(run, "order")
    for wave in plan.waves:
        send_wave(run, "tags", peer, "tag own ids", tag_part, plan, wave, lambda: Tagging(pair, b, order))
        make = partial(_evaluating, run, pair, b, wave)
        send_wave(run, "evaluated", peer, "evaluate ids", evaluate_part, plan, wave, make, whose=peer)
    return hear_and_keep(run, options, source, pair, order, ["tags", "evaluated"])


def _matching(run: Run, pair: Pair, host: Party, wave: Wave, places: PartFiles) -> Matching:
    evaluated, tags = (receive_parts(run, tag, host, pair.plan, wave) for tag in ("evaluated", "tags"))
    return Matching(pair, evaluated, tags, places)


def _evaluating(run: Run, pair: Pair, b: Scalar, wave: Wave) -> Evaluating:
    return Evaluating(pair, b, receive_parts(run, "blinded", run.roster.guest, pair.plan, wave))
