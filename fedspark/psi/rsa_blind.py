"""Private set intersection by RSA blind signatures, for one guest and any number of hosts.

E. De Cristofaro, G. Tsudik: Practical private set intersection protocols with linear complexity, Financial
Cryptography 2010 (figure 4), on Chaum's blind signatures. A host holds a key (n, e = 65537, d) made for this run.
H(id)^d is a keyed function of an id that only the host can compute; the guest has it evaluated on its ids without
showing them, and compares.

Adversary: semi-honest parties that do not collude. With several hosts the guest does this with each of them; buckets,
salt and plan are common to all, and the result is what all parties share.

Learned. All data parties: each other's row counts, and the intersection (who, among their own people, everybody has);
with ``result: guest`` hosts learn nothing of it. The guest: also its intersection with each single host, and it learns
the result first. A host: nothing of the other hosts but their row counts. Nobody learns how many rows a bucket has:
buckets are padded. Keys are fresh in every run, so runs cannot be linked by signatures or tags. A guest that cheats can
put other ids in place of its dummies and rows, and so test at most as many as it announced, rounded up by padding.

| tag | from -> to | content | rows | bytes per row |
|---|---|---|---|---|
| size, nonce | all data parties | see ``agree`` | | |
| key | host -> guest | n, bits, H'(n, e, run, i)^d for i = 1..8 | | |
| tags | host -> guest | BLAKE2b-96(run, id, H(id)^d), dummies random; sorted in each bucket | host | 12 |
| blinded | guest -> host | y = H(id) r^e, r uniform in Z_n*; then dummies uniform in Z_n* | guest | bits / 8 |
| signed | host -> guest | y^d in the same order, released after their product was checked | guest | bits / 8 |
| matched | guest -> host | whether the tag at this place is common; not sent with ``result: guest`` | host | 1 / 8 |
| result | guest -> host | {rows} of the intersection; with ``result: guest`` {} | | |

Rows of a message: the sender's or receiver's buckets, one after the other, each padded to its public size.

Every random number comes from the sender's run under a label of pair, purpose, part, bucket and content, so a task
that runs twice writes the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from fedspark.conf.options.psi import PsiSettings
from fedspark.crypto import rsa
from fedspark.crypto.randomness import Stream, content_digest, derive
from fedspark.crypto.rsa import RsaKey, RsaPublic
from fedspark.errors import CryptoError, Mismatch, PolicyRefused
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
    """uint8[rows, bits/8]: H(id)^d = s / r for the real rows; CryptoError unless (s / r)^e = H(id) for every one,
    screened by 16 random subsets that the host cannot foresee (``rsa.check_signatures``).
    """
    r = draw_blinds(public, key, hashes)
    signatures = rsa.unblind(public, signed[: len(r)], rsa.batch_inverse(public.n, r))
    unblinded = rsa.to_array(public, signatures)
    subsets = Stream(derive(key, "subsets", content_digest([unblinded.tobytes()])))
    rsa.check_signatures(public, hashes, signatures, subsets)
    return unblinded


# ---- part tasks: what travels to an executor, and what runs there ---------------------------------------------------


@dataclass(frozen=True)
class RsaPair(Pair):
    """A pair with the host's key."""

    public: RsaPublic

    def hashes(self, ids: Sequence[str]) -> Residues:
        return rsa.full_domain_hash(self.public, self.context, ids)


@dataclass(frozen=True)
class Matching:
    """Guest's context for one host: its answers, and where the places of our rows among its tags are kept."""

    pair: RsaPair
    signed: Incoming
    tags: Incoming
    places: PartFiles


@dataclass(frozen=True)
class Tagging:
    """Host's context for its own ids; ``order`` keeps which row a tag belongs to. The private key lives for this run
    only.
    """

    pair: RsaPair
    key: RsaKey = field(repr=False)
    order: PartFiles


@dataclass(frozen=True)
class Signing:
    """Host's context for the guest's blinded ids."""

    pair: RsaPair
    key: RsaKey = field(repr=False)
    blinded: Incoming


def blind_part(pair: RsaPair, outgoing: Outgoing, part: int) -> tuple[Receipt, None]:
    padded = pair.plan.padded[pair.guest]
    columns = [
        blind_bucket(pair.public, pair.bucket_key(part, index), pair.hashes(ids), padded)
        for index, ids in enumerate(pair.ids(part))
    ]
    return outgoing.write(part, pack_values("blinded", np.concatenate(columns))), None


def part_tags(tagging: Tagging, part: int) -> Iterator[Values]:
    """The tags of the host's own ids, bucket by bucket."""
    pair = tagging.pair
    for ids in pair.ids(part):
        yield tags_of(pair.context, ids, rsa.to_array(pair.public, rsa.sign(tagging.key, pair.hashes(ids))))


def tag_part(tagging: Tagging, outgoing: Outgoing, part: int) -> tuple[Receipt, None]:
    return write_tags(tagging.pair, tagging.order, outgoing, part, part_tags(tagging, part))


def sign_part(signing: Signing, outgoing: Outgoing, part: int) -> tuple[Receipt, None]:
    pair = signing.pair
    blinded = received_residues(pair, signing.blinded, "blinded", pair.guest, part)
    signed = rsa.to_array(pair.public, rsa.sign(signing.key, blinded))
    return outgoing.write(part, pack_values("signed", signed)), None


