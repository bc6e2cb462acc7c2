"""Private set intersection by oblivious transfer extension, for one guest and any number of hosts.

A few hundred oblivious transfers with public keys start a pseudorandom function F that the guest has evaluated on its
ids without showing them, while the host can evaluate it everywhere: V. Kolesnikov, R. Kumaresan, M. Rosulek, N. Trieu
(CCS 2016, eprint 2016/799), with a linear key-value store in place of cuckoo hashing (PaXoS, eprint 2020/193; sizes of
eprint 2022/320) and over a small field (SoftSpokenOT, eprint 2022/192). ``crypto.ot.oprf`` has the mathematics and the
security argument, ``crypto.ot.parameters`` every size and error bound. An id costs AES, XOR and hashing only.

Adversary: semi-honest parties that do not collude; nothing checks that a guest's table is one, and a guest that makes
up another could learn bits of a host's secret. Assumed: AES-128 is a pseudorandom function, BLAKE2s a random oracle,
and CDH is hard in ristretto255. Somebody counts as common who is not with probability 2^-40 in a whole run, and with
rows^2 / 2^128 for two ids of one digest; with 2^-40 a table has no solution, which ends the run with an error. With
several hosts the guest does this with each of them; buckets, salt and plan are common to all, and the result is what
all parties share.

Learned. All data parties: each other's row counts, and the intersection (who, among their own people, everybody has);
with ``result: guest`` hosts learn nothing of it. The guest, which receives F's outputs: also its intersection with each
single host, and it learns the result first. A host: nothing of the other hosts but their row counts. Nobody learns how
many rows a bucket has: tables and tags are of one size. Transfers and seeds are fresh in every run, so runs cannot be
linked.

| tag | from -> to | content | rows | bytes per row, 1 / 2 / 4 field bits |
|---|---|---|---|---|
| size, nonce | all data parties | see ``agree`` | | |
| transfers | host -> guest | choices of the base transfers; sizes as meta | 464 / 576 / 768 | 32 |
| seeds | guest -> host | a point and what opens all seeds but one of a tree; sizes as meta | 1 + 0 / 288 / 576 | 32 |
| table | guest -> host | U = u + D: each bucket's table D under its pad u | about 1.25 guest | 58 / 36 / 24 |
| tags | host -> guest | 40 + log2(pairs) bits of F(id), dummies random; sorted in each bucket | host | 7 to 11 |
| matched | guest -> host | whether the tag at this place is common; not sent with ``result: guest`` | host | 1 / 8 |
| result | guest -> host | {rows} of the intersection; with ``result: guest`` {} | | |

Rows of a message: the sender's buckets, one after the other, each padded to its public size; a bucket of the table has
room for 1024 ids at least.

A pad masks one table. So tables are made from the digests alone, stored create-only in the guest's workspace, and only
what is stored there is masked; whoever would mask another (a lost or edited workspace) gets an error before anything is
sent. They are removed when the host has answered; what was sent is never made again. Pads are functions of seeds and
bucket; everything else that is random comes from the sender's run under a label of pair, purpose, part, bucket and
content. A task that runs twice writes the same bytes.

Memory of a guest's task, beside the interpreter's own, at the largest part (16 buckets of 65536 ids): 320 MiB with 2
field bits, 460 with 1 (measured); a host's task takes less. Wide tables get smaller parts, see
``affordable_part_rows``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa

from fedspark.conf.options.psi import PsiSettings
from fedspark.crypto.ot import kernels, tags, vole
from fedspark.crypto.ot.codewords import BucketLabel
from fedspark.crypto.ot.oprf import Receiver, Sender, encode
from fedspark.crypto.ot.parameters import Parameters, choose
from fedspark.crypto.ot.vole import ReceiverKeys, SenderKeys
from fedspark.crypto.randomness import derive
from fedspark.errors import Mismatch
from fedspark.exchange.columns import Values, from_peer, pack_values, unpack_values, values_array, values_of
from fedspark.exchange.mailbox import Incoming, Outgoing, Receipt
from fedspark.party import Party
from fedspark.psi.agree import agree, receive_parts
from fedspark.psi.align import Alignment, PartFiles, Source, part_files
from fedspark.psi.distribute import distribute
from fedspark.psi.matching import (
    Pair,
    ask_and_match,
    bucket_tables,
    hear_and_keep,
    join_and_tell,
    send_wave,
    write_places,
    write_sorted,
)
from fedspark.psi.sizes import Plan, Wave
from fedspark.psi.tally import Tally
from fedspark.run import Run

BUCKETS_PER_PART = 16
"""A part is that many buckets at most, where memory allows: a bucket takes less time than Spark needs for a task."""

# ---- what a pair shares ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OtPair(Pair):
    """A pair with its sizes. ``context`` is bound to the salt, which was drawn when both tables were frozen."""

    parameters: Parameters

    def label(self, part: int, index: int) -> BucketLabel:
        """The name of the part's ``index``-th bucket in every public function and pad."""
        return BucketLabel(self.context, self.plan.buckets_of(part)[index])

    def split(self, values: Values) -> list[Values]:
        """What a part's message holds, bucket by bucket."""
        return np.split(values, self.plan.buckets_per_part)


