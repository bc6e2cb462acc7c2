"""The AVX-512 IFMA engine of ``curve``: eight points side by side under one scalar.

The kernels are LLVM assembly (``curve_field``) that llvmlite translates when a process first needs them, in about a
fifth of a second; nothing is kept on disk. ctypes calls them and releases the interpreter lock. llvmlite comes with
numba and is optional.

Constant time in the scalar: all points of a call share it, each of its bits becomes a mask that swaps by xor and and,
255 turns are made whatever it is, and addresses depend on turn numbers only. The bits lie in memory of ours during a
call and are wiped after it. Inversions are one Fermat power per lane and call, shared by Montgomery's trick; a
denominator of zero counts as one and its quotient is set to zero by a mask.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from fedspark.crypto.curve_field import DECLARATIONS, LANES, LIMBS, Code, Loose, Tight, constant, splat

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]

COEFFICIENT = 486662  # A of v^2 = u^3 + A u^2 + u
_BITS = 255
_BLOCKS = 512  # of one call: intermediate numbers fit the second-level cache
_FLAGS = ("avx512f", "avx512dq", "avx512ifma")


class IfmaCurve:
    """The functions of ``curve_engines.Engine``; ``ifma_curve`` makes it where the processor has the instructions."""

    name = "ifma"

    def __init__(self, llvm: Any) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        module = llvm.parse_assembly(assembly())
        module.verify()
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3
        )
        self._compiled = llvm.create_mcjit_compiler(module, machine)  # owns the code
        self._compiled.finalize_object()
        self._functions = {
            name: ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(pointers), ctypes.c_int64)(
                self._compiled.get_function_address(name)
            )
            for name, (pointers, _) in KERNELS.items()
        }

    def multiply(self, points: Bytes, scalar: bytes) -> Bytes:
        bits = np.unpackbits(np.frombuffer(scalar, np.uint8), bitorder="little")[:_BITS].astype(np.uint64)
        out = np.empty_like(points)
        try:
            for rows, words in _calls(points):
                x, z, quotient = _numbers(words), _numbers(words), np.empty_like(words)
                self._run("ladder", x, z, words, bits)
                self._run("quotient", quotient, x, self._inverse(z))
                out[rows] = _rows(quotient, len(out[rows]))
        finally:
            bits.fill(0)
        return out

    def map_hashes(self, hashes: Bytes) -> Bytes:
        out = np.empty((len(hashes), 32), np.uint8)
        for rows, words in _calls(hashes):
            denominators, square = _numbers(words), np.empty((len(words), 1, LANES), np.uint64)
            self._run("denominators", denominators, square, words)
            mapped = np.empty((len(words), 4, LANES), np.uint64)
            self._run("mapped", mapped, self._inverse(denominators), square)
            out[rows] = _rows(mapped, len(out[rows]))
        return out

    def on_curve(self, points: Bytes) -> npt.NDArray[np.bool_]:
        out = np.empty(len(points), np.bool_)
        for rows, words in _calls(points):
            good = np.empty((len(words), 1, LANES), np.uint64)
            self._run("on_curve", good, words)
            out[rows] = good.reshape(-1)[: len(out[rows])] != 0
        return out

    def _inverse(self, numbers: Words) -> Words:
        inverses = np.empty_like(numbers)
        self._run("inverse", inverses, numbers)
        return inverses

    def _run(self, kernel: str, *arrays: Words) -> None:
        self._functions[kernel](*(array.ctypes.data for array in arrays), len(arrays[0]))


def ifma_curve() -> IfmaCurve | None:
    """The engine, or None without llvmlite, on another processor, or when the code does not compile."""
    if sys.byteorder != "little":
        return None
    try:
        llvm = import_module("llvmlite.binding")
        features = llvm.get_host_cpu_features()
        return IfmaCurve(llvm) if all(features.get(flag) for flag in _FLAGS) else None
    except (ImportError, OSError, RuntimeError):
        return None


# ---- points as blocks of eight: uint64[blocks, words of a point, 8] --------------------------------------------------


def _calls(rows: Bytes) -> Iterator[tuple[slice, Words]]:
    """The rows in runs of at most 4096, as blocks; the last block is filled with zeros."""
    count, words = len(rows), rows.shape[1] // 8
    for start in range(0, count, LANES * _BLOCKS):
        run = rows[start : start + LANES * _BLOCKS]
        padded = np.zeros((-(-len(run) // LANES) * LANES, words), np.uint64)
        padded[: len(run)] = np.ascontiguousarray(run).view(np.uint64)
        blocks = np.ascontiguousarray(padded.reshape(-1, LANES, words).transpose(0, 2, 1))
        yield slice(start, start + len(run)), blocks


def _rows(blocks: Words, count: int) -> Bytes:
    return np.ascontiguousarray(blocks.transpose(0, 2, 1)).view(np.uint8).reshape(-1, 32)[:count]


def _numbers(blocks: Words) -> Words:
    return np.empty((len(blocks), LIMBS, LANES), np.uint64)


# ---- kernels ---------------------------------------------------------------------------------------------------------


def assembly() -> str:
    """All kernels as one LLVM module."""
    functions = []
    for name, (pointers, body) in KERNELS.items():
        code = Code(name, pointers)
        body(code)
        functions.append(code.text())
    return DECLARATIONS + "\n".join(functions)


def _ladder(code: Code) -> None:
    """X : Z of scalar times point, for every point, by the Montgomery ladder of RFC 7748, section 5.

    The bits of the scalar begin at ``bits``, least significant first, one word each. After the swap of (x2, z2) with
    (x3, z3), the sums DA and CB only change places, which their sum and squared difference do not see; so it is
    enough to choose which point is doubled. The lowest bit of a scalar is zero, so nothing is left to swap at the end.
    """

    def block(_: Sequence[str], index: str) -> Sequence[str]:
        u = code.limbs([code.load("points", index, row, 4) for row in range(4)], top=False)

        def turn(state: Sequence[str], number: str) -> Sequence[str]:
            x2, z2, x3, z3 = (tuple(state[LIMBS * k : LIMBS * (k + 1)]) for k in range(4))
            place = code.let(f"sub i64 {_BITS - 1}, {number}")
            address = code.let(f"getelementptr i64, ptr %bits, i64 {place}")
            bit = code.broadcast(code.let(f"load i64, ptr {address}, align 8"))
            mask = code.op("sub", splat(0), code.op("xor", bit, state[-1]))
            a, b = code.carry(code.add(x2, z2)), code.carry(code.subtract(x2, z2))
            c, d = code.carry(code.add(x3, z3)), code.carry(code.subtract(x3, z3))
            da, cb = code.multiply(d, a), code.multiply(c, b)
            aa = code.carry(code.square(Tight(code.select(mask, c, a))))
            bb = code.carry(code.square(Tight(code.select(mask, d, b))))
            e = code.carry(code.subtract(aa, bb))
            difference = code.carry(code.square(code.carry(code.subtract(da, cb))))
            return [
                *code.multiply(aa, bb),
                *code.multiply(e, code.carry(code.scaled(aa, e, (COEFFICIENT - 2) // 4))),
                *code.square(code.carry(code.add(da, cb))),
                *code.multiply(u, difference),
                bit,
            ]

        first = [*constant(1), *constant(0), *u, *constant(1), splat(0)]
        last = code.repeat(str(_BITS), first, turn)
        _store(code, "x", index, code.carry(last[:LIMBS]))
        _store(code, "z", index, code.carry(last[LIMBS : 2 * LIMBS]))
        return []

    code.repeat("%blocks", [], block)


def _inverse(code: Code) -> None:
    """1 / z for every number, 0 for 0: products of all before it, one power, and back (Montgomery's trick)."""

    def nonzero(index: str) -> tuple[str, Tight]:
        z = _load(code, "z", index)
        zero = code.equals(code.canonical(z), constant(0))
        return zero, Tight(code.select(zero, constant(1), z))

    def forward(product: Sequence[str], index: str) -> Sequence[str]:
        _store(code, "inverses", index, tuple(product))
        return code.carry(code.multiply(Tight(tuple(product)), nonzero(index)[1]))

    def backward(state: Sequence[str], turn: str) -> Sequence[str]:
        index = code.let(f"sub i64 {code.let('sub i64 %blocks, 1')}, {turn}")
        inverse = Tight(tuple(state))
        zero, z = nonzero(index)
        own = code.carry(code.multiply(inverse, _load(code, "inverses", index)))
        _store(code, "inverses", index, code.select(zero, constant(0), own))
        return code.carry(code.multiply(inverse, z))

    product = Tight(code.repeat("%blocks", constant(1), forward))
    code.repeat("%blocks", code.inverse(product), backward)


def _quotient(code: Code) -> None:
    """x inverse, as 32 canonical bytes."""

    def block(_: Sequence[str], index: str) -> Sequence[str]:
        value = code.multiply(_load(code, "x", index), _load(code, "inverses", index))
        _store_point(code, "points", index, value)
        return []

    code.repeat("%blocks", [], block)


def _denominators(code: Code) -> None:
    """Of Elligator 2 for r, a hash of 64 bytes modulo p: d = 1 + 2 r^2, and whether u = -A / d lies on the curve.

    u^3 + A u^2 + u is a square exactly if -A d (A^2 - A^2 d + d^2), its d^4-fold, is one. 2 is no square and -1 is, so
    d is never zero; A^2 - 4 is no square, so neither is the other factor.
    """

    def block(_: Sequence[str], index: str) -> Sequence[str]:
        low, high = (
            code.limbs([code.load("hashes", index, row, 8) for row in range(first, first + 4)], top=True)
            for first in (0, 4)
        )
        r = code.carry(code.scaled(low, high, 38))  # 2^256 = 38
        squared = code.carry(code.square(r))
        d = code.carry(code.add(code.add(squared, squared), constant(1)))
        a2 = constant(COEFFICIENT**2)
        inner = code.carry(code.multiply(d, code.carry(code.subtract(d, a2))))
        factor = code.carry(code.multiply(code.carry(code.add(inner, a2)), constant(-COEFFICIENT)))
        _store(code, "denominators", index, d)
        code.store("square", index, 0, 1, code.is_square(code.carry(code.multiply(d, factor))))
        return []

    code.repeat("%blocks", [], block)


def _mapped(code: Code) -> None:
    """u = -A / d where that lies on the curve, else A / d - A."""

    def block(_: Sequence[str], index: str) -> Sequence[str]:
        fraction = code.multiply(_load(code, "inverses", index), constant(COEFFICIENT))
        square = code.load("square", index, 0, 1)
        u = code.select(square, code.subtract(constant(0), fraction), code.subtract(fraction, constant(COEFFICIENT)))
        _store_point(code, "points", index, u)
        return []

    code.repeat("%blocks", [], block)


def _on_curve(code: Code) -> None:
    """All ones where u is below p, is not zero, and u^3 + A u^2 + u is a square."""

    def block(_: Sequence[str], index: str) -> Sequence[str]:
        words = [code.load("points", index, row, 4) for row in range(4)]
        u = code.limbs(words, top=False)
        canonical = code.equals(tuple(words), tuple(code.words(code.canonical(u))))
        inner = code.carry(code.add(code.multiply(u, code.carry(code.add(u, constant(COEFFICIENT)))), constant(1)))
        square = code.is_square(code.carry(code.multiply(u, inner)))
        code.store("good", index, 0, 1, code.op("and", canonical, square))
        return []

    code.repeat("%blocks", [], block)


def _load(code: Code, pointer: str, index: str) -> Tight:
    return Tight(tuple(code.load(pointer, index, row, LIMBS) for row in range(LIMBS)))


def _store(code: Code, pointer: str, index: str, number: Loose) -> None:
    for row, word in enumerate(number):
        code.store(pointer, index, row, LIMBS, word)


def _store_point(code: Code, pointer: str, index: str, number: Loose) -> None:
    for row, word in enumerate(code.words(code.canonical(code.carry(number)))):
        code.store(pointer, index, row, 4, word)


KERNELS: dict[str, tuple[tuple[str, ...], Callable[[Code], None]]] = {
    "ladder": (("x", "z", "points", "bits"), _ladder),
    "inverse": (("inverses", "z"), _inverse),
    "quotient": (("points", "x", "inverses"), _quotient),
    "denominators": (("denominators", "square", "hashes"), _denominators),
    "mapped": (("points", "inverses", "square"), _mapped),
    "on_curve": (("good", "points"), _on_curve),
}
