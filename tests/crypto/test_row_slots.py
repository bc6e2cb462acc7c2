"""Rows that share plaintexts: sums against plain integers, at the exact bounds and one above them."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedspark.crypto.paillier import Ciphertexts, Derived, PrivateKey, encrypt
from fedspark.crypto.randomness import Stream, derive
from fedspark.crypto.row_slots import HIDING_BITS, RowSlots, needed_bits
from fedspark.errors import CryptoError
from tests.models.clear_engine import Cells, ClearEngine, without_secrecy

QUICK = settings(max_examples=60, deadline=None)
KEY_BITS = st.sampled_from([2048, 3072])
SIZES = {"key_bits": KEY_BITS, "rows": st.integers(1, 2**31), "value": st.integers(1, 57), "weight": st.integers(2, 40)}


def stream(*label: str | int) -> Stream:
    return Stream(derive(bytes(32), "test row slots", *label))


@pytest.fixture
def clear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plaintexts in place of ciphertexts: the same messages and results, and thousands of examples."""
    without_secrecy(monkeypatch)


@given(**SIZES)
@QUICK
def test_a_layout_has_as_many_slots_as_the_key_holds_and_not_one_more(
    key_bits: int, rows: int, value: int, weight: int
) -> None:
    layout = RowSlots.fit(key_bits, rows, value, weight)
    least = value + weight + (rows - 1).bit_length() + 41
    assert layout.slot_bits == least == needed_bits(rows, value, weight)
    assert (2 * layout.slots - 1) * layout.slot_bits + 42 <= key_bits
    assert (2 * layout.slots + 1) * least + 42 > key_bits
    assert layout.widest_slot >= layout.slot_bits
    assert (2 * layout.slots - 1) * (layout.widest_slot + 1) + 42 > key_bits


@given(**SIZES)
@QUICK
def test_a_slot_or_a_row_more_or_a_bit_less_is_refused_with_rows_bits_and_slots(
    key_bits: int, rows: int, value: int, weight: int
) -> None:
    layout = RowSlots.fit(key_bits, rows, value, weight)
    tight, needed = layout, layout.slot_bits
    most_rows = 1 << (rows - 1).bit_length()
    RowSlots(key_bits, most_rows, value, weight, layout.slots, needed)
    for wrong in (
        {"slots": (key_bits - 42 + needed) // (2 * needed) + 1},
        {"slot_bits": needed - 1},
        {"slot_bits": layout.widest_slot + 1},
        {"rows": most_rows + 1},
        {"value_bits": value + 1},
        {"weight_bits": weight + 1},
        {"key_bits": (2 * layout.slots - 1) * needed + 41},
        {"slots": 0},
    ):
        with pytest.raises(CryptoError) as caught:
            RowSlots(**{**tight.__dict__, **wrong})
        changed = {**tight.__dict__, **wrong}
        assert f"{changed['slots']} rows in slots of {changed['slot_bits']} bits" in caught.value.message
        assert f"{changed['rows']:,} rows of {changed['value_bits']}-bit" in caught.value.message


def test_a_million_rows_of_a_regression_are_ten_to_a_ciphertext() -> None:
    layout = RowSlots.fit(2048, 2**20, 27, 16)
    assert (layout.slots, layout.slot_bits) == (10, 104)
    assert RowSlots.fit(2048, 2**21 + 1, 27, 16).slots == 9
    assert RowSlots.fit(3072, 2**20, 27, 16).slots == 15
    assert RowSlots.fit(2048, 2**20, 27, 16, most_slots=1).slots == 1


def test_what_does_not_fit_the_key_at_all_is_refused() -> None:
    RowSlots.fit(2048, 2**30, 1935 - HIDING_BITS, 30)
    RowSlots.fit(2048, 2**30, 2006 - HIDING_BITS - 60, 30)
    with pytest.raises(CryptoError, match=r"1 rows in slots of 2007 bits"):
        RowSlots.fit(2048, 2**30, 2007 - HIDING_BITS - 60, 30)


def extremes(bits: int) -> st.SearchStrategy[int]:
    """Unsigned numbers of so many bits, mostly the ends."""
    return st.one_of(st.sampled_from([0, 1, (1 << bits) - 2, (1 << bits) - 1]), st.integers(0, (1 << bits) - 1))


def opened(key: PrivateKey, layout: RowSlots, sums: Derived, *label: int) -> list[int]:
    """What the owner of the masks finds, by way of the party with the key."""
    aligned = layout.align(sums)
    masks = layout.masks(stream("masks", *label), len(aligned))
    sent = aligned.add_plain(masks).for_owner(stream("nonce", *label))
    answers = [layout.wanted(plain, key.public) for plain in key.decrypt(Ciphertexts.from_bytes(
        key.public, sent.to_bytes(), sent.scale))]  # fmt: skip
    assert all(0 <= answer < 1 << layout.slot_bits for answer in answers)
    return [layout.unmask(answer, mask) for answer, mask in zip(answers, masks, strict=True)]


def expected(values: Sequence[int], matrix: np.ndarray) -> list[int]:
    return [int(sum(int(x) * int(v) for x, v in zip(column, values, strict=True))) for column in matrix.T]


@pytest.mark.parametrize("key_bits", [2048])
@pytest.mark.usefixtures("clear")
@given(data=st.data(), value=st.sampled_from([1, 7, 8, 27, 31, 44, 57]), weight=st.sampled_from([2, 12, 16, 17]))
@settings(max_examples=80, deadline=None)
def test_sums_over_rows_are_those_of_plain_integers(
    private_key: PrivateKey, key_bits: int, data: st.DataObject, value: int, weight: int
) -> None:
    rows, features = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 3))
    layout = RowSlots.fit(key_bits, rows, value, weight)
    wider = data.draw(st.integers(layout.slot_bits, layout.widest_slot))
    layout = RowSlots(key_bits, rows, value, weight, layout.slots, wider)
    offset = data.draw(st.sampled_from([0, 1 << (value - 1)]))
    values = np.array(data.draw(st.lists(extremes(value), min_size=rows, max_size=rows))) - offset
    low, high = -(1 << (weight - 1)), (1 << (weight - 1)) - 1
    entry = st.one_of(st.sampled_from([low, high, 0]), st.integers(low, high))
    matrix = np.array([[data.draw(entry) for _ in range(features)] for _ in range(rows)]).reshape(rows, features)
    column = layout.encrypt(private_key.public, values, 20, stream("rows"), offset)
    assert len(column) == -(-rows // layout.slots)

    sums = opened(private_key, layout, layout.weighted_sums(column, matrix), rows, value, weight)
    unshifted = [total - offset * int(matrix[:, j].sum()) for j, total in enumerate(sums)]
    assert unshifted == expected(values.tolist(), matrix)

    (total,) = opened(private_key, layout, layout.plain_sums(column), rows, value, weight, 1)
    assert total - offset * len(column) * layout.slots == int(sum(values.tolist()))


@pytest.mark.usefixtures("clear")
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("rows", "value", "weight"), [(64, 27, 16), (1024, 20, 12), (37, 57, 17)])
def test_the_farthest_sums_possible_survive_at_the_tightest_layout(
    private_key: PrivateKey, rows: int, value: int, weight: int, sign: int
) -> None:
    layout = RowSlots.fit(2048, rows, value, weight)
    values = np.full(rows, (1 << value) - 1)
    matrix = np.full((rows, 2), (1 << (weight - 1)) - 1 if sign > 0 else -(1 << (weight - 1)))
    column = layout.encrypt(private_key.public, values, 0, stream("farthest"))
    assert opened(private_key, layout, layout.weighted_sums(column, matrix), rows, sign) == expected(values, matrix)


