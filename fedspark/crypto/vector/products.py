"""Montgomery products and squares of blocks of numbers, as LLVM assembly.

P. L. Montgomery, "Modular Multiplication Without Trial Division", Mathematics of Computation 44 (1985), by product
scanning: columns of tiles of 4 x 4 limbs, whose sums stay in registers. A number has 4 x ``kb`` limbs and is below
2 N: with R = 2^(radix x limbs) at least 16 N, a b / R + N stays below 2 N for a below 4 N and b below 2 N, and nothing
is subtracted in between. No branch and no address depends on a number.

Bounds. With IFMA a column gathers at most 2 x 160 low and as many high halves below 2^52, twice that in a square. With
radix 2^27 it gathers at most 2 x 304 products below 2^54, less than 2^63.3, and a carry.
"""

from __future__ import annotations

from collections.abc import Sequence

from fedspark.crypto.vector.code import TILE, Code, Shape

HEADER_BYTES = 64
"""A modulus in memory: the words kb, limbs, -1 / N mod the radix, padded to 64 bytes, then N's block."""

ARGUMENTS = ("ptr %out", "ptr %a", "ptr %b", "ptr %m")


class Products(Code):
    """A function that multiplies blocks."""

    def modulus(self) -> tuple[str, str, str]:
        """kb, -1 / N broadcast, and the address of N."""
        return self.read("%m"), self.broadcast(self.read("%m", 16)), self.at("%m", HEADER_BYTES)

    def product(self, out: str, a: str, b: str) -> None:
        """out = a b / R; ``out`` may be ``a`` or ``b``."""
        self.call("product", f"ptr {out}", f"ptr {a}", f"ptr {b}", "ptr %m")

    def square(self, out: str, a: str) -> None:
        """out = a^2 / R; ``out`` may be ``a``."""
        self.call("square", f"ptr {out}", f"ptr {a}", "ptr %m")

    # ---- columns of tiles --------------------------------------------------------------------------------------------

    def sums(self, low: Sequence[str] = ()) -> list[str]:
        """Sums of a column of tiles: places 0 to 6, and with IFMA the high halves of each apart from them."""
        places = 2 * TILE - 1
        low = [*low, *[self.zero] * places][:places]
        return [*low, *[self.zero] * places] if self.shape.fused else low

    def tile(self, sums: Sequence[str], a: str, b: str) -> list[str]:
        """sums + 4 limbs from ``a`` on times 4 limbs from ``b`` on."""
        places, new = 2 * TILE - 1, list(sums)
        left, right = ([self.load(side, limb) for limb in range(TILE)] for side in (a, b))
        if not self.shape.fused:
            left, right = ([self.low_half(limb) for limb in side] for side in (left, right))
        for i, x in enumerate(left):
            for j, y in enumerate(right):
                if self.shape.fused:
                    new[i + j] = self.madd("l", new[i + j], x, y)
                    new[places + i + j] = self.madd("h", new[places + i + j], x, y)
                else:
                    new[i + j] = self.op("add", new[i + j], self.op("mul", x, y))
        return new

    def low_half(self, vector: str) -> str:
        """Tells LLVM that limbs are short, so that it multiplies them by vpmuludq."""
        return self.op("and", vector, self.splat((1 << 32) - 1))

    def madd(self, half: str, total: str, a: str, b: str) -> str:
        v = self.shape.vector
        return self.let(f"call {v} @llvm.x86.avx512.vpmadd52{half}.uq.512({v} {total}, {v} {a}, {v} {b})")

    def joined(self, sums: Sequence[str]) -> list[str]:
        """The 8 places of a column, high halves added one place up."""
        places = 2 * TILE - 1
        if not self.shape.fused:
            return [*sums, self.zero]
        low, high = sums[:places], sums[places:]
        return [low[0], *(self.op("add", x, y) for x, y in zip(low[1:], high, strict=False)), high[-1]]

    def carried(self, column: list[str], place: int) -> None:
        carry = self.shifted("lshr", column[place], self.shape.radix)
        column[place + 1] = self.op("add", column[place + 1], carry)

    def reduced(self, column: list[str], quotients: str, n: str, inverse: str) -> list[str]:
        """Four quotient limbs that make the first four places vanish; what is left moves four places down."""
        limbs = [self.load(n, limb) for limb in range(TILE)]
        if not self.shape.fused:
            limbs, inverse = [self.low_half(limb) for limb in limbs], self.low_half(inverse)
        for place in range(TILE):
            if self.shape.fused:
                quotient = self.madd("l", self.zero, column[place], inverse)
            else:
                low = self.op("and", column[place], self.mask)
                quotient = self.op("and", self.op("mul", low, inverse), self.mask)
            self.store(quotient, quotients, place)
            for j, limb in enumerate(limbs):
                if self.shape.fused:
                    column[place + j] = self.madd("l", column[place + j], quotient, limb)
                    column[place + j + 1] = self.madd("h", column[place + j + 1], quotient, limb)
                else:
                    column[place + j] = self.op("add", column[place + j], self.op("mul", quotient, limb))
            self.carried(column, place)
        return column[TILE:]

    def written(self, column: list[str], out: str) -> list[str]:
        """Four finished limbs; what is above moves four places down."""
        for place in range(TILE):
            self.store(self.op("and", column[place], self.mask), out, place)
            self.carried(column, place)
        return column[TILE:]

    def tile_at(self, pointer: str, index: str | int) -> str:
        return self.vectors_on(pointer, self.word("mul", index, TILE))


