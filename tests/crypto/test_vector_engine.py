from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz

from fedspark.crypto.paillier import PrivateKey
from fedspark.crypto.paillier_engine import Gmpy2Engine, OwnerEngine
from fedspark.crypto.randomness import Stream, derive
from fedspark.crypto.residues import residue_rows
from fedspark.crypto.vector import buckets
from fedspark.crypto.vector import engine as engine_module
from fedspark.crypto.vector.compiled import kernels, runnable
from fedspark.crypto.vector.engine import BATCH, VectorEngine, VectorOwnerEngine
from fedspark.errors import CryptoError

pytestmark = pytest.mark.skipif(not runnable(), reason="llvmlite is absent, or the processor has no AVX2")

SIZES = (2048, 3072, 4096)


def stream(*label: str | int) -> Stream:
    return Stream(derive(bytes(32), "test vector engine", *label))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module", params=SIZES)
def key(request) -> PrivateKey:
    return PrivateKey.generate(stream("key", request.param), request.param)


@pytest.fixture(params=runnable())
def engine(request, key):
    """Every engine that this machine can run, the fastest or not."""
    return made(request.param, key.p, key.q)


@pytest.fixture(params=[f"{name}{owner}" for name in runnable() for owner in ("", "-owner")])
def encryptor(request, key):
    """The same, and the key owner's of each, whose nonces are made in another way."""
    return made(request.param, key.p, key.q)


@cache
def made(name: str, p: mpz, q: mpz) -> VectorEngine:
    owner = name.endswith("-owner")
    compiled = kernels(name.removesuffix("-owner"))
    return VectorOwnerEngine(p, q, compiled) if owner else VectorEngine(int(p * q), compiled)


@pytest.fixture(scope="module")
def plain(key) -> Integers:
    return Integers(key)


class Integers:
    """What the engines have to give, by Python's integers."""

    def __init__(self, key: PrivateKey) -> None:
        self.n = key.public.n
        self.n2, self.width = self.n**2, key.public.width
        self.p, self.q, self.hs = int(key.p), int(key.q), int(Gmpy2Engine(self.n).hs)
        self.power = cache(lambda base, exponent, modulus: int(gmpy2.powmod(base, exponent, modulus)))

    def short(self, stream: Stream, count: int) -> list[int]:
        size = self.width // 4
        raw = stream.bytes(size * count)
        return [
            self.power(self.hs, int.from_bytes(raw[at : at + size], "little"), self.n2)
            for at in range(0, len(raw), size)
        ]

    def cells(self, values) -> np.ndarray:
        data = b"".join(int(value % self.n2).to_bytes(self.width, "little") for value in values)
        return np.frombuffer(data, np.uint8).reshape(-1, self.width)

    def units(self) -> list[int]:
        """Ends of the range, numbers around the primes and powers of two, and random ones; all coprime to n."""
        n, n2, p, q = self.n, self.n2, self.p, self.q
        edges = [1, 2, n2 - 1, n2 - 2, p - 1, p + 1, q - 1, p * p - 1, p * p + 1, n - 1, n + 1, n2 >> 1]
        edges += [
            1 << 52,
            (1 << 52) - 1,
            1 << 27,
            (1 << 64) - 1,
            1 << (n.bit_length() - 1),
            1 << (2 * n.bit_length() - 1),
        ]
        return [value % n2 for value in edges] + [int(value) for value in stream("units").units(n2, 5)]


def ints(cells: np.ndarray) -> list[int]:
    return [int.from_bytes(row.tobytes(), "little") for row in cells]


MESSAGES = [0, 1, -1, 2, -2, 2**62, -(2**63), 2**1000, -(2**1000)]


def test_fresh_encryptions_are_those_of_the_formula(encryptor, plain):
    half = plain.n >> 1
    messages = [*MESSAGES, half, -half]
    nonces = plain.short(stream("encrypt"), len(messages))
    expected = [(1 + m % plain.n * plain.n) * s % plain.n2 for m, s in zip(messages, nonces, strict=True)]
    assert ints(encryptor.encrypt(residue_rows(messages, plain.n), stream("encrypt"))) == expected


def test_short_and_full_obfuscation_are_those_of_the_formula(encryptor, plain):
    values = plain.units()[:7]
    nonces = plain.short(stream("encrypt"), len(values))
    expected = [c * s % plain.n2 for c, s in zip(values, nonces, strict=True)]
    assert ints(encryptor.obfuscate(plain.cells(values), stream("encrypt"))) == expected
    few = values[2:4]
    rhos = stream("full").units(plain.n, len(few))
    expected = [c * plain.power(int(rho), plain.n, plain.n2) % plain.n2 for c, rho in zip(few, rhos, strict=True)]
    assert ints(encryptor.obfuscate_fully(plain.cells(few), stream("full"))) == expected


