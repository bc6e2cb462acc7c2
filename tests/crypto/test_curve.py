"""Curve25519 in both engines: published vectors, plain integers, equal bits, and what is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedspark.crypto import curve
from fedspark.crypto.curve import (
    ORDER,
    Scalar,
    check_points,
    hash_ids,
    hash_to_curve,
    inverse_scalar,
    map_to_curve,
    multiply,
)
from fedspark.crypto.curve_engines import Engine, LibraryCurve
from fedspark.crypto.curve_kernel import ifma_curve
from fedspark.crypto.randomness import Stream, derive
from fedspark.errors import CryptoError
from tests.crypto.plain_curve import P, plain_is_square, plain_map, plain_multiply, plain_point

KEY = derive(bytes(32), "tests", "curve")
LIBRARY, KERNELS = LibraryCurve(), ifma_curve()
# Engines that this machine can run are tested here; nobody can install the other one's instructions.
BOTH = pytest.mark.parametrize("engine", [engine for engine in (LIBRARY, KERNELS) if engine], ids=lambda e: e.name)


def needs_ifma(test: Callable[..., None]) -> Callable[..., None] | None:
    """Collect a test of the vector kernels only where they run."""
    return test if KERNELS is not None else None


# Where carries and the last subtraction of p can go wrong: around multiples of p and at the borders of all words.
EDGES = sorted(
    {0, 1, 2, 9, 19, 2**255 - 1, 2**256 - 1}
    | {multiple * P + offset for multiple in (1, 2) for offset in range(-20, 20) if multiple * P + offset < 2**256}
    | {2**bits + offset for bits in (51, 52, 64, 102, 128, 153, 192, 204, 254, 255) for offset in (-1, 0, 1)}
)
NUMBERS = st.one_of(st.sampled_from(EDGES), st.integers(0, 2**256 - 1))
SCALARS = st.integers(2**251, 2**252 - 1).map(lambda k: (8 * k).to_bytes(32, "little"))
# The u of every point of small order on the curve or its twist: orders 2, 4, 4, 8, 8.
SMALL_ORDER = [
    0,
    1,
    P - 1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
]


def rows(values: list[int], width: int = 32) -> np.ndarray:
    joined = b"".join(value.to_bytes(width, "little") for value in values)
    return np.frombuffer(joined, np.uint8).reshape(-1, width)


def numbers(points: np.ndarray) -> list[int]:
    return [int.from_bytes(row.tobytes(), "little") for row in points]


def random_rows(count: int, width: int) -> np.ndarray:
    raw = Stream(derive(KEY, "rows", count, width)).bytes(count * width)
    return np.frombuffer(raw, np.uint8).reshape(count, width)


def clamped(text: str) -> bytes:
    raw = bytearray.fromhex(text)
    raw[0], raw[31] = raw[0] & 248, raw[31] & 127 | 64
    return bytes(raw)


def invertible(name: str = "a") -> Scalar:
    return Scalar.draw_invertible(Stream(derive(KEY, name)))


# ---- published vectors -----------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("scalar", "u", "product"),
    [
        (
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ),
        (
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        ),
        (
            "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
            "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
            "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
        ),
    ],
)
def test_products_are_those_of_rfc_7748(engine: Engine, scalar: str, u: str, product: str):
    point = np.frombuffer(bytes.fromhex(u), np.uint8).reshape(1, 32)
    assert engine.multiply(point, clamped(scalar)).tobytes().hex() == product


@BOTH
def test_a_thousand_products_in_a_row_end_where_rfc_7748_says(engine: Engine):
    k = u = (9).to_bytes(32, "little")
    for _ in range(1000):
        point = np.frombuffer(u, np.uint8).reshape(1, 32)
        k, u = engine.multiply(point, clamped(k.hex())).tobytes(), k
    assert k.hex() == "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"


# RFC 9380, J.4.2 (and J.4.1): u[0] and Q.x.
ELLIGATOR = [
    (
        0x608D892B641F0328523802A6603427C26E55E6F27E71A91A478148D45B5093CD,
        0x51125222DA5E763D97F3C10FCC92EA6860B9CCBBD2EB1285728F566721C1E65B,
    ),
    (
        0x46F5B22494BFEAA7F232CC8D054BE68561AF50230234D7D1D63D1D9ABECA8DA5,
        0x7D56D1E08CB0CCB92BAF069C18C49BB5A0DCD927EFF8DCF75CA921EF7F3E6EEB,
    ),
    (
        0x235FE40C443766CE7E18111C33862D66C3B33267EFA50D50F9E8E5D252A40AAA,
        0x3FBE66B9C9883D79E8407150E7C2A1C8680BEE496C62FABE4619A72B3CABE90F,
    ),
    (
        0x001E92A544463BDA9BD04DDBE3D6EED248F82DE32F522669EFC5DDCE95F46F5B,
        0x227E0BB89DE700385D19EC40E857DB6E6A3E634B1C32962F370D26F84FF19683,
    ),
    (
        0x1A68A1AF9F663592291AF987203393F707305C7BAC9C8D63D6A729BDC553DC19,
        0x3BCD651EE54D5F7B6013898AAB251EE8ECC0688166FCE6E9548D38472F6BD196,
    ),
]


@BOTH
def test_the_map_is_that_of_rfc_9380(engine: Engine):
    assert [plain_map(r) for r, _ in ELLIGATOR] == [x for _, x in ELLIGATOR]
    assert numbers(engine.map_hashes(rows([r for r, _ in ELLIGATOR], 64))) == [x for _, x in ELLIGATOR]


def test_an_id_has_the_point_that_plain_integers_give():
    ids, context = ["person-1", "Zoë", ""], b"run|psi"
    label = b"fedspark curve25519 blake2b-512 elligator2 v1"
    begun = len(label).to_bytes(8, "big") + label + len(context).to_bytes(8, "big") + context
    expected = [plain_point(hashlib.blake2b(begun + text.encode()).digest()) for text in ids]
    assert [row.tobytes() for row in hash_to_curve(ids, context)] == expected
    # Fixed for ever: a party with another version of the map would find nobody.
    assert expected[0].hex() == "b321414f0ebf88e0ab17bba4b27814e609422665c9e3cecf9d441533e86de27b"


# ---- plain integers --------------------------------------------------------------------------------------------------


@BOTH
@settings(max_examples=12, deadline=None)
@given(scalar=SCALARS, values=st.lists(NUMBERS, min_size=1, max_size=9))
def test_products_are_those_of_plain_integers(engine: Engine, scalar: bytes, values: list[int]):
    points = rows(values)
    expected = [plain_multiply(scalar, row.tobytes()) for row in points]
    assert [row.tobytes() for row in engine.multiply(points, scalar)] == expected


@BOTH
@settings(max_examples=25, deadline=None)
@given(st.lists(st.one_of(NUMBERS, st.integers(0, 2**512 - 1), st.just(2**512 - 1)), min_size=1, max_size=20))
def test_mapped_hashes_are_those_of_plain_integers(engine: Engine, values: list[int]):
    hashes = rows(values, 64)
    assert [row.tobytes() for row in engine.map_hashes(hashes)] == [plain_point(row.tobytes()) for row in hashes]


@BOTH
@settings(max_examples=25, deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=20))
def test_points_on_the_curve_are_told_from_all_others(engine: Engine, values: list[int]):
    expected = [0 < value < P and plain_is_square(value) for value in values]
    assert engine.on_curve(rows(values)).tolist() == expected


@BOTH
def test_all_edges_come_out_right(engine: Engine):
    points, scalar = rows(EDGES), invertible().clamped
    assert numbers(engine.multiply(points, scalar)) == [
        int.from_bytes(plain_multiply(scalar, row.tobytes()), "little") for row in points
    ]
    assert engine.on_curve(points).tolist() == [0 < value < P and plain_is_square(value) for value in EDGES]
    doubled = rows([low + 2**256 * high for low in EDGES for high in (0, 1, 2**256 - 1)], 64)
    assert [row.tobytes() for row in engine.map_hashes(doubled)] == [plain_point(row.tobytes()) for row in doubled]


# ---- two engines, one result -----------------------------------------------------------------------------------------


@needs_ifma
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 4095, 4097])
def test_both_engines_give_equal_bits_for_columns_of_any_length(count: int):
    assert KERNELS is not None
    points, hashes = random_rows(count, 32), random_rows(count, 64)
    some = points[:: max(1, count // 40)]
    scalar = invertible().clamped
    assert np.array_equal(KERNELS.map_hashes(hashes), LIBRARY.map_hashes(hashes))
    assert np.array_equal(KERNELS.on_curve(points), LIBRARY.on_curve(points))
    assert np.array_equal(KERNELS.multiply(points, scalar)[:: max(1, count // 40)], LIBRARY.multiply(some, scalar))


@needs_ifma
def test_a_point_without_a_product_does_not_spoil_its_neighbours():
    assert KERNELS is not None
    values = [9, *SMALL_ORDER, 10, P, 11, *SMALL_ORDER * 2, 12]
    scalar = invertible().clamped
    assert np.array_equal(KERNELS.multiply(rows(values), scalar), LIBRARY.multiply(rows(values), scalar))


# ---- what the protocol relies on -------------------------------------------------------------------------------------


def test_every_mapped_point_is_on_the_curve_and_no_two_ids_share_one():
    points = hash_to_curve([str(number) for number in range(3000)], b"uniformity")
    check_points(points)
    assert len({row.tobytes() for row in points}) == 3000
    ones = np.unpackbits(points, axis=1, bitorder="little")[:, :254].sum(axis=0, dtype=np.int64)
    assert abs(ones - 1500).max() < 6 * (3000 / 4) ** 0.5  # every bit of u is one for about half of the ids


def test_a_raw_hash_as_u_would_lie_on_the_twist_half_of_the_time():
    raw = random_rows(2000, 32).copy()
    raw[:, 31] &= 127
    assert 850 < LIBRARY.on_curve(raw).sum() < 1150


def test_two_scalars_commute_and_one_comes_off():
    a, b = invertible(), Scalar.draw(Stream(derive(KEY, "b")))
    points = hash_to_curve(["x", "y", "z"], b"")
    both = multiply(multiply(points, a), b)
    assert np.array_equal(both, multiply(multiply(points, b), a))
    assert np.array_equal(multiply(both, inverse_scalar(a)), multiply(points, b))


def test_a_part_of_small_order_in_a_point_does_not_reach_the_product():
    def plus_order_two(u: int) -> int:
        return pow(u, -1, P)  # u of (u, v) + (0, 0) is 1 / u

    a, points = invertible(), map_to_curve(random_rows(5, 64))
    shifted = rows([plus_order_two(u) for u in numbers(points)])
    check_points(shifted)
    assert not np.array_equal(points, shifted)
    assert np.array_equal(multiply(points, a), multiply(shifted, a))


def test_products_lie_in_the_subgroup_of_prime_order():
    points = map_to_curve(random_rows(20, 64))
    order = ORDER.to_bytes(32, "little")
    neutral = bytes(32)
    assert any(plain_multiply(order, row.tobytes(), clamp=False) != neutral for row in points)
    assert all(plain_multiply(order, row.tobytes(), clamp=False) == neutral for row in multiply(points, invertible()))


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=32, max_size=32))
def test_an_inverse_is_clamped_and_inverse_or_there_is_none(key: bytes):
    scalar = Scalar.draw(Stream(key))
    number = int.from_bytes(scalar.clamped, "little")
    expected = 8 * pow(8 * number, -1, ORDER)
    if 2**254 <= expected < 2**255:
        inverse = inverse_scalar(scalar)
        assert int.from_bytes(inverse.clamped, "little") == expected
        assert number * expected % ORDER == 1
        assert inverse_scalar(inverse) == scalar
    else:
        with pytest.raises(CryptoError, match="no clamped form"):
            inverse_scalar(scalar)


def test_scalars_are_drawn_again_until_they_have_an_inverse():
    drawn, kept = [], []
    for number in range(60):
        key = derive(KEY, "draws", number)
        drawn.append(Scalar.draw(Stream(key)))
        kept.append(Scalar.draw_invertible(Stream(key)))
        assert kept[-1] == Scalar.draw_invertible(Stream(key))
        inverse_scalar(kept[-1])
    again = sum(first != last for first, last in zip(drawn, kept, strict=True))
    assert 15 <= again <= 45


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("u", [*SMALL_ORDER, P, P + 1])
def test_a_point_of_small_order_has_no_product(u: int):
    with pytest.raises(CryptoError, match="point in row 2 has small order"):
        multiply(rows([9, 9, u, 9]), invertible())


@pytest.mark.parametrize("u", [0, P - 1, P, P + 9, 2**255 - 1, 2**255 + 9, 2**256 - 1, 2])
def test_what_is_no_point_in_canonical_form_is_refused(u: int):
    assert not (u < P and plain_is_square(u) and u)
    with pytest.raises(CryptoError, match="point in row 1 is not on Curve25519"):
        check_points(rows([9, u]))


@pytest.mark.parametrize(
    "column", [np.zeros((2, 31), np.uint8), np.zeros(32, np.uint8), np.zeros((2, 32), np.int8), np.zeros((1, 64), "u1")]
)
def test_a_column_of_another_form_is_refused(column: np.ndarray):
    for function in (lambda: multiply(column, invertible()), lambda: check_points(column)):
        with pytest.raises(CryptoError, match="uint8"):
            function()
    with pytest.raises(CryptoError, match="uint8"):
        map_to_curve(column[:, :32] if column.ndim == 2 else column)


@pytest.mark.parametrize(
    "raw", [bytes(32), b"\xff" * 32, b"\x01" + bytes(30) + b"\x40", bytes(31), bytes(31) + b"\xc0"]
)
def test_bytes_that_are_not_clamped_are_no_scalar(raw: bytes):
    with pytest.raises(CryptoError, match="multiple of 8"):
        Scalar(raw)


def test_an_id_that_is_not_text_is_refused_by_its_row_and_not_shown():
    with pytest.raises(CryptoError, match="id in row 1 is not Unicode text") as caught:
        hash_ids(["a", "secret\ud800"], b"")
    assert "secret" not in str(caught.value)


def test_a_scalar_does_not_show_in_its_repr():
    assert repr(invertible()) == "Scalar()"


def test_columns_that_are_views_of_others_work():
    wide = np.concatenate([map_to_curve(random_rows(6, 64)), np.zeros((6, 32), np.uint8)], axis=1)
    a = invertible()
    assert np.array_equal(multiply(wide[::2, :32], a), multiply(wide[:, :32], a)[::2])
    assert curve.POINT_BYTES == 32
