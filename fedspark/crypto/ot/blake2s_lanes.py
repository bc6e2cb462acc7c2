"""BLAKE2s compression of 16 states side by side, for numba: written as vector instructions of LLVM.

Numba compiles a loop over lanes ten times slower and to slower code than these forty lines ask for directly. LLVM
lowers vectors of 16 words to whatever the machine has (AVX-512, AVX2, SSE, NEON), with the same bits everywhere.
``prefetch`` is beside it because numba has none. Import it through ``kernels_numba`` only.
"""
# mypy: disable-error-code="untyped-decorator,no-untyped-def,no-untyped-call"

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LANES = 16

# RFC 7693: 2.6 (constants), 2.7 (message schedule), 3.1 and 3.2 (mixing).
IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
_SIGMA = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    (11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
    (7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
    (9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
    (2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
    (12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
    (13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
    (6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
    (10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
)
_MIXED = (
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
)  # fmt: skip

_WORD = ir.IntType(32)
_LANE_WORDS = ir.VectorType(_WORD, LANES)


@intrinsic
def compress(typingctx, states, message, block, length, last):
    """Feed one 64-byte block to 16 states, in place.

    ``states``: uint32[8 x 16], ``message``: uint32[blocks x 16 x 16], both flat, word after word with the lanes of a
    word together. ``block`` is the number of the block, ``length`` the bytes so far with it, ``last`` 2^32 - 1 on the
    last block, else 0.
    """
    signature = types.void(states, message, types.uint32, types.uint32, types.uint32)

    def generate(context, builder, signature, arguments):
        state_at, message_at = (
            builder.bitcast(context.make_array(kind)(context, builder, value).data, _LANE_WORDS.as_pointer())
            for kind, value in zip(signature.args[:2], arguments[:2], strict=True)
        )
        first = builder.mul(arguments[2], ir.Constant(_WORD, 16))
        h = [builder.load(builder.gep(state_at, [ir.Constant(_WORD, i)]), align=4) for i in range(8)]
        m = [
            builder.load(builder.gep(message_at, [builder.add(first, ir.Constant(_WORD, i))]), align=4)
            for i in range(16)
        ]
        v = h + [_constant(word) for word in IV]
        v[12] = builder.xor(v[12], _everywhere(builder, arguments[3]))
        v[14] = builder.xor(v[14], _everywhere(builder, arguments[4]))
        for schedule in _SIGMA:
            for k, (a, b, c, d) in enumerate(_MIXED):
                for word, right_d, right_b in ((m[schedule[2 * k]], 16, 12), (m[schedule[2 * k + 1]], 8, 7)):
                    v[a] = builder.add(builder.add(v[a], v[b]), word)
                    v[d] = _rotated(builder, builder.xor(v[d], v[a]), right_d)
                    v[c] = builder.add(v[c], v[d])
                    v[b] = _rotated(builder, builder.xor(v[b], v[c]), right_b)
        for i in range(8):
            mixed = builder.xor(h[i], builder.xor(v[i], v[i + 8]))
            builder.store(mixed, builder.gep(state_at, [ir.Constant(_WORD, i)]), align=4)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def prefetch(typingctx, words, index):
    """Ask for the cache line of ``words[index]`` (flat, 64 bits each), without waiting for it."""
    signature = types.void(words, types.int64)

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        place = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        flag = ir.IntType(32)
        form = ir.FunctionType(ir.VoidType(), [place.type, flag, flag, flag])
        instruction = builder.module.declare_intrinsic("llvm.prefetch", [place.type], form)
        builder.call(instruction, [place, flag(0), flag(3), flag(1)])  # to read, to keep, data
        return context.get_dummy_value()

    return signature, generate


def _constant(word: int) -> ir.Constant:
    return ir.Constant(_LANE_WORDS, [word] * LANES)


def _everywhere(builder, word):
    nothing = ir.Constant(_LANE_WORDS, ir.Undefined)
    return builder.shuffle_vector(builder.insert_element(nothing, word, ir.Constant(_WORD, 0)), nothing, _constant(0))


def _rotated(builder, words, right: int):
    return builder.or_(builder.lshr(words, _constant(right)), builder.shl(words, _constant(32 - right)))