def match_part(matching: Matching, part: int) -> int:
    """Find our rows among one host's tags; returns how many are there."""
    pair, mine = matching.pair, []
    padded = pair.plan.padded[pair.guest]
    signed = received_residues(pair, matching.signed, "signed", pair.host, part)
    for index, ids in enumerate(pair.ids(part)):
        hashes = pair.hashes(ids)
        answers = signed[index * padded : (index + 1) * padded]
        with from_peer("signed", pair.host):
            signatures = unblind_bucket(pair.public, pair.bucket_key(part, index), hashes, answers)
        mine.append(tags_of(pair.context, ids, signatures))
    return find_places(pair, matching.tags, matching.places, part, mine)


def received_residues(pair: RsaPair, incoming: Incoming, tag: str, sender: str, part: int) -> Residues:
    """The guest's values of one part as they came, or came back: as many as agreed, units modulo n."""
    values = unpack_values(incoming.read(part), tag, pair.plan.values_per_part(pair.guest), pair.public.width)
    with from_peer(tag, sender):
        return rsa.from_array(pair.public, values)


# ---- the two roles --------------------------------------------------------------------------------------------------


def guest(run: Run, options: PsiSettings, source: Source) -> Alignment:
    """Intersect with every host; raises PolicyRefused, before anything is told, below this party's
    ``min_intersection``.
    """
    bits = allowed_bits(run, options)
    plan = agree(run, source, value_bytes=bits // 8, bucket_rows=options.bucket_rows)
    prepared = distribute(run, source, plan)

    pairs = {}
    for host in run.roster.hosts:
        public = _receive_key(run, host, bits)
        key = run.subkey("blinded", run.me.name, host.name)
        pairs[host] = RsaPair(plan, run_context(run), run.me.name, host.name, prepared, key, public)
    places = {host.name: part_files(run, f"places-{host.name}") for host in run.roster.hosts}

    def matching(host: Party, wave: Wave) -> Matching:
        return _matching(run, pairs[host], host, wave, places[host.name])

    ask_and_match(run, plan, "blinded", "blind ids", blind_part, pairs, match_part, matching)
    return join_and_tell(run, options, source, plan, prepared, places)


def host(run: Run, options: PsiSettings, source: Source) -> Alignment | Tally:
    """Answer the guest; raises PolicyRefused below this party's ``min_intersection``, when the guest already knows
    the result.
    """
    bits = allowed_bits(run, options)
    plan = agree(run, source, value_bytes=bits // 8, bucket_rows=options.bucket_rows)
    prepared = distribute(run, source, plan)

    peer = run.roster.guest
    key = RsaKey.generate(run.stream("rsa key"), bits)
    proof = rsa.prove(key, run_context(run))
    run.send("key", peer, {"key": key.public.to_json(), "proof": proof.hex()})
    subkey = run.subkey("tags", run.me.name, peer.name)
    pair = RsaPair(plan, run_context(run), peer.name, run.me.name, prepared, subkey, key.public)
    order = part_files(run, "order")
    for wave in plan.waves:
        send_wave(run, "tags", peer, "tag own ids", tag_part, plan, wave, lambda: Tagging(pair, key, order))
        make = partial(_signing, run, pair, key, wave)
        send_wave(run, "signed", peer, "sign ids", sign_part, plan, wave, make, whose=peer)
    return hear_and_keep(run, options, source, pair, order, ["tags", "signed"])


def _matching(run: Run, pair: RsaPair, host: Party, wave: Wave, places: PartFiles) -> Matching:
    signed, tags = (receive_parts(run, tag, host, pair.plan, wave) for tag in ("signed", "tags"))
    return Matching(pair, signed, tags, places)


def _signing(run: Run, pair: RsaPair, key: RsaKey, wave: Wave) -> Signing:
    return Signing(pair, key, receive_parts(run, "blinded", run.roster.guest, pair.plan, wave))


def allowed_bits(run: Run, options: PsiSettings) -> int:
    """The pipeline's ``key_bits``; PolicyRefused below this party's ``min_key_bits``."""
    bits, limit = options.key_bits, run.party_conf.policy.min_key_bits
    assert bits is not None, "PsiSettings fills it in for this protocol"
    if bits < limit:
        raise PolicyRefused(
            f"Step {run.step_name} has RSA keys of {bits} bits; this party's limit min_key_bits is {limit}.",
            remedy="Raise key_bits in the pipeline file, or lower policy.min_key_bits in the party file.",
        )
    return bits


def _receive_key(run: Run, host: Party, bits: int) -> RsaPublic:
    message = run.receive("key", host).json()
    try:
        public = RsaPublic.from_json(dict(message["key"]), bits)
        rsa.verify_proof(public, run_context(run), bytes.fromhex(message["proof"]))
    except (TypeError, KeyError, ValueError):
        raise Mismatch(
            f"The message 'key' of {host.name} is malformed.", remedy="Ask them which fedspark version they run."
        ) from None
    except CryptoError as error:
        raise Mismatch(f"The RSA key of {host.name} is refused: {error.message}", remedy=error.remedy) from None
    return public
