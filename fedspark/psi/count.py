"""How many people are common, without who: for one guest and one host, by Diffie and Hellman's function on Curve25519.

E. De Cristofaro, P. Gasti, G. Tsudik: Fast and private computation of cardinality of set intersection and union, CANS
2012 (figure 1, PSI-CA). As in ``ecdh``, the guest has b H(id) evaluated on its ids without showing them. But the host
answers in another order, so the guest cannot tell which of its ids an answer belongs to, and tags are made of points
alone, without ids: it can only count the answers whose tag the host sent.

The order of answers is that of the points b y themselves, over the whole table (``shuffle``). Without b they look
random, so their order says nothing about places; nor does it matter then how many lie in which part of the message.
Tags go the same way. As answers lose their bucket, one scalar a serves all ids of the guest.

Adversary: semi-honest parties that do not collude. Learned: each other's row counts; the guest the number of common
people; the host the same number as the guest tells it, or with ``result: guest`` nothing (but that the run goes on, so
that the guest's ``min_intersection`` is met). Nothing by bucket or part: blinded ids are padded as in ``ecdh``, tags
and answers carry no bucket. a and b are fresh in every run, so runs cannot be linked by points or tags; but counts of
two tables that differ by one person tell about that person. A guest that cheats can bring one id and dummies and so ask
for a person; ``min_intersection`` of a host stops that only if the guest tells the truth. A guest that brings one id
many times, and a host that answers one point many times, are refused. What hides the ids is DDH on the curve, as in
``ecdh``.

| tag | from -> to | content | rows | bytes per row |
|---|---|---|---|---|
| size, nonce | all data parties | see ``agree`` | | |
| tags | host -> guest | BLAKE2b-96(run, b H(id)), sorted | host | 12 |
| blinded | guest -> host | y = a H(id); then dummies a H', H' the map of a random hash | guest, padded | 32 |
| evaluated | host -> guest | b y, sorted: of ids and dummies, from anywhere in the table | guest, padded | 32 |
| result | guest -> host | {rows} of the intersection; with ``result: guest`` {} | | |

Parts of ``tags`` and ``evaluated`` have as many rows as chance gives them; the receiver checks their sum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fedspark.conf.options.psi import PsiSettings
from fedspark.crypto.curve import (
    HASH_BYTES,
    POINT_BYTES,
    Points,
    Scalar,
    check_points,
    hash_ids,
    hash_to_curve,
    inverse_scalar,
    map_to_curve,
    multiply,
)
from fedspark.crypto.hashing import TAG_BYTES
from fedspark.crypto.randomness import content_digest
from fedspark.errors import Mismatch, PeerError
from fedspark.exchange.columns import Values, from_peer, pack_values, unpack_values
from fedspark.exchange.mailbox import Incoming, Outgoing, Receipt
from fedspark.psi.agree import agree, receive_parts, refuse_few
from fedspark.psi.align import Source
from fedspark.psi.distribute import distribute
from fedspark.psi.ecdh import evaluate, with_dummies
from fedspark.psi.matching import Pair, find_tags, run_context, send_wave, tags_of
from fedspark.psi.shuffle import Shuffle
from fedspark.psi.sizes import Plan, Wave
from fedspark.psi.tally import Tally
from fedspark.run import Run

# ---- the mathematics ------------------------------------------------------------------------------------------------


def nameless_tags(context: bytes, points: Points) -> Values:
    """uint8[N, 12]: BLAKE2b-96(run, b H(id)) of points uint8[N, 32]; no id goes in, as the guest does not know whose
    a point is.
    """
    return tags_of(content_digest([context, b"count"]), [""] * len(points), points)


def refuse_repeated(values: Values, tag: str, sender: str) -> None:
    """PeerError when sorted values hold one of them twice: somebody would count more than once."""
    repeats = int((values[1:] == values[:-1]).all(axis=1).sum())
    if repeats:
        raise PeerError(
            f"The message {tag!r} of {sender} is refused: {repeats:,} of its values are there more than once.",
            remedy="Nothing was told. Their software is wrong; ask them.",
        )


# ---- part tasks: what travels to an executor, and what runs there ---------------------------------------------------


@dataclass(frozen=True)
class Blinding:
    """Guest's context for its ids. a lives for this run only."""

    pair: Pair
    a: Scalar = field(repr=False)


