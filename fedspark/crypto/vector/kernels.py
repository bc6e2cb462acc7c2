"""What the engine calls: loops over blocks of numbers, as LLVM assembly.

A block is ``limbs`` (a multiple of 8) vectors of ``lanes`` words; those above 4 kb are zero or unused. A table is rows
of ``limbs`` words, one number each, that kernels gather by lane. ``ptr %m`` is a modulus (``products``). Whether a
number's value may choose an address is said per kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fedspark.crypto.vector.barrett import barrett
from fedspark.crypto.vector.code import Shape
from fedspark.crypto.vector.products import product, square
from fedspark.crypto.vector.rows import Kernel


def _load(code: Kernel) -> None:
    """Bits [from, from + radix x 4 kb) of numbers of ``words`` words, as limbs; zero above."""
    shape, limbs = code.shape, code.limbs()
    used = code.word("mul", code.read("%m"), 4)
    reach = code.word("udiv", code.word("add", "%from", code.word("mul", used, shape.radix)), 64)
    room = code.word("add", code.word("add", reach, "%words"), 2)
    buffer, size = code.scratch(room), code.word("mul", "%words", 8)
    above = code.word("sub", room, "%words")
    code.each(above, lambda k: code.store(code.zero, code.vectors_on(buffer, code.word("add", "%words", k))))

    def block(number: str) -> None:
        first = code.word("mul", code.word("mul", number, size), shape.lanes)
        rows = [code.at("%rows", code.word("add", first, code.word("mul", size, lane))) for lane in range(shape.lanes)]
        code.gather(buffer, rows, "%words")
        out = code.block("%out", number, limbs)

        def limb(k: str) -> None:
            bit = code.word("add", "%from", code.word("mul", k, shape.radix))
            source = code.vectors_on(buffer, code.word("lshr", bit, 6))
            shift = code.word("and", bit, 63)
            low = code.op("lshr", code.load(source), code.broadcast(shift))
            high = code.op("shl", code.load(source, 1), code.splat(1))
            high = code.op("shl", high, code.broadcast(code.word("sub", 63, shift)))
            code.store(code.op("and", code.op("or", low, high), code.mask), code.vectors_on(out, k))

        code.each(used, limb)
        rest = code.word("sub", limbs, used)
        code.each(rest, lambda k: code.store(code.zero, code.vectors_on(out, code.word("add", used, k))))

    code.each("%blocks", block)


def _store(code: Kernel) -> None:
    """Numbers below 2 N, reduced below N, as rows of ``words`` words. Reads addresses of no number's choosing."""
    shape, limbs, n = code.shape, code.limbs(), code.at("%m", 64)
    used = code.word("mul", code.read("%m"), 4)
    reduced, buffer = code.scratch(code.word("add", limbs, 4)), code.scratch("%words")
    for k in range(4):
        code.store(code.zero, code.vectors_on(reduced, code.word("add", used, k)))
    size = code.word("mul", "%words", 8)

    def block(number: str) -> None:
        a = code.block("%a", number, limbs)

        def subtract(k: str, state: Sequence[str]) -> Sequence[str]:
            limb = code.op("sub", code.load(code.vectors_on(a, k)), code.load(code.vectors_on(n, k)))
            limb = code.op("add", limb, state[0])
            code.store(code.op("and", limb, code.mask), code.vectors_on(reduced, k))
            return [code.shifted("ashr", limb, shape.radix)]

        borrow = code.loop(used, [code.zero], subtract)[0]  # all ones where a < N

        def choose(k: str) -> None:
            place = code.vectors_on(reduced, k)
            less = code.load(place)
            difference = code.op("xor", less, code.load(code.vectors_on(a, k)))
            code.store(code.op("xor", less, code.op("and", difference, borrow)), place)

        code.each(used, choose)

        def word(k: str) -> None:
            bit = code.word("mul", k, 64)
            limb = code.word("udiv", bit, shape.radix)
            start = code.word("sub", bit, code.word("mul", limb, shape.radix))
            source = code.vectors_on(reduced, limb)
            value = code.op("lshr", code.load(source), code.broadcast(start))
            rest = code.broadcast(code.word("sub", shape.radix, start))
            for more in range(1, 3 if shape.fused else 4):
                part = code.shifted("shl", code.load(source, more), (more - 1) * shape.radix)
                value = code.op("or", value, code.op("shl", part, rest))
            code.store(value, code.vectors_on(buffer, k))

        code.each("%words", word)
        first = code.word("mul", code.word("mul", number, size), shape.lanes)
        rows = [code.at("%rows", code.word("add", first, code.word("mul", size, lane))) for lane in range(shape.lanes)]
        code.scatter(rows, buffer, "%words")

    code.each("%blocks", block)


