"""What intersection protocols with tags share: the host sends one tag per row, the guest finds its own among them, and
tells what all parties have.

A protocol gives the guest a way to compute the host's tag of an id that it holds, and no other. Around that, messages
are the same:

| tag | from -> to | content | rows | bytes per row |
|---|---|---|---|---|
| tags | host -> guest | tags, dummies random; sorted in each bucket | host | 12, with ot 7 to 11 |
| matched | guest -> host | whether the tag at this place is common; not sent with ``result: guest`` | host | 1 / 8 |
| result | guest -> host | {rows} of the intersection; with ``result: guest`` {} | | |

With ``result: guest`` the guest learns what it learns otherwise, and a host nothing of the intersection: neither who
nor how many, only that the guest did not refuse it as too small. With ``join: left`` the guest keeps, beside the common
people, its other rows; messages are the same.

A host sorts by tag, so the places of its tags say nothing about its rows; only it knows which row a place belongs to.
``matched`` is the guest's word: a host notices marks on dummies and a number that is not the announced one, but not a
guest that marks others of its people than those in common.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from fedspark.conf.options.psi import PsiSettings
from fedspark.crypto.hashing import TAG_BYTES, tag96
from fedspark.crypto.randomness import Stream, content_digest, derive
from fedspark.errors import Mismatch, PeerError, Removed
from fedspark.exchange.columns import Values, pack_flags, pack_values, unpack_flags, unpack_values, values_of
from fedspark.exchange.mailbox import Incoming, Outgoing, Receipt
from fedspark.party import Party, Role
from fedspark.psi.agree import receive_parts, refuse_few
from fedspark.psi.align import Alignment, Mask, PartFiles, Source, align_part, finish, part_files
from fedspark.psi.sizes import Plan, Wave, lagged
from fedspark.psi.tally import Tally
from fedspark.run import Run, SendFunction

# ---- tags of one bucket ----------------------------------------------------------------------------------------------


def tags_of(context: bytes, ids: Sequence[str], elements: Values) -> Values:
    """uint8[rows, 12]: what guest and host compare, of ids and their group elements (uint8[rows, width])."""
    raw, width = elements.tobytes(), elements.shape[1]
    return tag96(context, ids, [raw[start : start + width] for start in range(0, len(raw), width)])


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


# ---- part tasks: what travels to an executor, and what runs there ----------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """What all tasks of one guest-host pair share. ``context`` names run and step; ``key`` is this party's subkey for
    the message that is written.
    """

    plan: Plan
    context: bytes
    guest: str
    host: str
    prepared: PartFiles
    key: bytes = field(repr=False)

    def ids(self, part: int) -> list[list[str]]:
        """Our ids of one part, bucket by bucket in digest order."""
        return [bucket["key"].to_pylist() for bucket in bucket_tables(self.prepared, part, ["key"])]

    def digests(self, part: int) -> list[Values]:
        """The digests (uint8[rows, 16], ascending) of the same ids."""
        return [values_of(bucket["digest"]) for bucket in bucket_tables(self.prepared, part, ["digest"])]

    def bucket_key(self, part: int, index: int) -> bytes:
        """The subkey of one bucket, the part's ``index``-th."""
        return derive(self.key, part, self.plan.buckets_of(part)[index])


@dataclass(frozen=True)
class Joining:
    """Guest's context when all hosts have answered."""

    plan: Plan
    places: dict[str, PartFiles]
    prepared: PartFiles
    aligned: PartFiles
    unmatched: PartFiles | None = None


@dataclass(frozen=True)
class Keeping:
    """Host's context when the guest has told the result."""

    pair: Pair
    order: PartFiles
    matched: Incoming
    aligned: PartFiles


def write_tags(
    pair: Pair, order: PartFiles, outgoing: Outgoing, part: int, tags: Iterable[Values]
) -> tuple[Receipt, None]:
    """Send a host's tags of one part, given bucket by bucket, and keep in ``order`` which row each belongs to."""
    padded = pair.plan.padded[pair.host]
    sealed = (sort_tags(mine, pair.bucket_key(part, index), padded) for index, mine in enumerate(tags))
    return write_sorted(order, outgoing, part, sealed)