@dataclass(frozen=True)
class Tagging:
    """Host's context for its own ids. b lives for this run only."""

    pair: Pair
    b: Scalar = field(repr=False)
    tags: Shuffle


@dataclass(frozen=True)
class Evaluating:
    """Host's context for the guest's blinded ids."""

    pair: Pair
    b: Scalar = field(repr=False)
    blinded: Incoming
    evaluated: Shuffle


@dataclass(frozen=True)
class Unblinding:
    """Guest's context for the answers."""

    pair: Pair
    a: Scalar = field(repr=False)
    evaluated: Incoming
    mine: Shuffle


@dataclass(frozen=True)
class Counting:
    """Guest's context when it has the tags of its own ids."""

    pair: Pair
    mine: Shuffle
    tags: Incoming


def blind_part(blinding: Blinding, outgoing: Outgoing, part: int) -> tuple[Receipt, None]:
    pair = blinding.pair
    padded = pair.plan.padded[pair.guest]
    columns = [
        with_dummies(pair.bucket_key(part, index), hash_ids(ids, pair.context), padded)
        for index, ids in enumerate(pair.ids(part))
    ]
    points = multiply(map_to_curve(np.concatenate(columns)), blinding.a)
    return outgoing.write(part, pack_values("blinded", points)), None


def tag_part(tagging: Tagging, part: int) -> int:
    pair = tagging.pair
    ids = [key for bucket in pair.ids(part) for key in bucket]
    points = multiply(hash_to_curve(ids, pair.context), tagging.b)
    return tagging.tags.scatter(part, nameless_tags(pair.context, points))


def evaluate_part(evaluating: Evaluating, part: int) -> int:
    pair = evaluating.pair
    rows = pair.plan.values_per_part(pair.guest)
    blinded = unpack_values(evaluating.blinded.read(part), "blinded", rows, POINT_BYTES)
    with from_peer("blinded", pair.guest):
        evaluated = evaluate(blinded, evaluating.b)
    return evaluating.evaluated.scatter(part, evaluated)


def send_tags(tags: Shuffle, outgoing: Outgoing, part: int) -> tuple[Receipt, None]:
    return outgoing.write(part, pack_values("tags", tags.gather(part))), None


def send_evaluated(context: tuple[Shuffle, str], outgoing: Outgoing, part: int) -> tuple[Receipt, None]:
    shuffled, guest = context
    evaluated = shuffled.gather(part)
    refuse_repeated(evaluated, "blinded", guest)
    return outgoing.write(part, pack_values("evaluated", evaluated)), None


def unblind_part(unblinding: Unblinding, part: int) -> int:
    """Tags of the guest's own ids and dummies, of one part of the answers; returns how many these are."""
    pair = unblinding.pair
    evaluated = unpack_values(unblinding.evaluated.read(part), "evaluated", None, POINT_BYTES)
    with from_peer("evaluated", pair.host):
        check_points(evaluated)
        points = multiply(evaluated, inverse_scalar(unblinding.a))
    return unblinding.mine.scatter(part, nameless_tags(pair.context, points))


def count_part(counting: Counting, part: int) -> tuple[int, int]:
    """How many tags of one part both have, and how many the host sent."""
    mine = counting.mine.gather(part)
    refuse_repeated(mine, "evaluated", counting.pair.host)
    theirs = unpack_values(counting.tags.read(part), "tags", None, TAG_BYTES)
    return int((find_tags(mine, theirs) >= 0).sum()), len(theirs)


# ---- the two roles --------------------------------------------------------------------------------------------------