def make_plan(run: Run, options: PsiSettings, source: Source) -> Plan:
    """The agreed plan; a bucket has at least one value, so that messages of empty tables have a form too."""
    assert options.field_bits is not None, "PsiSettings fills it in for this protocol"
    rows = options.bucket_rows
    sizes = choose(options.field_bits, 1, rows, rows)
    value_bytes = -(-(sizes.bytes_received + sizes.bytes_sent) // rows)
    plan = agree(run, source, value_bytes=value_bytes, bucket_rows=rows, part_rows=BUCKETS_PER_PART * rows)
    return dataclasses.replace(plan, padded={party: max(1, padded) for party, padded in plan.padded.items()})


def make_pair(run: Run, options: PsiSettings, plan: Plan, host: Party, key: bytes) -> OtPair:
    """What both of a pair compute alike, and this party's ``key`` for its message per row."""
    guest = run.roster.guest
    assert options.field_bits is not None, "PsiSettings fills it in for this protocol"
    parameters = choose(options.field_bits, plan.buckets, plan.padded[guest.name], plan.padded[host.name])
    context = derive(plan.salt, "psi by ot", "receiver", guest.name, "sender", host.name)
    return OtPair(plan, context, guest.name, host.name, part_files(run, "prepared"), key, parameters)


# ---- part tasks: what travels to an executor, and what runs there ---------------------------------------------------


@dataclass(frozen=True)
class Masking:
    """Guest's context for one host: where its tables and its outputs of F are kept."""

    pair: OtPair
    keys: ReceiverKeys = field(repr=False)
    tables: PartFiles
    outputs: PartFiles


@dataclass(frozen=True)
class Matching:
    """Guest's context for one host's tags, and where the places of our rows among them are kept."""

    pair: OtPair
    outputs: PartFiles
    tags: Incoming
    places: PartFiles


@dataclass(frozen=True)
class Tagging:
    """Host's context; ``order`` keeps which row a tag belongs to. The keys live for this run only."""

    pair: OtPair
    keys: SenderKeys = field(repr=False)
    tables: Incoming
    order: PartFiles


def mask_part(masking: Masking, outgoing: Outgoing, part: int) -> tuple[Receipt, None]:
    """Store the tables of one part, send the stored ones under their pads, and keep F of our ids."""
    pair, parameters = masking.pair, masking.pair.parameters
    with_kernels = kernels.suited(pair.plan.rows[pair.guest])
    digests = pair.digests(part)
    labels = [pair.label(part, index) for index in range(len(digests))]
    made = np.empty((len(labels), parameters.rows, parameters.row_bytes), np.uint8)
    for place, label, rows in zip(made, labels, digests, strict=True):
        place[:] = encode(parameters, label, rows, with_kernels)
    tables = _stored(masking.tables, part, made.reshape(-1, parameters.row_bytes))
    receiver = Receiver(parameters, masking.keys, with_kernels)
    masked, outputs = np.empty_like(tables), []
    for label, rows, table, place in zip(labels, digests, pair.split(tables), pair.split(masked), strict=True):
        pads = receiver.pads(label)
        place[:] = pads.mask(table)
        outputs.append(pads.outputs(rows))
    masking.outputs.write(part, [pa.table({"output": values_array(bucket)}) for bucket in outputs])
    return outgoing.write(part, pack_values("table", masked)), None


def tag_part(tagging: Tagging, outgoing: Outgoing, part: int) -> tuple[Receipt, None]:
    """Send F of our ids."""
    pair, parameters = tagging.pair, tagging.pair.parameters
    rows = pair.plan.buckets_per_part * parameters.rows
    received = unpack_values(tagging.tables.read(part), "table", rows, parameters.row_bytes)
    sender = Sender(parameters, tagging.keys, kernels.suited(pair.plan.rows[pair.host]))
    buckets = enumerate(zip(pair.digests(part), pair.split(received), strict=True))
    sealed = (
        tags.seal(parameters, sender.outputs(pair.label(part, index), digests, table), pair.bucket_key(part, index))
        for index, (digests, table) in buckets
    )
    return write_sorted(tagging.order, outgoing, part, sealed)


def match_part(matching: Matching, part: int) -> int:
    """Find our rows among one host's tags; returns how many are there."""
    pair, parameters = matching.pair, matching.pair.parameters
    values = pair.plan.values_per_part(pair.host)
    theirs = pair.split(unpack_values(matching.tags.read(part), "tags", values, parameters.tag_bytes))
    mine = [values_of(bucket["output"]) for bucket in bucket_tables(matching.outputs, part)]
    with from_peer("tags", pair.host):
        found = [tags.find(parameters, *bucket) for bucket in zip(mine, theirs, strict=True)]
    return write_places(matching.places, part, found)


def _stored(files: PartFiles, part: int, tables: Values) -> Values:
    """The tables of one part as they lie in the workspace: created once, and an error when other ones lie there."""
    path = files.pattern.format(part=part)
    files.workspace.keep(path, pack_values("table", tables))
    return unpack_values(files.workspace.read(path), "table", *tables.shape)


# ---- the two roles --------------------------------------------------------------------------------------------------


def guest(run: Run, options: PsiSettings, source: Source) -> Alignment:
    """Intersect with every host; raises PolicyRefused, before anything is told, below this party's
    ``min_intersection``.
    """
    plan = make_plan(run, options, source)
    prepared = distribute(run, source, plan)
    maskings = {host: _transfer(run, options, plan, host) for host in run.roster.hosts}
    places = {host.name: part_files(run, f"places-{host.name}") for host in run.roster.hosts}

    def matching(host: Party, wave: Wave) -> Matching:
        return _matching(run, maskings[host], host, wave, places[host.name])

    spent = {host: [masking.tables, masking.outputs] for host, masking in maskings.items()}
    ask_and_match(run, plan, "table", "make tables", mask_part, maskings, match_part, matching, spent)
    return join_and_tell(run, options, source, plan, prepared, places)


def host(run: Run, options: PsiSettings, source: Source) -> Alignment | Tally:
    """Answer the guest; raises PolicyRefused below this party's ``min_intersection``, when the guest already knows
    the result.
    """
    plan = make_plan(run, options, source)
    peer = run.roster.guest
    pair = make_pair(run, options, plan, run.me, run.subkey("tags", run.me.name, peer.name))
    started, transfers = vole.start(pair.parameters, pair.context, run.subkey("transfers", run.me.name, peer.name))
    run.send("transfers", peer, transfers, meta=_meta(pair.parameters))
    distribute(run, source, plan)

    seeds = _receive_setup(run, "seeds", peer, pair.parameters)
    with from_peer("seeds", peer.name):
        keys = vole.finish(pair.parameters, started, seeds)
    order = part_files(run, "order")
    for wave in plan.waves:
        make = partial(_tagging, run, pair, keys, wave, order)
        send_wave(run, "tags", peer, "tag own ids", tag_part, plan, wave, make)
    return hear_and_keep(run, options, source, pair, order, ["tags"])


def _transfer(run: Run, options: PsiSettings, plan: Plan, host: Party) -> Masking:
    """The base transfers with one host, and what the guest's tasks then need."""
    pair = make_pair(run, options, plan, host, run.subkey("seeds", run.me.name, host.name))
    transfers = _receive_setup(run, "transfers", host, pair.parameters)
    with from_peer("transfers", host.name):
        keys, seeds = vole.answer(pair.parameters, pair.context, transfers, pair.key)
    run.send("seeds", host, seeds, meta=_meta(pair.parameters))
    return Masking(pair, keys, part_files(run, f"tables-{host.name}"), part_files(run, f"outputs-{host.name}"))


def _matching(run: Run, masking: Masking, host: Party, wave: Wave, places: PartFiles) -> Matching:
    tags = receive_parts(run, "tags", host, masking.pair.plan, wave)
    return Matching(masking.pair, masking.outputs, tags, places)


def _tagging(run: Run, pair: OtPair, keys: SenderKeys, wave: Wave, order: PartFiles) -> Tagging:
    return Tagging(pair, keys, receive_parts(run, "table", run.roster.guest, pair.plan, wave), order)


def _receive_setup(run: Run, tag: str, sender: Party, parameters: Parameters) -> bytes:
    """A message of the set-up; Mismatch unless its sender computed the same sizes."""
    incoming = run.receive(tag, sender)
    theirs, mine = incoming.meta.get("sizes"), _meta(parameters)["sizes"]
    if theirs != mine or incoming.parts != 1:
        raise Mismatch(
            f"The message {tag!r} of {sender.name} is for other sizes: {theirs}; here they are {mine}.",
            remedy="Nothing was computed. Ask them which fedspark version they run.",
        )
    return incoming.read(0)


def _meta(parameters: Parameters) -> dict[str, dict[str, int]]:
    return {"sizes": dataclasses.asdict(parameters)}