def test_sums_are_products_modulo_n_squared(engine, plain):
    left = [0, *plain.units(), plain.p, plain.q, plain.n, plain.p**2]
    for right in (left, left[::-1], left[3:] + left[:3], [plain.n2 - 1] * len(left)):
        expected = [a * b % plain.n2 for a, b in zip(left, right, strict=True)]
        assert ints(engine.add(plain.cells(left), plain.cells(right))) == expected
    product = 1
    for value in left[1:]:
        product = product * value % plain.n2
    assert ints(engine.total(plain.cells(left[1:]))) == [product]
    assert ints(engine.total(plain.cells(left))) == [0]
    assert ints(engine.total(plain.cells([]))) == [1]


def test_plain_numbers_are_added_in_the_exponent(engine, plain):
    values, messages = plain.units()[: len(MESSAGES)], MESSAGES
    expected = [c * (1 + m % plain.n * plain.n) % plain.n2 for c, m in zip(values, messages, strict=True)]
    assert ints(engine.add_plain(plain.cells(values), residue_rows(messages, plain.n))) == expected


@pytest.mark.parametrize("factors", [[0, 1, -1, 5, -7, 2**15], [2**90, -3, 0], [-(2**63), 2**63 - 1]])
def test_factors_are_powers(engine, plain, factors):
    values = plain.units()[: len(factors)]
    expected = [pow(c, k, plain.n2) for c, k in zip(values, factors, strict=True)]
    assert ints(engine.multiply_plain(plain.cells(values), factors)) == expected
    if max(map(abs, factors)) <= 2**63:
        assert ints(engine.multiply_plain(plain.cells(values), np.array(factors, np.int64))) == expected


def test_factors_at_the_ends_of_the_range_are_powers(engine, plain):
    half, values = plain.n >> 1, plain.units()[2:4]
    expected = [plain.power(values[0], half, plain.n2), plain.power(values[1], -half, plain.n2)]
    assert ints(engine.multiply_plain(plain.cells(values), [half, -half])) == expected


@pytest.mark.parametrize(("features", "bits"), [(1, 2), (1, 16), (2, 5), (3, 17), (5, 16), (9, 3), (2, 62)])
def test_linear_is_a_product_of_powers(engine, plain, features, bits):
    values = plain.units()
    rng = np.random.default_rng(features)
    matrix = rng.integers(-(1 << (bits - 1)), 1 << (bits - 1), (len(values), features))
    matrix[0], matrix[1] = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    expected = []
    for column in matrix.T.tolist():
        product = 1
        for value, entry in zip(values, column, strict=True):
            product = product * pow(value, entry, plain.n2) % plain.n2
        expected.append(product)
    assert ints(engine.linear(plain.cells(values), matrix, bits)) == expected


def test_blocks_of_rows_do_not_change_a_byte(monkeypatch, private_key):
    n, rows = private_key.public.n, 301
    reference = Gmpy2Engine(n)
    cells = reference.column([mpz(value) for value in stream("blocks").units(n**2, rows)])
    matrix = np.random.default_rng(3).integers(-(2**15), 2**15, (rows, 3))
    expected = reference.linear(cells, matrix, 16)
    for name in runnable():
        for summed, steps in ((1 << 16, 1 << 13), (100, 7), (301, 301), (8, 1 << 13)):
            monkeypatch.setattr(engine_module, "SUMMED", summed)
            monkeypatch.setattr(buckets, "_STEPS", steps)
            np.testing.assert_array_equal(VectorEngine(n, kernels(name)).linear(cells, matrix, 16), expected)


def test_the_plan_of_buckets_makes_the_fewest_products():
    assert buckets.plan(100_000, 10, 16, 8) == (8, 2)  # 20 tables fill 5 blocks of lanes when rows are halved
    assert buckets.plan(100_000, 8, 16, 8) == (8, 1)
    assert buckets.plan(1_000_000, 1, 16, 4) == (8, 2)
    window, shares = buckets.plan(10, 200, 16, 8)
    assert window <= 3
    assert shares == 1


def test_a_negative_factor_needs_a_unit(private_key):
    for name in runnable():
        made_engine = VectorEngine(private_key.public.n, kernels(name))
        cells = made_engine.column([mpz(5), private_key.p, mpz(7)])
        assert ints(made_engine.multiply_plain(cells, [-1, 3, -2])) == [
            pow(5, -1, private_key.public.n**2),
            int(private_key.p) ** 3,
            pow(7, -2, private_key.public.n**2),
        ]
        with pytest.raises(CryptoError, match="One of 2 ciphertexts with a negative factor"):
            made_engine.multiply_plain(cells, [1, -3, -2])


