"""Numbers modulo p = 2^255 - 19, eight side by side, as LLVM assembly for AVX-512 IFMA.

A number is five vectors of eight 64-bit words: 51 bits in each word, least significant vector first. IFMA
multiplies the low 52 bits of two words and adds the low or the high 52 bits of the product to a third, so a word has
13 bits above the radix to gather products before carries must move.

Two states, kept apart by type:

- ``Tight``: every word is below 2^52, so the number may be multiplied;
- ``Loose``: words up to 2^60.2, a product whose carries have not moved. It may be added, or subtracted from a multiple
  of p, once, and ``carry`` makes it tight again.

Bounds. A column of a product is at most five low halves below 2^52 and twice five high halves below 2^52; columns 5
to 9 come back times 19 (2^255 = 19), so a word stays below 19 * 15 * 2^52 < 2^60.2. A difference adds 2^10 p, whose
words are at least 2^61 - 19 * 2^10 > 2^60.2: no word becomes negative, and all stay below 2^62. ``carry`` moves what
is above bit 51 to the next word, from the last one times 19 to the first: less than 2^51 + 19 * 2^11 is left, far
below 2^52. Nothing here branches on a value or uses one as an address.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NewType

VECTOR = "<8 x i64>"
LANES = 8
LIMBS = 5
RADIX = 51
PRIME = 2**255 - 19

Loose = tuple[str, ...]
Tight = NewType("Tight", tuple[str, ...])

_ZERO = "zeroinitializer"
_MASK = 2**RADIX - 1
_MULTIPLE = tuple(2**10 * ((PRIME >> RADIX * k) & _MASK) for k in range(LIMBS))  # 2^10 p, word by word
_IFMA = {half: f"@llvm.x86.avx512.vpmadd52{half}.uq.512" for half in "lh"}

DECLARATIONS = "".join(f"declare {VECTOR} {name}({VECTOR}, {VECTOR}, {VECTOR})\n" for name in _IFMA.values())


def constant(value: int) -> Tight:
    """The same number, reduced, in all eight lanes."""
    value %= PRIME
    return Tight(tuple(splat((value >> RADIX * k) & _MASK) for k in range(LIMBS)))


def splat(word: int) -> str:
    """One word in all eight lanes."""
    return f"<{', '.join([f'i64 {word}'] * LANES)}>"


class Code:
    """The body of one LLVM function of pointers and ``i64 %blocks``, a block being eight numbers."""

    def __init__(self, name: str, pointers: Sequence[str]) -> None:
        arguments = ", ".join([*(f"ptr noalias %{pointer}" for pointer in pointers), "i64 %blocks"])
        self._lines = [f"define void @{name}({arguments}) {{", "entry:"]
        self._block = "entry"
        self._names = 0

    def text(self) -> str:
        """The whole function."""
        return "\n".join([*self._lines, "  ret void", "}", ""])

    # ---- words -------------------------------------------------------------------------------------------------------

    def let(self, expression: str) -> str:
        """A new value."""
        self._names += 1
        self._lines.append(f"  %v{self._names} = {expression}")
        return f"%v{self._names}"

    def op(self, name: str, a: str, b: str) -> str:
        return self.let(f"{name} {VECTOR} {a}, {b}")

    def madd(self, half: str, total: str, a: str, b: str) -> str:
        """total + the low ("l") or high ("h") 52 bits of a b, of the low 52 bits of both."""
        return self.let(f"call {VECTOR} {_IFMA[half]}({VECTOR} {total}, {VECTOR} {a}, {VECTOR} {b})")

    def broadcast(self, word: str) -> str:
        first = self.let(f"insertelement {VECTOR} zeroinitializer, i64 {word}, i32 0")
        return self.let(f"shufflevector {VECTOR} {first}, {VECTOR} zeroinitializer, <8 x i32> zeroinitializer")

    def load(self, pointer: str, block: str, row: int, rows: int) -> str:
        """Vector ``row`` of a block of ``rows`` vectors."""
        return self.let(f"load {VECTOR}, ptr {self._address(pointer, block, row, rows)}, align 8")

    def store(self, pointer: str, block: str, row: int, rows: int, value: str) -> None:
        address = self._address(pointer, block, row, rows)
        self._lines.append(f"  store {VECTOR} {value}, ptr {address}, align 8")

    def _address(self, pointer: str, block: str, row: int, rows: int) -> str:
        first = self.let(f"mul i64 {block}, {rows}")
        index = self.let(f"add i64 {first}, {row}")
        return self.let(f"getelementptr {VECTOR}, ptr %{pointer}, i64 {index}")

    def repeat(
        self, times: str, state: Sequence[str], body: Callable[[Sequence[str], str], Sequence[str]]
    ) -> tuple[str, ...]:
        """Run ``body(state, turn)`` for turn 0 to ``times`` - 1 (at least once); each turn gets the vectors that the
        one before returned, and the last ones are the result.
        """
        self._names += 1
        loop = f"l{self._names}"
        before, phis = self._block, [f"%{loop}_{k}" for k in range(len(state))]
        self._lines += [f"  br label %{loop}", f"{loop}:"]
        self._block, holes = loop, len(self._lines)
        self._lines += [""] * (len(state) + 1)
        after = tuple(body(phis, f"%{loop}_turn"))
        for k, (phi, first, last) in enumerate(zip(phis, state, after, strict=True)):
            self._lines[holes + k] = f"  {phi} = phi {VECTOR} [{first}, %{before}], [{last}, %{self._block}]"
        following = self.let(f"add i64 %{loop}_turn, 1")
        self._lines[holes + len(state)] = f"  %{loop}_turn = phi i64 [0, %{before}], [{following}, %{self._block}]"
        again = self.let(f"icmp ult i64 {following}, {times}")
        self._lines += [f"  br i1 {again}, label %{loop}, label %{loop}_end", f"{loop}_end:"]
        self._block = f"{loop}_end"
        return after

    # ---- numbers modulo p --------------------------------------------------------------------------------------------

    def carry(self, a: Loose) -> Tight:
        """The same number with every word below 2^52; all carries move at once."""
        carries = [self.op("lshr", word, splat(RADIX)) for word in a]
        kept = [self.op("and", word, splat(_MASK)) for word in a]
        first = self.madd("l", kept[0], carries[-1], splat(19))
        return Tight((first, *(self.op("add", k, c) for k, c in zip(kept[1:], carries, strict=False))))

    def add(self, a: Loose, b: Loose) -> Loose:
        return tuple(self.op("add", x, y) for x, y in zip(a, b, strict=True))

    def subtract(self, a: Loose, b: Loose) -> Loose:
        """a - b + 2^10 p."""
        raised = [self.op("add", x, splat(word)) for x, word in zip(a, _MULTIPLE, strict=True)]
        return tuple(self.op("sub", x, y) for x, y in zip(raised, b, strict=True))

    def multiply(self, a: Tight, b: Tight) -> Loose:
        pairs = [(i, j) for i in range(LIMBS) for j in range(LIMBS)]

        def column(k: int, start: str) -> str:
            high = [("h", a[i], b[j]) for i, j in pairs if i + j == k - 1]
            low = [("l", a[i], b[j]) for i, j in pairs if i + j == k]
            return self._sum(low, self._plus(start, self._twice(self._sum(high))))

        return self._fold(column)

    def square(self, a: Tight) -> Loose:
        """The same with products of different words computed once and doubled."""

        def mixed(half: str, k: int) -> list[tuple[str, str, str]]:
            return [(half, a[i], a[k - i]) for i in range(LIMBS) if i < k - i < LIMBS]

        def pure(half: str, k: int) -> list[tuple[str, str, str]]:
            return [(half, a[i], a[i]) for i in range(LIMBS) if 2 * i == k]

        def column(k: int, start: str) -> str:
            once = self._twice(self._sum(mixed("h", k - 1)))
            twice = self._twice(self._sum(mixed("l", k) + pure("h", k - 1), once))
            return self._sum(pure("l", k), self._plus(start, twice))

        return self._fold(column)

    def scaled(self, total: Loose, a: Tight, factor: int) -> Loose:
        """total + factor a, for a factor below 2^20 and words of ``total`` below 2^60."""
        by = splat(factor)
        highs = [self.madd("h", _ZERO, word, by) for word in a]
        wrapped = self.op("mul", highs[-1], splat(38))
        doubled = [wrapped, *(self.op("add", high, high) for high in highs[:-1])]
        return tuple(
            self.madd("l", self.op("add", word, more), limb, by)
            for word, more, limb in zip(total, doubled, a, strict=True)
        )

    def _fold(self, column: Callable[[int, str], str]) -> Loose:
        """Columns 5 to 9 times 19 as the start of columns 0 to 4."""
        return tuple(column(k, self._times19(column(k + LIMBS, _ZERO))) for k in range(LIMBS))

    def _times19(self, word: str) -> str:
        thrice = self.op("add", self.op("add", word, word), word)
        return self.op("add", self.op("shl", word, splat(4)), thrice)

    def _sum(self, products: Sequence[tuple[str, str, str]], total: str = _ZERO) -> str:
        for half, a, b in products:
            total = self.madd(half, total, a, b)
        return total

    def _twice(self, word: str) -> str:
        return word if word == _ZERO else self.op("add", word, word)

    def _plus(self, a: str, b: str) -> str:
        return self.op("add", a, b) if _ZERO not in (a, b) else b if a == _ZERO else a

    def select(self, mask: str, a: Loose, b: Loose) -> tuple[str, ...]:
        """a where the mask is all ones, b where it is zero; by xor and and, without a branch."""
        return tuple(self.op("xor", y, self.op("and", mask, self.op("xor", x, y))) for x, y in zip(a, b, strict=True))

    def squares(self, a: Tight, count: int) -> Tight:
        """a^(2^count)."""
        return Tight(self.repeat(str(count), a, lambda state, _: self.carry(self.square(Tight(tuple(state))))))

    def power(self, a: Tight) -> Tight:
        """a^(2^252 - 3), by 252 squarings and 11 products."""

        def product(x: Tight, y: Tight) -> Tight:
            return self.carry(self.multiply(x, y))

        a2 = self.squares(a, 1)
        a9 = product(self.squares(a2, 2), a)
        ones = product(self.squares(product(a9, a2), 1), a9)  # a^(2^5 - 1)
        lengths = {5: ones}
        for bits, more in ((5, 5), (10, 10), (20, 20), (40, 10), (50, 50), (100, 100), (200, 50)):
            ones = product(self.squares(ones, more), lengths[more])  # a^(2^(bits + more) - 1)
            lengths[bits + more] = ones
        return product(self.squares(ones, 2), a)

    def inverse(self, a: Tight) -> Tight:
        """a^(p - 2): p - 2 = 8 (2^252 - 3) + 3; zero stays zero."""
        cube = self.carry(self.multiply(self.squares(a, 1), a))
        return self.carry(self.multiply(self.squares(self.power(a), 3), cube))

    def is_square(self, a: Tight) -> str:
        """All ones in the lanes where a is a non-zero square: a^((p - 1) / 2) = 1, with (p - 1) / 2 = 4 (2^252 - 3)
        + 2.
        """
        symbol = self.multiply(self.squares(self.power(a), 2), self.squares(a, 1))
        one = constant(1)
        return self.equals(self.canonical(self.carry(symbol)), one)

    def equals(self, a: Loose, b: Loose) -> str:
        """All ones in the lanes where all words are equal."""
        differences = [self.op("xor", x, y) for x, y in zip(a, b, strict=True)]
        any_bit = differences[0]
        for word in differences[1:]:
            any_bit = self.op("or", any_bit, word)
        return self.mask("eq", any_bit, splat(0))

    def mask(self, relation: str, a: str, b: str) -> str:
        """All ones in the lanes where a stands in this (unsigned) relation to b."""
        return self.let(f"sext <8 x i1> {self.let(f'icmp {relation} {VECTOR} {a}, {b}')} to {VECTOR}")

    def canonical(self, a: Tight) -> Loose:
        """The words of the number in [0, p), each below 2^51."""
        words = self._ripple(self._ripple(list(a), wrap=True), wrap=True)
        over = self.op("lshr", self.op("add", words[0], splat(19)), splat(RADIX))  # 1 if a >= p, word by word
        for word in words[1:]:
            over = self.op("lshr", self.op("add", word, over), splat(RADIX))
        words[0] = self.op("add", words[0], self.op("mul", over, splat(19)))
        return tuple(self._ripple(words, wrap=False))

    def _ripple(self, words: list[str], *, wrap: bool) -> list[str]:
        moved = list(words)
        for k in range(LIMBS):
            carry = self.op("lshr", moved[k], splat(RADIX))
            moved[k] = self.op("and", moved[k], splat(_MASK))
            if k < LIMBS - 1:
                moved[k + 1] = self.op("add", moved[k + 1], carry)
            elif wrap:
                moved[0] = self.madd("l", moved[0], carry, splat(19))
        return moved

    # ---- 32 bytes, least significant first, as four words ------------------------------------------------------------

    def limbs(self, words: Sequence[str], *, top: bool) -> Tight:
        """Four words of 64 bits as a number below 2^255, or 2^256 with the ``top`` bit."""
        parts = [words[0]]
        for k in range(1, 4):
            low = self.op("lshr", words[k - 1], splat(RADIX - 13 * (k - 1)))
            parts.append(self.op("or", low, self.op("shl", words[k], splat(13 * k))))
        parts.append(self.op("lshr", words[3], splat(12)))
        masked = [self.op("and", part, splat(_MASK)) for part in parts]
        return Tight((*masked[:4], parts[4] if top else masked[4]))

    def words(self, canonical: Loose) -> list[str]:
        """The reverse, from words below 2^51."""
        return [
            self.op(
                "or",
                self.op("lshr", canonical[k], splat(13 * k)),
                self.op("shl", canonical[k + 1], splat(RADIX - 13 * k)),
            )
            for k in range(4)
        ]
