"""The OPRF of a bucket: equal for common ids and for no others, byte for byte that of an independent generator."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedspark.crypto.ot import kernels_numpy, tags, trees, vole
from fedspark.crypto.ot.codewords import BucketLabel
from fedspark.crypto.ot.kernels import Kernels
from fedspark.crypto.ot.oprf import Pads, Receiver, Sender, encode
from fedspark.crypto.ot.parameters import Parameters, choose
from fedspark.crypto.ot.vole import ReceiverKeys, SenderKeys
from fedspark.crypto.randomness import Stream, derive
from fedspark.errors import CryptoError
from tests.crypto.ot.reference import Reference

Bytes = npt.NDArray[np.uint8]
Digests = Callable[[int, str], Bytes]
Deal = Callable[[Parameters], tuple[ReceiverKeys, SenderKeys]]

CONTEXT = bytes(range(32))
SECRET = bytes(range(32, 64))


def evaluated(
    parameters: Parameters, keys: tuple[ReceiverKeys, SenderKeys], label: BucketLabel, y: Bytes, x: Bytes, by: Kernels
) -> tuple[Bytes, Bytes, Bytes]:
    """(U, the receiver's outputs, the sender's outputs)."""
    pads = Receiver(parameters, keys[0], by).pads(label)
    message = pads.mask(encode(parameters, label, y, by))
    return message, pads.outputs(y), Sender(parameters, keys[1], by).outputs(label, x, message)


@pytest.mark.parametrize("field_bits", [1, 2, 4])
def test_common_ids_have_equal_outputs_and_others_do_not(
    kernels: Kernels, deal: Deal, digests: Digests, field_bits: int
) -> None:
    parameters = choose(field_bits, 8, 3000, 2500)
    pool = digests(5000, "people")
    rng = np.random.default_rng(1)
    y, x = (pool[np.sort(rng.permutation(5000)[:n])] for n in (2900, 2400))
    label = BucketLabel(CONTEXT, 5, 1)
    message, mine, theirs = evaluated(parameters, deal(parameters), label, y, x, kernels)
    assert message.nbytes == parameters.bytes_received
    common = {row.tobytes() for row in y} & {row.tobytes() for row in x}
    sent, _ = tags.seal(parameters, theirs, SECRET)
    assert sent.nbytes == parameters.bytes_sent
    found = tags.find(parameters, mine, sent) >= 0
    assert {row.tobytes() for row in y[found]} == common
    back = {a.tobytes(): b.tobytes() for a, b in zip(theirs, x, strict=True)}
    assert {back[row.tobytes()] for row in mine[found]} == common


@pytest.mark.parametrize("field_bits", [1, 2, 4])
def test_every_byte_is_that_of_the_plain_generator(
    kernels: Kernels, deal: Deal, digests: Digests, field_bits: int
) -> None:
    sizes = {1: 464, 2: 288, 4: 192}
    parameters = Parameters(field_bits, sizes[field_bits], 20, 45, 9, 1, 40, 40)
    label = BucketLabel(CONTEXT, 77, 3)
    y, x = digests(40, "generator"), digests(33, "generator 2")
    x = np.array(sorted([*x[:20].tolist(), *y[:13].tolist()]), np.uint8)
    keys = deal(parameters)
    message, mine, theirs = evaluated(parameters, keys, label, y, x, kernels)

    plain = Reference(field_bits, sizes[field_bits], 20, 45, 9, CONTEXT, 77, 3)
    seeds = [[leaf.tobytes() for leaf in leaves] for leaves in keys[0].seeds]
    known = [[leaf.tobytes() for leaf in leaves] for leaves in keys[1].seeds]
    delta = keys[1].delta.tolist()
    table, _ = plain.table([row.tobytes() for row in y])
    u, v = plain.receiver_pads(seeds)
    sent = [a ^ b for a, b in zip(u, table, strict=True)]
    q = plain.sender_shares(known, delta, sent)
    assert [int.from_bytes(row.tobytes(), "little") for row in message] == sent
    assert [row.tobytes() for row in mine] == [plain.receiver_output(v, row.tobytes()) for row in y]
    assert [row.tobytes() for row in theirs] == [plain.sender_output(q, delta, row.tobytes()) for row in x]


@pytest.mark.parametrize(
    ("field_bits", "expected"), [(1, "c219dad7c50d015c"), (2, "fcf878894c8bf947"), (4, "8c41dd1a9330e6ab")]
)
def test_bytes_are_those_of_every_earlier_version(
    kernels: Kernels, deal: Deal, digests: Digests, field_bits: int, expected: str
) -> None:
    """Parties of different versions work together: a change of these digests is a change of the protocol."""
    parameters, label = choose(field_bits, 16, 1500, 1500), BucketLabel(CONTEXT, 2)
    y, x = digests(1500, "known answers"), digests(1400, "known answers")
    parts = evaluated(parameters, deal(parameters), label, y, x, kernels)
    assert hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()[:16] == expected


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.integers(0, 60), max_size=40), st.sets(st.integers(0, 60), max_size=40), st.integers(0, 2**48 - 1))
def test_any_two_sets_meet_in_their_intersection(
    deal: Deal, digests: Digests, mine: set[int], theirs: set[int], bucket: int
) -> None:
    parameters, label = choose(1, 1, 40, 40), BucketLabel(CONTEXT, bucket)
    pool = digests(61, "any sets")
    y, x = (pool[sorted(chosen)] for chosen in (mine, theirs))
    _, ours, others = evaluated(parameters, deal(parameters), label, y, x, kernels_numpy)
    found = tags.find(parameters, ours, tags.seal(parameters, others, SECRET)[0]) >= 0
    assert {k for k, hit in zip(sorted(mine), found, strict=True) if hit} == mine & theirs


def test_a_pad_masks_one_table(deal: Deal, digests: Digests) -> None:
    parameters, label = choose(2, 1, 50, 50), BucketLabel(CONTEXT, 0)
    pads = Receiver(parameters, deal(parameters)[0], kernels_numpy).pads(label)
    pads.mask(encode(parameters, label, digests(50, "one"), kernels_numpy))
    with pytest.raises(CryptoError, match="masks one table"):
        pads.mask(encode(parameters, label, digests(50, "two"), kernels_numpy))
    with pytest.raises(TypeError, match="make them there"):
        pickle.dumps(pads)


def test_pads_are_functions_of_bucket_and_attempt_and_never_shared(deal: Deal) -> None:
    parameters = choose(2, 1, 50, 50)
    receiver = Receiver(parameters, deal(parameters)[0], kernels_numpy)
    blank = np.zeros((parameters.rows, parameters.row_bytes), np.uint8)

    def pad(bucket: int, attempt: int) -> bytes:
        return receiver.pads(BucketLabel(CONTEXT, bucket, attempt)).mask(blank).tobytes()

    assert pad(3, 1) == pad(3, 1)
    assert len({pad(bucket, attempt) for bucket in (0, 1, 65536) for attempt in (0, 1)}) == 6


def test_a_message_looks_uniform_whatever_the_table_is(deal: Deal, digests: Digests) -> None:
    parameters, label = choose(4, 1, 1000, 1000), BucketLabel(CONTEXT, 0)
    pads = Receiver(parameters, deal(parameters)[0], kernels_numpy).pads(label)
    message = pads.mask(encode(parameters, label, digests(3, "few"), kernels_numpy))
    ones = np.unpackbits(message, axis=1).mean(axis=0)
    assert abs(ones - 0.5).max() < 6 * 0.5 / np.sqrt(parameters.rows)


def test_the_sender_hears_its_own_message_only(deal: Deal, digests: Digests) -> None:
    """Another bucket's message, or a permuted one, leads to outputs that match nothing."""
    parameters, label = choose(1, 2, 50, 50), BucketLabel(CONTEXT, 0)
    receiver_keys, sender_keys = deal(parameters)
    y = digests(50, "foreign")
    pads = Receiver(parameters, receiver_keys, kernels_numpy).pads(label)
    message = pads.mask(encode(parameters, label, y, kernels_numpy))
    sender = Sender(parameters, sender_keys, kernels_numpy)
    for wrong_label, wrong in ((BucketLabel(CONTEXT, 1), message), (label, np.roll(message, 1, axis=0))):
        outputs = sender.outputs(wrong_label, y, wrong)
        sent, _ = tags.seal(parameters, outputs, SECRET)
        assert (tags.find(parameters, pads.outputs(y), sent) == -1).all()