def test_linear_of_no_rows_or_no_columns_has_no_sum(engine, plain):
    assert ints(engine.linear(plain.cells([]), np.zeros((0, 3), np.int64), 16)) == [1, 1, 1]
    assert engine.linear(plain.cells([3]), np.zeros((1, 0), np.int64), 16).shape == (0, plain.width)


def test_rows_out_of_range_or_with_a_factor_are_found(engine, plain):
    good = plain.units()
    assert engine.refused(plain.cells(good)) is None
    assert engine.refused(plain.cells([])) is None
    for wrong in (0, plain.p, plain.q, plain.n, plain.q * 12, plain.n2 - plain.p):
        assert engine.refused(plain.cells([*good, wrong, *good])) == len(good)
    for wrong in (plain.n2, plain.n2 + 1, (1 << (8 * plain.width)) - 1):
        row = np.frombuffer(wrong.to_bytes(plain.width, "little"), np.uint8)[None]
        assert engine.refused(np.concatenate([plain.cells(good), row])) == len(good)


def test_the_powers_of_decryption_are_those_of_python(key, plain):
    values = [0, *plain.units()[:12], plain.p, plain.q, plain.n]
    expected = [(plain.power(c, plain.p - 1, plain.p**2), plain.power(c, plain.q - 1, plain.q**2)) for c in values]
    for owner in (OwnerEngine(key.p, key.q), *(VectorOwnerEngine(key.p, key.q, kernels(name)) for name in runnable())):
        for count in (len(values), 1, 0):
            found = [(int(a), int(b)) for a, b in owner.half_powers(plain.cells(values[:count]))]
            assert found == expected[:count]


@pytest.mark.parametrize("rows", [1, 7, 8, 9, BATCH - 1, BATCH + 1, 2 * BATCH + 3])
def test_any_number_of_rows_gives_the_bytes_of_gmpy2(private_key, rows):
    n = private_key.public.n
    reference = Gmpy2Engine(n)
    messages = residue_rows(np.arange(-3, rows - 3), n)
    cells = reference.encrypt(messages, stream("rows"))
    matrix = np.random.default_rng(rows).integers(-8, 8, (rows, 3))
    for name in runnable():
        engine = VectorEngine(n, kernels(name))
        np.testing.assert_array_equal(engine.encrypt(messages, stream("rows")), cells)
        np.testing.assert_array_equal(engine.add(cells, cells[::-1]), reference.add(cells, cells[::-1]))
        np.testing.assert_array_equal(engine.total(cells), reference.total(cells))
        np.testing.assert_array_equal(engine.linear(cells, matrix, 4), reference.linear(cells, matrix, 4))


def test_threads_may_share_an_engine(private_key):
    n, rows = private_key.public.n, 2 * BATCH
    plain = residue_rows(np.arange(rows), n)
    for name in runnable():
        shared = VectorEngine(n, kernels(name))
        alone = shared.encrypt(plain, stream("threads"))
        doubled = shared.add(alone, alone)

        def work(number: int, shared=shared, alone=alone) -> np.ndarray:
            return shared.encrypt(plain, stream("threads")) if number % 2 else shared.add(alone, alone)

        with ThreadPoolExecutor(4) as pool:
            for number, found in enumerate(pool.map(work, range(8))):
                np.testing.assert_array_equal(found, alone if number % 2 else doubled)


def test_gmpy2_gives_the_formula_too(key, plain):
    engine, values = Gmpy2Engine(plain.n), plain.units()
    assert ints(engine.add(plain.cells(values), plain.cells(values[::-1]))) == [
        a * b % plain.n2 for a, b in zip(values, values[::-1], strict=True)
    ]
    assert ints(OwnerEngine(key.p, key.q).encrypt(residue_rows([5], plain.n), stream("encrypt"))) == [
        (1 + 5 * plain.n) * plain.short(stream("encrypt"), 1)[0] % plain.n2
    ]


def test_residue_rows_of_arrays_are_those_of_integers():
    for n in ((1 << 2047) + 1, (1 << 2048) - 1, (1 << 2047) + (1 << 200) + 1, (1 << 2047) + 2**63):
        values = np.array([0, 1, -1, 2**63 - 1, -(2**63), -5, 7], np.int64)
        assert ints(residue_rows(values, n)) == [int(value) % n for value in values]
        assert ints(residue_rows([mpz(int(value)) for value in values], n)) == [int(value) % n for value in values]