def _multiply(code: Kernel) -> None:
    """out = a b / R; b moves on by ``step`` (0 or 1) blocks."""
    limbs = code.limbs()

    def block(number: str) -> None:
        b = code.block("%b", code.word("mul", number, "%step"), limbs)
        code.product(code.block("%out", number, limbs), code.block("%a", number, limbs), b)

    code.each("%blocks", block)


def _modular(code: Kernel) -> None:
    """out = a b modulo N, below 2 N, for numbers that are not in Montgomery form."""
    limbs = code.limbs()
    each = code.word("add", code.word("mul", limbs, 2), 1)
    room = [code.scratch(each) for _ in range(3)]
    used = code.word("mul", code.read("%m"), 8)  # twice 4 kb
    for buffer in room:
        code.store(code.zero, code.vectors_on(buffer, used))

    def block(number: str) -> None:
        out, a, b = (code.block(pointer, number, limbs) for pointer in ("%out", "%a", "%b"))
        barrett(code, out, a, b, room, limbs)

    code.each("%blocks", block)


def _add(code: Kernel) -> None:
    """out = a + b with carries moved; b moves on by ``step`` (0 or 1) blocks."""
    shape, limbs = code.shape, code.limbs()
    used = code.word("mul", code.read("%m"), 4)

    def block(number: str) -> None:
        b = code.block("%b", code.word("mul", number, "%step"), limbs)
        a, out = code.block("%a", number, limbs), code.block("%out", number, limbs)

        def limb(k: str, state: Sequence[str]) -> Sequence[str]:
            total = code.op("add", code.load(code.vectors_on(a, k)), code.load(code.vectors_on(b, k)))
            total = code.op("add", total, state[0])
            code.store(code.op("and", total, code.mask), code.vectors_on(out, k))
            return [code.shifted("lshr", total, shape.radix)]

        code.loop(used, [code.zero], limb)

    code.each("%blocks", block)


def _squares(code: Kernel) -> None:
    """a becomes a^(2^times) in place."""
    limbs = code.limbs()

    def block(number: str) -> None:
        a = code.block("%a", number, limbs)
        code.each("%times", lambda _: code.square(a, a))

    code.each("%blocks", block)


def _running(code: Kernel) -> None:
    """out[i] = out[i - 1] a[i] / R from i = 1 on, out[0] given; with ``step`` 0 only the last is kept, in out[0]."""
    limbs = code.limbs()

    def block(number: str) -> None:
        before = code.block("%out", code.word("mul", number, "%step"), limbs)
        out = code.block("%out", code.word("mul", code.word("add", number, 1), "%step"), limbs)
        code.product(out, before, code.block("%a", number, limbs))

    code.each("%blocks", block)


