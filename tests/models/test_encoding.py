"""Numbers of a round as integers: exact sums, bounds, and what does not fit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedspark.crypto.paillier import PrivateKey, encrypt
from fedspark.crypto.randomness import Stream, derive
from fedspark.crypto.row_slots import RowSlots, needed_bits
from fedspark.errors import CryptoError
from fedspark.models.vertical_lr import encoding
from fedspark.models.vertical_lr.encoding import WEIGHT_BITS, X_BITS, X_MOST, Encoding, dot, encode_weights, quantise
from tests.models.clear_engine import without_secrecy

QUICK = settings(max_examples=60, deadline=None)


def stream(*label: str | int) -> Stream:
    return Stream(derive(bytes(32), "test encoding", *label))


@pytest.fixture(scope="module")
def key() -> PrivateKey:
    return PrivateKey.generate(stream("key"))


@given(key_bits=st.sampled_from([2048, 3072]), rows=st.integers(1, 2**31), parties=st.integers(2, 9))
@QUICK
def test_every_addend_within_its_limit_fits_the_slots(key_bits: int, rows: int, parties: int) -> None:
    for weighted in (False, True):
        code = Encoding.agree(key_bits, rows, parties, weighted)
        layout = code.layout
        assert layout.slot_bits >= needed_bits(rows, layout.value_bits, X_BITS)
        heaviest = 2**WEIGHT_BITS - 1 if weighted else 1
        assert parties * code.limit * heaviest < 2 ** (layout.value_bits - 1)  # |d|, and half of 2 |d| with its offset
        assert parties * (code.limit + code.offset) < 2**layout.value_bits or weighted
        assert code.fraction >= 20
        assert code.limit * parties >= 2 ** (code.fraction + 6) - parties  # |d| < 64 at least
        largest_z = parties * code.limit * 2.0 ** (2 - code.fraction)
        assert rows * (largest_z**2 / 8 + largest_z / 2) * 2.0**code.loss_fraction < 2.0 ** (layout.slot_bits - 42)
    assert Encoding.agree(key_bits, rows, parties).layout.slots >= 8


def test_an_encoding_whose_summed_loss_runs_over_its_slot_is_refused() -> None:
    # |d| < 2^59: with f fraction bits the loss of 2^20 rows has 2 x 59 - f + 20 bits and one more; its slot has 137.
    layout, limit = RowSlots.fit(2048, 2**20, 60, X_BITS), (2**59 - 1) // 2
    Encoding(layout, 2, 4, limit, False)
    with pytest.raises(CryptoError, match=r"summed over 1,048,576 rows has 136 bits .* slot of 137 bits"):
        Encoding(layout, 2, 3, limit, False)


def test_a_million_rows_of_two_parties_are_ten_to_a_ciphertext() -> None:
    for rows in (10**6, 2**20, 2**21):
        assert Encoding.agree(2048, rows, 2).layout.slots == 10
    assert Encoding.agree(2048, 10**7, 2).layout.slots == 9
    assert Encoding.agree(2048, 10**6, 2, weighted=True).layout.slots == 1


@pytest.mark.parametrize("rows", [45, 10**6])
def test_the_farthest_score_is_encoded_and_the_next_one_refused(rows: int) -> None:
    code = Encoding.agree(2048, rows, 2)
    farthest = code.limit * 2.0 ** (2 - code.fraction)
    x = np.array([[1], [-1]], np.int16)
    assert code.predictor(x, np.array([farthest])).tolist() == [code.limit, -code.limit]
    for wrong in (np.nextafter(farthest, math.inf) + 2.0 ** (1 - code.fraction), math.nan, math.inf):
        with pytest.raises(CryptoError, match=rf"{code.layout.slots} rows in slots of {code.layout.slot_bits} bits"):
            code.predictor(x, np.array([wrong]))
    label = np.array([-1])
    assert code.residual(np.array([code.limit - (1 << (code.fraction - 1))]), label).tolist() == [code.limit]
    with pytest.raises(CryptoError, match=f"{rows:,} rows in all"):
        code.residual(np.array([code.limit]), label)


def test_scores_add_the_intercept_and_round_once() -> None:
    code = Encoding.agree(2048, 2**21, 2)
    assert code.fraction == 20
    x = np.array([[3, -5], [100, 0]], np.int16)
    u = code.predictor(x, np.array([0.5, 0.25, 1.125 + 2.0**-20]))
    assert u.tolist() == [(1.5 - 1.25 + 1.125) * 2**18, (50 + 1.125) * 2**18]
    assert code.predictor(x, np.array([0.5, 0.25])).tolist() == [0.25 * 2**18, 50 * 2**18]


def test_values_are_quantised_around_the_mean_without_clipping() -> None:
    x = np.array([[1.0], [3.0], [8.0]])
    mean, quantum = np.array([4.0]), np.array([4.0 / X_MOST])
    assert quantise(x, mean, quantum)[:, 0].tolist() == [-round(3 * X_MOST / 4), -round(X_MOST / 4), X_MOST]
    with pytest.raises(CryptoError, match="does not fit its 16-bit"):
        quantise(np.array([[8.001]]), mean, quantum)


def test_weights_are_encoded_up_to_their_bound() -> None:
    assert encode_weights(np.array([0.0, 1.0, 4095.9999])).tolist() == [0, 65536, 268435449]
    with pytest.raises(CryptoError, match="4,096 times the mean"):
        encode_weights(np.array([4096.0]))


@given(st.lists(st.tuples(st.integers(-(2**43), 2**43), st.integers(-(2**43), 2**43)), max_size=30))
@QUICK
def test_dot_products_are_exact(pairs: list[tuple[int, int]]) -> None:
    a, b = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    assert dot(a, b, 45) == sum(p * q for p, q in pairs)


def test_dot_products_do_not_overflow_at_many_large_numbers() -> None:
    a = np.full(2**20 + 3, -(2**27))
    assert dot(a, a, 29) == (2**20 + 3) * 2**54
    b = np.full(2**20 + 3, 2**40 - 1)
    assert dot(b, -b, 41) == -(2**20 + 3) * (2**40 - 1) ** 2


@pytest.mark.parametrize("weighted", [False, True])
def test_encrypted_residuals_of_several_hosts_are_those_of_plain_numbers(
    key: PrivateKey, weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_secrecy(monkeypatch)
    rng, rows = np.random.default_rng(2), 25
    code = Encoding.agree(2048, rows, 3, weighted)
    u = [rng.integers(-(2**22), 2**22, rows) for _ in range(3)]
    y = rng.choice([-1, 1], rows)
    hosts = code.encrypt(key.public, u[1], stream(1)).add(code.encrypt(key.public, u[2], stream(2)))
    weights = rng.integers(0, 2**17, rows) if weighted else None
    d = code.residuals(hosts, code.residual(u[0], y), weights)
    assert d.scale == code.d_fraction
    expected = (sum(u) - y * 2 ** (code.fraction - 1)) * (1 if weights is None else weights)
    layout, found = code.layout, []
    for plain in key.decrypt(d):
        for at in range(layout.slots):
            slot = plain if weighted else (plain >> (at * layout.slot_bits)) % (1 << layout.slot_bits)
            found.append(slot - code.d_offset)
    assert found[:rows] == expected.tolist()
    if weights is None:
        assert set(found[rows:]) == {0}


def test_the_host_s_addends_of_the_loss_are_exact(key: PrivateKey, monkeypatch: pytest.MonkeyPatch) -> None:
    from fedspark.models.vertical_lr.tasks import host_loss

    without_secrecy(monkeypatch)
    rng, rows = np.random.default_rng(4), 23
    code = Encoding.agree(2048, rows, 2)
    u, y = rng.integers(-(2**24), 2**24, rows), rng.choice([-1, 1], rows)
    squares = encrypt(key.public, [code.squares(u)], code.loss_fraction, stream("squares"))
    stored = host_loss(code, code.encrypt(key.public, u, stream("u")), y, squares)
    assert stored.scale == code.loss_fraction
    assert len(stored) == code.layout.slots + 1
    real = u * 2.0 ** (2 - code.fraction)
    *_, square = key.decrypt(stored)
    assert square * 2.0**-code.loss_fraction == pytest.approx(float((real**2).sum() / 8), abs=2.0**-code.loss_fraction)
    assert encoding.dot(u, y, 26) == int(u @ y)