def write_sorted(
    order: PartFiles, outgoing: Outgoing, part: int, sealed: Iterable[tuple[Values, np.ndarray]]
) -> tuple[Receipt, None]:
    """The same for tags that are filled up and sorted; each bucket with the rows (int32, -1: dummy) of its places."""
    columns, orders = [], []
    for column, rows in sealed:
        columns.append(column)
        orders.append(pa.table({"row": rows}))
    order.write(part, orders)
    return outgoing.write(part, pack_values("tags", np.concatenate(columns))), None


def find_places(pair: Pair, tags: Incoming, places: PartFiles, part: int, mine: Iterable[Values]) -> int:
    """Find the guest's own tags of one part, bucket by bucket, among a host's; returns how many are there."""
    padded = pair.plan.padded[pair.host]
    theirs = unpack_values(tags.read(part), "tags", pair.plan.values_per_part(pair.host), TAG_BYTES)
    found = [find_tags(own, theirs[index * padded : (index + 1) * padded]) for index, own in enumerate(mine)]
    return write_places(places, part, found)


def write_places(places: PartFiles, part: int, found: Sequence[np.ndarray]) -> int:
    """Keep where our rows of one part lie among a host's tags (int32, -1 for nowhere), bucket by bucket; returns how
    many do.
    """
    places.write(part, [pa.table({"place": bucket}) for bucket in found])
    return sum(int((bucket >= 0).sum()) for bucket in found)


def join_part(joining: Joining, part: int) -> int:
    """Keep our rows that every host has, and the others apart if they are wanted; returns how many have a match."""
    masks = [mask for mask, _ in _joined(joining, part)]
    return align_part(joining.prepared, joining.aligned, part, masks, joining.unmatched)


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
    orders = [table["row"].to_numpy() for table in bucket_tables(keeping.order, part)]
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
    by_host = {
        host: [table["place"].to_numpy() for table in bucket_tables(files, part)]
        for host, files in joining.places.items()
    }
    buckets = [dict(zip(by_host, places, strict=True)) for places in zip(*by_host.values(), strict=True)]
    return [(np.logical_and.reduce([place >= 0 for place in places.values()]), places) for places in buckets]


def bucket_tables(files: PartFiles, part: int, columns: Sequence[str] | None = None) -> list[pa.Table]:
    """The tables of one part file, bucket by bucket."""
    source = files.read(part)
    return [source.read(index, columns) for index in range(source.buckets)]


# ---- how both roles end ----------------------------------------------------------------------------------------------


def join_and_tell(
    run: Run,
    options: PsiSettings,
    source: Source,
    plan: Plan,
    prepared: PartFiles,
    places: dict[str, PartFiles],
    tell: SendFunction | None = None,
) -> Alignment:
    """The guest's end: keep what all hosts have (``places`` by host) and tell each host (by ``tell``) as much as
    ``options.result`` says; PolicyRefused, before anything is told, below this party's ``min_intersection``.
    """
    unmatched = part_files(run, "unmatched") if options.join == "left" else None
    joining = Joining(plan, places, prepared, part_files(run, "aligned"), unmatched)
    rows = total(run, "psi/rows", "align rows", join_part, plan, joining)
    refuse_few(run, rows)
    for host in run.roster.hosts:
        if options.result == "both":
            title, whose = _titled(run, "tell the result", host), plan.rows[host.name]
            run.send_parts("matched", host, title, tell or tell_part, plan.parts, (joining, host.name), rows=whose)
        run.send("result", host, {"rows": rows} if options.result == "both" else {})
    return finish(run, source, plan, joining.aligned, rows, [prepared, *places.values()], unmatched)


def hear_and_keep(
    run: Run, options: PsiSettings, source: Source, pair: Pair, order: PartFiles, answers: Sequence[str]
) -> Alignment | Tally:
    """The host's end: keep the rows whose tags the guest marks, or hear that there was a result; PolicyRefused below
    this party's ``min_intersection``, when the guest already knows the result. The messages ``answers``, of every
    wave, were read then, and are removed.
    """
    plan, aligned = pair.plan, part_files(run, "aligned")
    rows = None
    if options.result == "both":
        keeping = Keeping(pair, order, receive_parts(run, "matched", run.roster.guest, plan), aligned)
        rows = keep_told(run, plan, keep_part, keeping)
    else:
        hear_nothing(run)
    for wave in plan.waves:
        for tag in answers:
            run.remove_read(tag, run.roster.guest, round=wave.number)
    if rows is not None:
        return finish(run, source, plan, aligned, rows, [pair.prepared, order])
    for files in (pair.prepared, order):
        files.remove(range(plan.parts))
    return Tally.of(source, plan, None)