@pytest.mark.usefixtures("clear")
@pytest.mark.parametrize("slot_bits", [96, 93])
def test_the_first_value_beyond_the_bound_is_refused_before_it_is_encrypted(slot_bits: int) -> None:
    layout = RowSlots(2048, 200, 27, 16, 9, slot_bits)
    offset = 1 << 26
    layout.plaintexts(np.array([-offset, offset - 1]), offset)
    for wrong in (-offset - 1, offset):
        with pytest.raises(CryptoError, match=rf"1 of 2 values.*9 slots of {slot_bits} bits, 200 rows"):
            layout.plaintexts(np.array([0, wrong]), offset)
    with pytest.raises(CryptoError, match="not packed from 64-bit"):
        layout.plaintexts(np.array([0]), 1 << 27)


def test_plaintexts_are_the_shifted_rows_side_by_side() -> None:
    for slot_bits in (104, 103, 100):
        layout = RowSlots(2048, 8, 40, 16, 3, slot_bits)
        values = [5, -(2**39), 2**39 - 1, 7]
        rows = layout.plaintexts(np.array(values), 2**39)
        assert rows.shape == (2, 256)
        first, second = (int.from_bytes(row.tobytes(), "little") for row in rows)
        assert first == sum((v + 2**39) << (slot_bits * r) for r, v in enumerate(values[:3]))
        assert second == (7 + 2**39) + (2**39 << slot_bits) + (2**39 << 2 * slot_bits)


def test_real_ciphertexts_give_the_same_sums(private_key: PrivateKey) -> None:
    rng = np.random.default_rng(3)
    layout = RowSlots.fit(2048, 25, 27, 16)
    parts, matrices, total = [], [], None
    for count in (23, 2):
        values, matrix = rng.integers(-(2**26), 2**26, count), rng.integers(-(2**15), 2**15, (count, 2))
        column = layout.encrypt(private_key.public, values, 20, stream("real", count), 2**26)
        sums = layout.weighted_sums(column, matrix, 15)
        assert sums.scale == 35
        total = sums if total is None else total.add(sums)
        parts.append(values)
        matrices.append(matrix)
    found = opened(private_key, layout, total)
    x, v = np.concatenate(matrices), np.concatenate(parts)
    assert [f - 2**26 * int(x[:, j].sum()) for j, f in enumerate(found)] == (x.T @ v).tolist()


