"""Products modulo N of numbers that are not in Montgomery form, as LLVM assembly: one step instead of two.

Paul Barrett, "Implementing the Rivest Shamir and Adleman Public Key Encryption Algorithm on a Standard Digital Signal
Processor", CRYPTO '86. With N of B bits, T = a b below 4 N^2 and mu = floor(2^(2B+2) / N), the quotient
q = (floor(T / 2^(B-2)) mu) >> (B + 4) is T / N less at most 2.5: 2^(B-2) / N <= 1/2 for the bits of T that are dropped,
T / 2^(2B+2) < 1 for those of mu, less than 2^-16 for columns of the second product that are left out, and one for the
floor. So T - q N is below 4 N, and below 2 N after one subtraction of 2 N, which a mask takes or leaves. Only the
columns that q needs, the upper ones, and that the difference needs, the lower ones, are computed: with the first
product, as many tiles as a Montgomery product has, and a twentieth more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gmpy2 import mpz

from fedspark.crypto.vector.code import TILE
from fedspark.crypto.vector.products import HEADER_BYTES, Products


@dataclass(frozen=True)
class Plan:
    """Where the bits lie: limb and bit in it of 2^(B-2) and of 2^(B+4), and the first column of tiles of the second
    product. They are words 3 to 7 of a modulus in memory, and mu's block follows N's.
    """

    mu: mpz
    words: tuple[int, int, int, int, int]

    @staticmethod
    def of(n: mpz, radix: int, limbs: int) -> Plan:
        bits = n.bit_length()
        # The last column that is left out reaches 2 TILE places beyond its first.
        first = (bits + 4 - 17 - limbs.bit_length()) // radix // TILE - 1
        return Plan((mpz(1) << (2 * bits + 2)) // n, (*divmod(bits - 2, radix), *divmod(bits + 4, radix), first))


def barrett(code: Products, out: str, a: str, b: str, room: Sequence[str], limbs: str) -> None:
    """out = a b modulo N, below 2 N, for a and b below 2 N; ``out`` may be ``a`` or ``b``. ``room`` is three times
    2 x limbs + 1 vectors, the last of each being zero.
    """
    kb, n = code.read("%m"), code.at("%m", HEADER_BYTES)
    used = code.word("mul", kb, TILE)
    mu = code.vectors_on(n, limbs)
    limb, bit, limb_q, bit_q, first = (code.read("%m", 8 * word) for word in range(3, 8))
    product, scaled, quotient = room
    _columns(code, product, a, b, "0", kb)
    _cut(code, quotient, product, limb, bit, used)
    _columns(code, scaled, quotient, mu, first, kb)
    _cut(code, quotient, scaled, limb_q, bit_q, used)
    _lower_columns(code, scaled, quotient, n, "0", kb)
    _subtract(code, product, product, scaled, used, 0)
    borrow = _subtract(code, scaled, product, n, used, 1)

    def choose(k: str, _: Sequence[str]) -> Sequence[str]:
        less = code.load(code.vectors_on(scaled, k))
        difference = code.op("xor", less, code.load(code.vectors_on(product, k)))
        code.store(code.op("xor", less, code.op("and", difference, borrow)), code.vectors_on(out, k))
        return []

    code.loop(used, [], choose)


def _columns(code: Products, out: str, a: str, b: str, first: str, kb: str) -> None:
    """a b from column ``first`` of tiles on."""

    def upper(turn: str, state: Sequence[str]) -> list[str]:
        start, last = code.word("add", turn, 1), code.word("sub", kb, 1)

        def pair(step: str, sums: Sequence[str]) -> list[str]:
            i, j = code.word("add", start, step), code.word("sub", last, step)
            return code.tile(sums, code.tile_at(a, i), code.tile_at(b, j))

        sums = code.loop(code.word("sub", kb, start), code.sums(state), pair)
        return code.written(code.joined(sums), code.tile_at(out, code.word("add", turn, kb)))

    code.loop(kb, _lower_columns(code, out, a, b, first, kb), upper)


def _lower_columns(code: Products, out: str, a: str, b: str, first: str, kb: str) -> list[str]:
    def lower(column: str, state: Sequence[str]) -> list[str]:
        def pair(turn: str, sums: Sequence[str]) -> list[str]:
            return code.tile(sums, code.tile_at(a, turn), code.tile_at(b, code.word("sub", column, turn)))

        sums = code.loop(code.word("add", column, 1), code.sums(state), pair)
        return code.written(code.joined(sums), code.tile_at(out, column))

    return code.loop(kb, [code.zero] * TILE, lower, first=first)


def _cut(code: Products, out: str, a: str, limb: str, bit: str, used: str) -> None:
    """out = a without its lowest bits, ``limb`` limbs and ``bit`` bits."""
    down, up = code.broadcast(bit), code.broadcast(code.word("sub", code.shape.radix, bit))
    source = code.vectors_on(a, limb)

    def take(k: str, _: Sequence[str]) -> Sequence[str]:
        place = code.vectors_on(source, k)
        value = code.op("or", code.op("lshr", code.load(place), down), code.op("shl", code.load(place, 1), up))
        code.store(code.op("and", value, code.mask), code.vectors_on(out, k))
        return []

    code.loop(used, [], take)


def _subtract(code: Products, out: str, a: str, b: str, used: str, doubled: int) -> str:
    """out = a - b 2^doubled in as many limbs; returns all ones where that is negative."""

    def limb(k: str, state: Sequence[str]) -> Sequence[str]:
        subtrahend = code.shifted("shl", code.load(code.vectors_on(b, k)), doubled)
        value = code.op("sub", code.load(code.vectors_on(a, k)), subtrahend)
        value = code.op("add", value, state[0])
        code.store(code.op("and", value, code.mask), code.vectors_on(out, k))
        return [code.shifted("ashr", value, code.shape.radix)]

    return code.loop(used, [code.zero], limb)[0]
