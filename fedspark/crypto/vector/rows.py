"""Rows of words and blocks of lanes, as LLVM assembly: what all kernels are written with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fedspark.crypto.vector.products import Products

_LINE = 64  # bytes of a cache line


class Kernel(Products):
    """A function of the engine: addresses and words, all i64 for the caller."""

    def limbs(self) -> str:
        return self.read("%m", 8)

    def block(self, pointer: str, index: str, limbs: str) -> str:
        return self.vectors_on(pointer, self.word("mul", index, limbs))

    def each(self, times: str, body: Callable[[str], object]) -> None:
        """A loop without state."""

        def turn(number: str, _: Sequence[str]) -> Sequence[str]:
            body(number)
            return []

        self.loop(times, [], turn)

    def groups(self, words: str) -> str:
        return self.word("udiv", words, self.shape.lanes)

    def gather(self, out: str, rows: Sequence[str], words: str) -> None:
        """``words`` words from each row's address, one row to a lane; a multiple of ``lanes``."""

        def group(number: str) -> None:
            offset = self.word("mul", number, self.shape.bytes)
            turned = self.transpose([self.load(self.at(row, offset)) for row in rows])
            place = self.vectors_on(out, self.word("mul", number, self.shape.lanes))
            for k, vector in enumerate(turned):
                self.store(vector, place, k)

        self.each(self.groups(words), group)

    def scatter(self, rows: Sequence[str], block: str, words: str) -> None:
        """The reverse of ``gather``."""

        def group(number: str) -> None:
            offset = self.word("mul", number, self.shape.bytes)
            place = self.vectors_on(block, self.word("mul", number, self.shape.lanes))
            turned = self.transpose([self.load(place, k) for k in range(self.shape.lanes)])
            for row, vector in zip(rows, turned, strict=True):
                self.store(vector, self.at(row, offset))

        self.each(self.groups(words), group)

    def fetch(self, rows: Sequence[str], size: str) -> None:
        """Ask for these rows to be brought near."""

        def line(number: str) -> None:
            for row in rows:
                self.prefetch(row, self.word("mul", number, _LINE))

        self.each(self.word("udiv", size, _LINE), line)
