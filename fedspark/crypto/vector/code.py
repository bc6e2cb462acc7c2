"""A writer of LLVM assembly for vectors of 64-bit words, one number of a batch in each lane.

``Shape`` is what kernels are written for: how many numbers lie side by side, the radix of their limbs, and how two
vectors of limbs are multiplied. A block of numbers is ``limbs`` vectors, least significant first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

TILE = 4
"""Limbs of the square tiles that products are made of."""


@dataclass(frozen=True)
class Shape:
    """An instruction set as kernels see it. Radix 2^52 needs IFMA; 2^27 is the largest radix at which a column of two
    products of 8192-bit numbers, 608 terms below 2^54 each, fits a word.
    """

    name: str
    lanes: int
    radix: int
    cpu: str
    features: tuple[str, ...]

    @property
    def fused(self) -> bool:
        """Whether low and high halves of products come from multiply-add instructions of their own."""
        return self.radix == 52

    @property
    def vector(self) -> str:
        return f"<{self.lanes} x i64>"

    @property
    def bytes(self) -> int:
        return 8 * self.lanes


SHAPES = (
    Shape("avx512ifma", 8, 52, "x86-64-v4", ("avx512f", "avx512dq", "avx512vl", "avx512bw", "avx512ifma")),
    Shape("avx512f", 8, 27, "x86-64-v3", ("avx512f",)),
    Shape("avx2", 4, 27, "x86-64-v3", ("avx2",)),
)


class Code:
    """One LLVM function, written line by line. Values are names; words are i64."""

    def __init__(self, shape: Shape, name: str, arguments: Sequence[str], *, internal: bool = False) -> None:
        self.shape = shape
        self._v = shape.vector
        linkage = "internal " if internal else ""
        self._lines = [f"define {linkage}void @{name}({', '.join(arguments)}) noinline nounwind {{", "entry:"]
        self._block = "entry"
        self._names = 0

    def text(self) -> str:
        """The whole function."""
        return "\n".join([*self._lines, "  ret void", "}", ""])

    def let(self, expression: str) -> str:
        """A new value."""
        self._names += 1
        self._lines.append(f"  %v{self._names} = {expression}")
        return f"%v{self._names}"

    def call(self, name: str, *arguments: str) -> None:
        self._lines.append(f"  call void @{name}({', '.join(arguments)})")

    # ---- words and addresses -----------------------------------------------------------------------------------------

    def word(self, operation: str, a: str | int, b: str | int) -> str:
        return self.let(f"{operation} i64 {a}, {b}")

    def pick(self, condition: str, a: str, b: str, kind: str = "i64") -> str:
        return self.let(f"select i1 {condition}, {kind} {a}, {kind} {b}")

    def at(self, pointer: str, offset: str | int) -> str:
        """The address ``offset`` bytes on."""
        return pointer if offset == 0 else self.let(f"getelementptr i8, ptr {pointer}, i64 {offset}")

    def vectors_on(self, pointer: str, index: str | int) -> str:
        """The address ``index`` vectors on."""
        return self.let(f"getelementptr {self._v}, ptr {pointer}, i64 {index}")

    def read(self, pointer: str, offset: str | int = 0, kind: str = "i64") -> str:
        return self.let(f"load {kind}, ptr {self.at(pointer, offset)}, align 1")

    def wide(self, value: str, kind: str) -> str:
        return self.let(f"zext {kind} {value} to i64")

    def scratch(self, vectors: str) -> str:
        """Room for so many vectors on the stack, until the function returns."""
        return self.let(f"alloca {self._v}, i64 {vectors}, align 64")

    def prefetch(self, pointer: str, offset: str | int) -> None:
        self._lines.append(f"  call void @llvm.prefetch.p0(ptr {self.at(pointer, offset)}, i32 0, i32 3, i32 1)")

    # ---- vectors -----------------------------------------------------------------------------------------------------

    @property
    def zero(self) -> str:
        return "zeroinitializer"

    def splat(self, word: int) -> str:
        return f"<{', '.join([f'i64 {word}'] * self.shape.lanes)}>"

    @property
    def mask(self) -> str:
        return self.splat((1 << self.shape.radix) - 1)

    def op(self, name: str, a: str, b: str) -> str:
        return self.let(f"{name} {self._v} {a}, {b}")

    def shifted(self, name: str, a: str, count: int) -> str:
        return self.op(name, a, self.splat(count))

    def broadcast(self, word: str) -> str:
        first = self.let(f"insertelement {self._v} zeroinitializer, i64 {word}, i32 0")
        lanes = self.shape.lanes
        return self.let(f"shufflevector {self._v} {first}, {self._v} zeroinitializer, <{lanes} x i32> zeroinitializer")

    def load(self, pointer: str, index: int = 0, align: int = 8) -> str:
        """Vector ``index`` from ``pointer`` on."""
        return self.let(f"load {self._v}, ptr {self.at(pointer, index * self.shape.bytes)}, align {align}")

    def store(self, value: str, pointer: str, index: int = 0, align: int = 8) -> None:
        address = self.at(pointer, index * self.shape.bytes)
        self._lines.append(f"  store {self._v} {value}, ptr {address}, align {align}")

    def transpose(self, rows: Sequence[str]) -> list[str]:
        """Lane j of row i becomes lane i of row j, by exchanging blocks of 1, 2, 4 lanes."""
        lanes, turned = self.shape.lanes, list(rows)
        step = 1
        while step < lanes:
            low = [lane if not lane & step else lanes + lane - step for lane in range(lanes)]
            high = [lane + step if not lane & step else lanes + lane for lane in range(lanes)]
            for i in (row for row in range(lanes) if not row & step):
                a, b = turned[i], turned[i + step]
                turned[i], turned[i + step] = self._shuffle(a, b, low), self._shuffle(a, b, high)
            step *= 2
        return turned

    def _shuffle(self, a: str, b: str, places: Sequence[int]) -> str:
        chosen = ", ".join(f"i32 {place}" for place in places)
        return self.let(f"shufflevector {self._v} {a}, {self._v} {b}, <{len(places)} x i32> <{chosen}>")

    # ---- loops -------------------------------------------------------------------------------------------------------

    def loop(
        self,
        times: str,
        state: Sequence[str],
        body: Callable[[str, Sequence[str]], Sequence[str]],
        *,
        first: str = "0",
    ) -> list[str]:
        """Run ``body(turn, state)`` for turn ``first`` to ``times`` - 1, none if there is none; each turn gets the
        vectors that the one before returned, and the last ones are the result.
        """
        self._names += 1
        name, before = f"l{self._names}", self._block
        phis, turn = [f"%{name}_{k}" for k in range(len(state))], f"%{name}_turn"
        self._lines += [f"  br label %{name}", f"{name}:"]
        holes = len(self._lines)
        self._lines += [""] * (len(state) + 1)
        self._lines += [
            f"  {turn}_go = icmp slt i64 {turn}, {times}",
            f"  br i1 {turn}_go, label %{name}_body, label %{name}_end",
            f"{name}_body:",
        ]
        self._block = f"{name}_body"
        after = list(body(turn, phis))
        following = self.word("add", turn, 1)
        for k, (phi, start, last) in enumerate(zip(phis, state, after, strict=True)):
            self._lines[holes + k] = f"  {phi} = phi {self._v} [{start}, %{before}], [{last}, %{self._block}]"
        self._lines[holes + len(state)] = f"  {turn} = phi i64 [{first}, %{before}], [{following}, %{self._block}]"
        self._lines += [f"  br label %{name}", f"{name}_end:"]
        self._block = f"{name}_end"
        return phis