@pytest.mark.usefixtures("clear")
@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int64])
def test_entries_are_multiplied_as_wide_as_they_are(
    private_key: PrivateKey, monkeypatch: pytest.MonkeyPatch, dtype: type
) -> None:
    # A matrix is read once per slot and column; at four times the width that is most of a task's memory.
    layout, seen = RowSlots.fit(2048, 25, 27, 16), []
    linear = ClearEngine.linear

    def noting(engine: ClearEngine, cells: Cells, matrix: np.ndarray, bits: int) -> Cells:
        seen.append(matrix.dtype)
        return linear(engine, cells, matrix, bits)

    monkeypatch.setattr(ClearEngine, "linear", noting)
    column = layout.encrypt(private_key.public, np.arange(25), 0, stream("width"))
    layout.weighted_sums(column, np.ones((25, 2), dtype))
    assert seen == [np.dtype(dtype)]


@pytest.mark.usefixtures("clear")
def test_more_rows_than_the_slots_have_room_for_are_refused(private_key: PrivateKey) -> None:
    layout = RowSlots(2048, 20, 27, 16, 5, 100)
    column = layout.encrypt(private_key.public, np.zeros(20, np.int64), 0, stream("room"))
    layout.weighted_sums(column, np.zeros((20, 1), np.int16))
    refused = r"21 rows do not fit: slots of 100 bits .* 20 rows"
    with pytest.raises(CryptoError, match=refused):
        layout.plaintexts(np.zeros(21, np.int64))
    with pytest.raises(CryptoError, match=refused):
        layout.weighted_sums(column, np.zeros((21, 1), np.int16))


# ---- what is seen ----------------------------------------------------------------------------------------------------


def test_the_party_with_the_key_sees_masks_in_all_slots(private_key: PrivateKey) -> None:
    layout = RowSlots.fit(2048, 30, 27, 16)
    column = layout.encrypt(private_key.public, np.full(30, 5), 20, stream("seen"))
    aligned = layout.align(layout.weighted_sums(column, np.full((30, 1), 3)))
    (mask,) = layout.masks(Stream(os.urandom(32)), 1)
    (bare,), (masked,) = private_key.decrypt(aligned), private_key.decrypt(aligned.add_plain([mask]))
    contents = [slot_of(layout, bare, at) for at in range(2 * layout.slots - 1)]
    assert all(contents)  # without masks, every slot tells a sum: one of the rows, 2m-2 across rows
    assert contents[layout.slots - 1] == 30 * 15
    assert masked == bare + mask
    noise = [slot_of(layout, masked, at) for at in range(2 * layout.slots - 1)]
    assert len(set(noise)) == len(noise)
    assert all(value.bit_length() > layout.slot_bits - 50 for value in noise)


def slot_of(layout: RowSlots, plain: int, at: int) -> int:
    return (plain >> (at * layout.slot_bits)) % (1 << layout.slot_bits)


def test_masks_of_slots_are_independent_and_cover_the_whole_range() -> None:
    layout = RowSlots.fit(2048, 2**20, 27, 16)
    slots = np.array(
        [
            [slot_of(layout, mask, at) >> (layout.slot_bits - 3) for at in range(19)]
            for mask in layout.masks(stream("range"), 400)
        ]
    )
    counts = np.bincount(slots.ravel(), minlength=8)
    assert counts.min() > 0.85 * counts.mean()  # 950 each, 3 bits of uniform numbers
    assert np.abs(np.corrcoef(slots.T) - np.eye(19)).max() < 0.25


@given(value=st.integers(-(2**62), 2**62), slot_bits=st.sampled_from([104, 99]))
@QUICK
def test_a_sum_for_the_receiver_is_shown_in_its_slot_alone(private_key: PrivateKey, value: int, slot_bits: int) -> None:
    layout = RowSlots(2048, 2**14, 27, 16, 9, slot_bits)
    (mask,) = layout.masks(stream("shown", slot_bits), 1)
    shown = layout.showing(mask)
    assert [slot_of(layout, shown, at) for at in range(17) if at != 8] == [
        slot_of(layout, mask, at) for at in range(17) if at != 8
    ]
    plain = (value << (8 * slot_bits)) + shown
    assert layout.value(layout.wanted(plain, private_key.public)) == value


def test_sums_that_do_not_belong_to_the_rows_are_refused(private_key: PrivateKey) -> None:
    layout = RowSlots.fit(2048, 100, 27, 16)
    column = layout.encrypt(private_key.public, np.zeros(12, np.int64), 20, stream("few"))
    with pytest.raises(CryptoError, match="are 3 ciphertexts, not 2"):
        layout.weighted_sums(column, np.zeros((25, 2), np.int64))
    with pytest.raises(CryptoError, match="sums are not 11 for each"):
        layout.align(Derived.combine([encrypt(private_key.public, [0] * 12, 0, stream("twelve"))]))