def guest(run: Run, options: PsiSettings, source: Source) -> Tally:
    """Count the people whom the host has too; raises PolicyRefused, before anything is told, below this party's
    ``min_intersection``.
    """
    plan = agree(run, source, value_bytes=HASH_BYTES, bucket_rows=options.bucket_rows)
    prepared = distribute(run, source, plan)

    (host,) = run.roster.hosts
    a = Scalar.draw_invertible(run.stream("count scalar"))
    key = run.subkey("blinded", run.me.name, host.name)
    pair = Pair(plan, run_context(run), run.me.name, host.name, prepared, key)
    for wave in plan.waves:
        send_wave(run, "blinded", host, "blind ids", blind_part, plan, wave, lambda: Blinding(pair, a))

    mine = _shuffle(run, plan, "mine", TAG_BYTES)

    def unblind() -> int:
        context = Unblinding(pair, a, receive_parts(run, "evaluated", host, plan), mine)
        return sum(run.parts("unblind", unblind_part, plan.parts, context, rows=source.rows))

    def count() -> list[int]:
        context = Counting(pair, mine, receive_parts(run, "tags", host, plan))
        return np.sum(run.parts("count tags", count_part, plan.parts, context), axis=0).tolist()

    _check_total(host.name, "evaluated", run.once("psi/unblinded", unblind), plan.values(run.me.name))
    rows, theirs = run.once("psi/counted", count)
    _check_total(host.name, "tags", theirs, plan.rows[host.name])
    refuse_few(run, rows)
    run.send("result", host, {"rows": rows} if options.result == "both" else {})
    mine.remove()
    prepared.remove(range(plan.parts))
    for wave in plan.waves:
        run.remove_read("blinded", host, round=wave.number)
    return Tally.of(source, plan, rows)


def host(run: Run, options: PsiSettings, source: Source) -> Tally:
    """Answer the guest in another order; raises PolicyRefused when the guest tells a count below this party's
    ``min_intersection``.
    """
    plan = agree(run, source, value_bytes=HASH_BYTES, bucket_rows=options.bucket_rows)
    prepared = distribute(run, source, plan)

    peer = run.roster.guest
    b = Scalar.draw(run.stream("count scalar"))
    subkey = run.subkey("tags", run.me.name, peer.name)
    pair = Pair(plan, run_context(run), peer.name, run.me.name, prepared, subkey)
    tags, evaluated = _shuffle(run, plan, "tags", TAG_BYTES), _shuffle(run, plan, "evaluated", POINT_BYTES)

    def tag() -> int:
        return sum(run.parts("tag own ids", tag_part, plan.parts, Tagging(pair, b, tags), rows=source.rows))

    run.once("psi/tagged", tag)
    run.send_parts("tags", peer, "sort tags", send_tags, plan.parts, tags)
    tags.remove()
    for wave in plan.waves:
        _evaluate_wave(run, wave, pair, lambda blinded: Evaluating(pair, b, blinded, evaluated))
    run.send_parts("evaluated", peer, "sort answers", send_evaluated, plan.parts, (evaluated, peer.name))
    evaluated.remove()
    rows = _told(run, options, plan)
    prepared.remove(range(plan.parts))
    for name in ("tags", "evaluated"):
        run.remove_read(name, peer)
    return Tally.of(source, plan, rows)


def _shuffle(run: Run, plan: Plan, name: str, width: int) -> Shuffle:
    return Shuffle(run.workspace, run.path(f"psi/shuffled-{name}"), plan.parts, width)


def _evaluate_wave(run: Run, wave: Wave, pair: Pair, make: Callable[[Incoming], Any]) -> None:
    def work() -> int:
        context = make(receive_parts(run, "blinded", run.roster.guest, pair.plan, wave))
        whole = {"rows": pair.plan.rows[pair.guest], "of": pair.plan.parts, "buckets": pair.plan.buckets_per_part}
        return sum(run.parts("evaluate", evaluate_part, wave.parts, context, **whole))

    run.once(f"psi/evaluated/{wave.number:04d}", work)


def _told(run: Run, options: PsiSettings, plan: Plan) -> int | None:
    """The result as the guest tells it; Mismatch when no intersection of these tables has so many people."""
    peer = run.roster.guest
    told = run.receive("result", peer).json()
    if options.result == "guest" and told == {}:
        return None
    rows = told.get("rows") if isinstance(told, dict) and len(told) == 1 and options.result == "both" else None
    if type(rows) is not int or not 0 <= rows <= min(plan.rows.values()):
        raise Mismatch(
            f"{peer.name} announced {told} as the result, which no intersection of these tables has.",
            remedy="Ask the guest which fedspark version it runs.",
        )
    refuse_few(run, rows)
    return rows


def _check_total(sender: str, tag: str, rows: int, agreed: int) -> None:
    if rows != agreed:
        raise Mismatch(
            f"The message {tag!r} of {sender} has {rows:,} values, and {agreed:,} were agreed.",
            remedy="Nothing was told. Ask them which fedspark version they run.",
        )