def _fixed(code: Kernel) -> None:
    """out = the product of one entry of each of ``windows`` tables of 256 numbers, which a row's digits, bytes, choose.

    For one-time exponents: the digits are addresses.
    """
    shape, limbs = code.shape, code.limbs()
    size = code.word("mul", limbs, 8)
    entry = code.scratch(limbs)

    def block(number: str) -> None:
        first = code.word("mul", number, shape.lanes)
        digits = [
            code.at("%digits", code.word("mul", code.word("add", first, lane), "%windows"))
            for lane in range(shape.lanes)
        ]
        out, last = code.block("%out", number, limbs), code.word("sub", "%windows", 1)

        def rows(window: str) -> list[str]:
            table = code.word("mul", window, 256)
            places = (code.wide(code.read(digit, window, "i8"), "i8") for digit in digits)
            return [code.at("%table", code.word("mul", code.word("add", table, place), size)) for place in places]

        code.gather(out, rows("0"), limbs)

        def window(at: str) -> None:
            following = code.pick(code.let(f"icmp slt i64 {at}, {last}"), code.word("add", at, 1), at)
            code.gather(entry, rows(at), limbs)
            code.fetch(rows(following), size)
            code.product(out, out, entry)

        def turn(at: str, _: Sequence[str]) -> Sequence[str]:
            window(at)
            return []

        code.loop("%windows", [], turn, first="1")

    code.each("%blocks", block)


def _buckets(code: Kernel) -> None:
    """Each lane multiplies its number of every step into the bucket of its table that its digit, two bytes, names.

    ``lanes`` holds for each lane the byte offsets of its table and of its first number; numbers of one lane lie
    ``stride`` bytes apart.
    """
    shape, limbs = code.shape, code.limbs()
    size = code.word("mul", limbs, 8)
    bucket, number = code.scratch(limbs), code.scratch(limbs)
    tables = [code.at("%tables", code.read("%lanes", 16 * lane)) for lane in range(shape.lanes)]
    sources = [code.at("%rows", code.read("%lanes", 16 * lane + 8)) for lane in range(shape.lanes)]
    last = code.word("sub", "%steps", 1)

    def places(step: str) -> list[str]:
        digits = code.at("%digits", code.word("mul", step, 2 * shape.lanes))
        return [
            code.at(table, code.word("mul", code.wide(code.read(digits, 2 * lane, "i16"), "i16"), size))
            for lane, table in enumerate(tables)
        ]

    def step(at: str) -> None:
        offset = code.word("mul", at, "%stride")
        code.gather(number, [code.at(source, offset) for source in sources], limbs)
        rows = places(at)
        code.gather(bucket, rows, limbs)
        following = code.pick(code.let(f"icmp slt i64 {at}, {last}"), code.word("add", at, 1), at)
        code.fetch(places(following), size)
        code.product(bucket, bucket, number)
        code.scatter(rows, bucket, limbs)

    code.each("%steps", step)


def _fold(code: Kernel) -> None:
    """weighted = prod_k bucket_k^k and all = prod_k bucket_k over each lane's table of ``buckets`` entries; both hold
    one at first. Running products (Pippenger).
    """
    shape, limbs = code.shape, code.limbs()
    size = code.word("mul", limbs, 8)
    entry = code.scratch(limbs)
    tables = [
        code.at("%tables", code.word("mul", code.word("mul", "%buckets", lane), size)) for lane in range(shape.lanes)
    ]
    last = code.word("sub", "%buckets", 1)

    def take(bucket: str) -> None:
        offset = code.word("mul", bucket, size)
        code.gather(entry, [code.at(table, offset) for table in tables], limbs)
        code.product("%all", "%all", entry)

    def turn(number: str) -> None:
        take(code.word("sub", last, number))
        code.product("%weighted", "%weighted", "%all")

    code.each(last, turn)
    take("0")