def test_messages_of_another_shape_are_refused(deal: Deal, digests: Digests) -> None:
    parameters, label = choose(2, 1, 50, 50), BucketLabel(CONTEXT, 0)
    receiver_keys, sender_keys = deal(parameters)
    sender, y = Sender(parameters, sender_keys, kernels_numpy), digests(50, "shape")
    table = encode(parameters, label, y, kernels_numpy)
    pads: Pads = Receiver(parameters, receiver_keys, kernels_numpy).pads(label)
    for wrong in (table[1:], table[:, 1:], table.astype(np.uint16)):
        with pytest.raises(CryptoError, match="received table"):
            sender.outputs(label, y, wrong)
        with pytest.raises(CryptoError, match="stored table"):
            pads.mask(wrong)
    with pytest.raises(CryptoError, match="Seeds"):
        Receiver(choose(4, 1, 50, 50), receiver_keys, kernels_numpy)


# ---- tags --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("capacity", [1, 2, 100, 1 << 16])
def test_tags_are_padded_and_ascending_whatever_the_order_of_rows(capacity: int) -> None:
    parameters = choose(2, 4, 1000, capacity)
    outputs = np.random.default_rng(3).integers(0, 256, (capacity // 2, parameters.tag_bytes), dtype=np.uint8)
    sent, rows_of = tags.seal(parameters, outputs, SECRET)
    assert sent.shape == (capacity, parameters.tag_bytes)
    rows = [row.tobytes() for row in sent]
    assert rows == sorted(rows)
    assert {row.tobytes() for row in outputs} <= set(rows)
    assert np.array_equal(sent, tags.seal(parameters, outputs, SECRET)[0])
    places = tags.find(parameters, outputs, sent)
    assert np.array_equal(sent[places], outputs)
    assert np.array_equal(rows_of[places], np.arange(len(outputs)))
    assert (rows_of == -1).sum() == capacity - len(outputs)


def test_tags_that_share_their_first_eight_bytes_are_told_apart() -> None:
    parameters = choose(2, 1 << 20, 1 << 16, 6)
    assert parameters.tag_bytes == 10
    rows = [b"\x05" * 8 + bytes([k, 0]) for k in (9, 3, 7)] + [b"\x04" * 10, b"\x06" * 10, b"\x07" * 10]
    outputs = np.array([list(row) for row in rows], np.uint8)
    sent, _ = tags.seal(parameters, outputs, SECRET)
    assert [row.tobytes() for row in sent] == sorted(row.tobytes() for row in outputs)
    mine = outputs.copy()
    mine[1, -1] ^= 1
    assert tags.find(parameters, mine, sent).tolist() == [3, -1, 2, 0, 4, 5]


def test_wrong_tags_are_refused() -> None:
    parameters = choose(2, 1, 100, 20)
    outputs = np.random.default_rng(4).integers(0, 256, (20, parameters.tag_bytes), dtype=np.uint8)
    sent, _ = tags.seal(parameters, outputs, SECRET)
    for wrong, text in (
        (sent[::-1], "do not ascend"),
        (sent[1:], "20 tags, got 19"),
        (sent[:, 1:], "uint8"),
        (np.repeat(sent[:1], 20, axis=0), "do not ascend"),
    ):
        with pytest.raises(CryptoError, match=text):
            tags.find(parameters, outputs, wrong)
    with pytest.raises(CryptoError, match="more ids"):
        tags.seal(parameters, np.repeat(outputs, 2, axis=0), SECRET)


def test_tags_that_would_make_the_search_long_are_refused() -> None:
    parameters = choose(2, 1 << 20, 1 << 16, 20)
    alike = np.zeros((20, parameters.tag_bytes), np.uint8)
    alike[:, -1] = np.arange(20)
    with pytest.raises(CryptoError, match="resemble"):
        tags.find(parameters, alike, alike)


# ---- set-up ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field_bits", [1, 2, 4])
def test_the_set_up_gives_the_sender_all_seeds_but_one(field_bits: int) -> None:
    parameters = choose(field_bits, 1, 100, 100)
    started, message = vole.start(parameters, CONTEXT, derive(SECRET, "sender"))
    receiver, reply = vole.answer(parameters, CONTEXT, message, derive(SECRET, "receiver"))
    sender = vole.finish(parameters, started, reply)
    assert len(message) == 32 * parameters.width * field_bits
    assert len(reply) == 32 + 32 * (field_bits - 1) * parameters.width
    every = np.arange(parameters.width)
    missing = np.zeros((parameters.width, 1 << field_bits), bool)
    missing[every, sender.delta] = True
    assert ((receiver.seeds == sender.seeds).all(axis=2) == ~missing).all()
    assert not sender.seeds[missing].any()
    assert len(np.unique(sender.delta)) == 1 << field_bits
    assert len({seed.tobytes() for seed in receiver.seeds.reshape(-1, 16)}) == parameters.width << field_bits
    again = vole.answer(parameters, CONTEXT, message, derive(SECRET, "receiver"))
    assert again[1] == reply
    assert "seeds" not in repr(sender)


def test_another_first_message_is_answered_with_other_randomness() -> None:
    parameters = choose(1, 1, 100, 100)
    _, first = vole.start(parameters, CONTEXT, derive(SECRET, "sender"))
    _, other = vole.start(parameters, CONTEXT, derive(SECRET, "another sender"))
    key = derive(SECRET, "receiver")
    assert vole.answer(parameters, CONTEXT, first, key)[1][:32] != vole.answer(parameters, CONTEXT, other, key)[1][:32]


def test_set_up_messages_of_another_length_are_refused() -> None:
    parameters = choose(2, 1, 100, 100)
    started, message = vole.start(parameters, CONTEXT, SECRET)
    for wrong in (message[:-1], message + b"\0", b""):
        with pytest.raises(CryptoError, match="base transfers"):
            vole.answer(parameters, CONTEXT, wrong, SECRET)
    for wrong in (b"", bytes(32), bytes(32 + 32 * 288 + 1)):
        with pytest.raises(CryptoError, match="answers"):
            vole.finish(parameters, started, wrong)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_a_punctured_tree_has_every_leaf_but_the_chosen_one(depth: int) -> None:
    count = 1 << depth
    delta = np.arange(count, dtype=np.uint8)
    raw = Stream(derive(bytes(32), "tests", "trees")).bytes(count * depth * 64)
    keys = np.frombuffer(raw, np.uint8).reshape(count, depth, 2, 32)
    leaves, message = trees.grow(keys)
    sides = trees.choices(delta, depth)
    chosen = np.take_along_axis(keys, sides[:, :, None, None].astype(np.intp), axis=2)[:, :, 0]
    punctured = trees.puncture(chosen, delta, message)
    for tree in range(count):
        for leaf in range(count):
            expected = bytes(16) if leaf == tree else leaves[tree, leaf].tobytes()
            assert punctured[tree, leaf].tobytes() == expected
    with pytest.raises(CryptoError, match="message of"):
        trees.puncture(chosen, delta, message[1:])


@pytest.mark.parametrize("field_bits", [1, 2, 4])
def test_the_parties_pads_differ_by_delta_times_u(deal: Deal, field_bits: int) -> None:
    parameters, label = choose(field_bits, 1, 100, 100), BucketLabel(CONTEXT, 6)
    receiver, sender = deal(parameters)
    u, v = vole.Streams(parameters, receiver.seeds).columns(label, with_sum=True)
    _, w = vole.Streams(parameters, sender.seeds, sender.delta).columns(label, with_sum=False)
    assert u is not None
    v, w = (part.reshape(field_bits, len(u), -1) for part in (v, w))
    for j, delta in enumerate(sender.delta.tolist()):
        for plane in range(field_bits):
            assert np.array_equal(v[plane, j] ^ w[plane, j], u[j] if delta >> plane & 1 else np.zeros_like(u[j]))
    assert not u[parameters.width :].any()