def hear_nothing(run: Run) -> None:
    """Wait for the end of an intersection of which only the guest has the result."""
    told = run.receive("result", run.roster.guest).json()
    if told != {}:
        raise Mismatch(
            f"{run.roster.guest.name} announced {told} as the result, which it keeps by the pipeline (result: guest).",
            remedy="Nothing of it was used. Ask the guest which fedspark version it runs.",
        )


def keep_told(run: Run, plan: Plan, function: Callable[[Any, int], int], keeping: Any) -> int:
    """Let part tasks keep our rows that the guest marked; Mismatch unless they are as many as it announced."""
    peer = run.roster.guest
    told = run.receive("result", peer).json()
    rows = total(run, "psi/rows", "align rows", function, plan, keeping)
    if told != {"rows": rows}:
        raise Mismatch(
            f"{peer.name} announced {told} as the result, but marked {rows:,} of our people as common.",
            remedy="Do not use the alignment: the two sides would not have the same rows. Ask the guest.",
        )
    refuse_few(run, rows)
    return rows


def run_context(run: Run) -> bytes:
    """32 bytes that name run and step in every hash of a protocol."""
    return content_digest([run.id.encode(), run.step_name.encode()])


def total(run: Run, name: str, title: str, function: Callable[[Any, int], int], plan: Plan, context: Any) -> int:
    """Sum of what the part tasks return, computed once per run."""
    rows, buckets = plan.rows[run.me.name], plan.buckets_per_part
    return run.once(name, lambda: sum(run.parts(title, function, plan.parts, context, rows=rows, buckets=buckets)))


def send_wave(
    run: Run,
    tag: str,
    to: Party,
    title: str,
    function: SendFunction,
    plan: Plan,
    wave: Wave,
    make: Callable[[], Any],
    *,
    whose: Party | None = None,
) -> None:
    """Let part tasks write one wave of a message per row (of ``whose`` rows, by default ours); ``make`` gives their
    context, and is not called when all of them have run before: what it would read may be gone by then.
    """
    context = None
    if not run.sent(tag, to, round=wave.number):
        try:
            context = make()
        except Removed:  # another process of this party was faster, and its peer has answered meanwhile
            if not run.sent(tag, to, round=wave.number):
                raise
    run.send_parts(
        tag,
        to,
        _titled(run, title, to),
        function,
        wave.parts,
        context,
        round=wave.number,
        rows=plan.rows[(whose or run.me).name],
        of=plan.parts,
        buckets=plan.buckets_per_part,
    )


def ask_and_match(
    run: Run,
    plan: Plan,
    tag: str,
    title: str,
    ask_part: SendFunction,
    asking: Mapping[Party, Any],
    match_part: Callable[[Any, int], int],
    matching: Callable[[Party, Wave], Any],
    spent: Mapping[Party, Sequence[PartFiles]] | None = None,
) -> None:
    """The guest's waves: send every host its message per row (``asking`` has the context of each), and find our rows
    in the answer to the wave before (``matching`` waits for it and gives the context): so all parties have work.

    A wave that is answered was read: its message is removed, and so are the part files ``spent`` on it.
    """
    for wave, last in lagged(plan.waves):
        for host, context in asking.items():
            if wave is not None:
                send_wave(run, tag, host, title, ask_part, plan, wave, partial(_same, context))
        for host in asking:
            if last is not None:
                _match_wave(run, plan, host, last, match_part, partial(matching, host, last))
                run.remove_read(tag, host, round=last.number)
                for files in (spent or {}).get(host, ()):
                    files.remove(last.parts)


def _titled(run: Run, title: str, peer: Party) -> str:
    """What work with one peer is called: with several hosts, each is a phase of its own."""
    return title if len(run.roster.hosts) == 1 or peer.role is not Role.HOST else f"{title}, {peer.name}"


def _same(context: Any) -> Any:
    return context


def _match_wave(
    run: Run, plan: Plan, host: Party, wave: Wave, function: Callable[[Any, int], int], make: Callable[[], Any]
) -> None:
    def match() -> int:
        rows, buckets = plan.rows[run.me.name], plan.buckets_per_part
        title = _titled(run, "match ids", host)
        return sum(run.parts(title, function, wave.parts, make(), rows=rows, of=plan.parts, buckets=buckets))

    run.once(f"psi/matched-{host.name}/{wave.number:04d}", match)