def _power(code: Kernel) -> None:
    """out = a^e for exponents of ``windows`` digits below 2^width, the most significant first, one word for each lane.

    ``table`` is room for 2^width blocks, ``one`` is R mod N. The digits of block i begin ``step`` vectors after those
    of block i - 1. Every entry of the table is read for every digit and kept or dropped by a mask; the sequence of
    products depends on ``windows`` and ``width`` only.
    """
    limbs = code.limbs()
    entries, groups = code.word("shl", 1, "%width"), code.word("lshr", limbs, 3)
    chosen = code.scratch(limbs)
    top = code.splat(63)

    def choose(out: str, digit: str) -> None:
        def group(number: str) -> None:
            first = code.word("mul", number, 8)

            def entry(index: str, kept: Sequence[str]) -> Sequence[str]:
                differs = code.op("xor", digit, code.broadcast(index))
                equal = code.op("lshr", code.op("sub", differs, code.splat(1)), top)
                mask = code.op("sub", code.zero, equal)
                place = code.vectors_on(code.block("%table", index, limbs), first)
                return [code.op("or", x, code.op("and", code.load(place, k), mask)) for k, x in enumerate(kept)]

            for k, vector in enumerate(code.loop(entries, [code.zero] * 8, entry)):
                code.store(vector, code.vectors_on(out, first), k)

        code.each(groups, group)

    def block(number: str) -> None:
        a, out = code.block("%a", number, limbs), code.block("%out", number, limbs)

        def copy(k: str) -> None:
            code.store(code.load(code.vectors_on("%one", k)), code.vectors_on("%table", k))
            code.store(code.load(code.vectors_on(a, k)), code.vectors_on("%table", code.word("add", limbs, k)))

        code.each(limbs, copy)

        def entry(index: str, _: Sequence[str]) -> Sequence[str]:
            before = code.block("%table", code.word("sub", index, 1), limbs)
            code.product(code.block("%table", index, limbs), before, a)
            return []

        code.loop(entries, [], entry, first="2")
        digits = code.vectors_on("%digits", code.word("mul", number, "%step"))
        choose(out, code.load(digits))

        def window(at: str, _: Sequence[str]) -> Sequence[str]:
            code.each("%width", lambda _: code.square(out, out))
            choose(chosen, code.load(code.vectors_on(digits, at)))
            code.product(out, out, chosen)
            return []

        code.loop("%windows", [], window, first="1")

    code.each("%blocks", block)


KERNELS: dict[str, tuple[tuple[str, ...], Callable[[Kernel], None]]] = {
    "load": (("ptr %out", "ptr %rows", "i64 %words", "i64 %from", "i64 %blocks", "ptr %m"), _load),
    "store": (("ptr %rows", "ptr %a", "i64 %words", "i64 %blocks", "ptr %m"), _store),
    "multiply": (("ptr %out", "ptr %a", "ptr %b", "i64 %step", "i64 %blocks", "ptr %m"), _multiply),
    "modular": (("ptr %out", "ptr %a", "ptr %b", "i64 %blocks", "ptr %m"), _modular),
    "add": (("ptr %out", "ptr %a", "ptr %b", "i64 %step", "i64 %blocks", "ptr %m"), _add),
    "squares": (("ptr %a", "i64 %times", "i64 %blocks", "ptr %m"), _squares),
    "running": (("ptr %out", "ptr %a", "i64 %step", "i64 %blocks", "ptr %m"), _running),
    "fixed": (("ptr %out", "ptr %table", "ptr %digits", "i64 %windows", "i64 %blocks", "ptr %m"), _fixed),
    "buckets": (
        ("ptr %tables", "ptr %rows", "ptr %lanes", "ptr %digits", "i64 %stride", "i64 %steps", "ptr %m"),
        _buckets,
    ),
    "fold": (("ptr %weighted", "ptr %all", "ptr %tables", "i64 %buckets", "ptr %m"), _fold),
    "power": (
        (
            *("ptr %out", "ptr %a", "ptr %table", "ptr %one", "ptr %digits"),
            *("i64 %step", "i64 %windows", "i64 %width", "i64 %blocks", "ptr %m"),
        ),
        _power,
    ),
}


def assembly(shape: Shape) -> str:
    """All kernels for one instruction set, as one LLVM module."""
    v = shape.vector
    declarations = ["declare void @llvm.prefetch.p0(ptr, i32, i32, i32)\n"]
    if shape.fused:
        declarations += [f"declare {v} @llvm.x86.avx512.vpmadd52{half}.uq.512({v}, {v}, {v})\n" for half in "lh"]
    functions = [product(shape), square(shape)]
    for name, (arguments, body) in KERNELS.items():
        code = Kernel(shape, name, arguments)
        body(code)
        functions.append(code.text())
    return "".join(declarations) + "\n".join(functions)