def product(shape: Shape) -> str:
    """@product: out = a b / R."""
    code = Products(shape, "product", ARGUMENTS, internal=True)
    kb, inverse, n = code.modulus()
    quotients = code.scratch(code.word("mul", kb, TILE))

    def lower(column: str, state: Sequence[str]) -> list[str]:
        def both(turn: str, sums: Sequence[str]) -> list[str]:
            other = code.word("sub", column, turn)
            sums = code.tile(sums, code.tile_at("%a", turn), code.tile_at("%b", other))
            return code.tile(sums, code.tile_at(quotients, turn), code.tile_at(n, other))

        sums = code.loop(column, code.sums(state), both)
        sums = code.tile(sums, code.tile_at("%a", column), "%b")
        return code.reduced(code.joined(sums), code.tile_at(quotients, column), n, inverse)

    def upper(column: str, state: Sequence[str]) -> list[str]:
        start, last = code.word("add", column, 1), code.word("sub", kb, 1)

        def both(turn: str, sums: Sequence[str]) -> list[str]:
            i, j = code.word("add", start, turn), code.word("sub", last, turn)
            sums = code.tile(sums, code.tile_at("%a", i), code.tile_at("%b", j))
            return code.tile(sums, code.tile_at(quotients, i), code.tile_at(n, j))

        sums = code.loop(code.word("sub", kb, start), code.sums(state), both)
        return code.written(code.joined(sums), code.tile_at("%out", column))

    code.loop(kb, code.loop(kb, [code.zero] * TILE, lower), upper)
    return code.text()


def square(shape: Shape) -> str:
    """@square: out = a^2 / R; tiles off the diagonal are made once and doubled."""
    code = Products(shape, "square", ("ptr %out", "ptr %a", "ptr %m"), internal=True)
    kb, inverse, n = code.modulus()
    last = code.word("sub", kb, 1)
    quotients = code.scratch(code.word("mul", kb, TILE))

    def squares(column: str, state: Sequence[str], start: str, end: str) -> list[str]:
        """Sums of a_i a_j with i + j = column, start <= i, j <= end."""
        pairs = code.word("lshr", code.word("sub", code.word("add", end, 1), start), 1)

        def pair(turn: str, sums: Sequence[str]) -> list[str]:
            i, j = code.word("add", start, turn), code.word("sub", end, turn)
            return code.tile(sums, code.tile_at("%a", i), code.tile_at("%a", j))

        doubled = [code.op("add", x, x) for x in code.loop(pairs, code.sums(), pair)]
        sums = [code.op("add", x, y) for x, y in zip(code.sums(state), doubled, strict=True)]
        middle = code.tile_at("%a", code.word("lshr", column, 1))
        odd = code.word("and", code.word("sub", code.word("add", end, 1), start), 1)
        return code.loop(odd, sums, lambda _, sums: code.tile(sums, middle, middle))

    def lower(column: str, state: Sequence[str]) -> list[str]:
        def quotient(turn: str, sums: Sequence[str]) -> list[str]:
            j = code.word("sub", column, turn)
            return code.tile(sums, code.tile_at(quotients, turn), code.tile_at(n, j))

        sums = code.loop(column, squares(column, state, "0", column), quotient)
        return code.reduced(code.joined(sums), code.tile_at(quotients, column), n, inverse)

    def upper(turn: str, state: Sequence[str]) -> list[str]:
        start = code.word("add", turn, 1)

        def quotient(step: str, sums: Sequence[str]) -> list[str]:
            i, j = code.word("add", start, step), code.word("sub", last, step)
            return code.tile(sums, code.tile_at(quotients, i), code.tile_at(n, j))

        sums = squares(code.word("add", turn, kb), state, start, last)
        sums = code.loop(code.word("sub", kb, start), sums, quotient)
        return code.written(code.joined(sums), code.tile_at("%out", turn))

    code.loop(kb, code.loop(kb, [code.zero] * TILE, lower), upper)
    return code.text()
