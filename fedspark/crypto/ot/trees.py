"""Trees of seeds of which the other party knows all leaves but one.

Goldreich, Goldwasser and Micali (JACM 33(4), 1986) as a puncturable function, transferred level by level with 1-of-2
transfers: the all-but-one transfer under Roy's small-field VOLE ("SoftSpokenOT", CRYPTO 2022, eprint 2022/192, section
on the base transfers; after Schoppmann, Gascon, Reichert, Raykova, CCS 2019, and Boyle et al., CCS 2019). A tree of
depth f has 2^f leaves. The two nodes of its first level are the two keys of its first transfer. On level i > 1
the grower sends the XOR of all left nodes and the XOR of all right nodes, each under one key of transfer i. The
puncturer, who wants to miss leaf delta, chose in transfer i the side that delta does not take: it finds the one
sibling that it lacks on each level, and never a node on the path to delta.

Arrays over all trees: keys uint8[trees, f, 2, 32] or (chosen) uint8[trees, f, 32], leaves uint8[trees, 2^f, 16],
messages uint8[trees, f - 1, 2, 16]. The first level is the highest bit of a leaf's number. The length-doubling
generator is BLAKE2s-256 of a node, cut in two.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from fedspark.errors import CryptoError

SEED_BYTES = 16

_DOUBLE = b"fs-ggm-1"

Bytes = npt.NDArray[np.uint8]


def grow(keys: Bytes) -> tuple[Bytes, Bytes]:
    """All leaves of every tree, and the message for the puncturer, from both keys of every transfer."""
    if keys.ndim != 4 or keys.shape[1] < 1 or keys.shape[2] != 2 or keys.shape[3] < SEED_BYTES:
        raise CryptoError(f"Keys of trees are uint8[trees, f, 2, 32], got {list(keys.shape)}.")
    trees, depth = keys.shape[:2]
    nodes = np.ascontiguousarray(keys[:, 0, :, :SEED_BYTES])
    message = np.empty((trees, depth - 1, 2, SEED_BYTES), np.uint8)
    for level in range(1, depth):
        nodes = _doubled(nodes)
        sides = nodes.reshape(trees, -1, 2, SEED_BYTES)
        message[:, level - 1] = np.bitwise_xor.reduce(sides, axis=1) ^ keys[:, level, :, :SEED_BYTES]
    return nodes, message


def choices(delta: Bytes, depth: int) -> Bytes:
    """The side to choose in every transfer so as to miss leaf delta: uint8[trees, f] from uint8[trees]."""
    if delta.ndim != 1 or (delta.size and int(delta.max()) >= 1 << depth):
        raise CryptoError(f"Missing leaves are uint8[trees] below {1 << depth}.")
    return (1 - (delta[:, None] >> np.arange(depth - 1, -1, -1, dtype=np.uint8) & 1)).astype(np.uint8)


def puncture(keys: Bytes, delta: Bytes, message: Bytes) -> Bytes:
    """All leaves but leaf delta (zeros there), from the chosen keys and the grower's message. Raises CryptoError for a
    message of another shape.
    """
    trees, depth = keys.shape[:2]
    if message.shape != (trees, depth - 1, 2, SEED_BYTES) or message.dtype != np.uint8:
        raise CryptoError(
            f"The message of {trees} trees is uint8[{trees}, {depth - 1}, 2, {SEED_BYTES}], got {message.dtype}"
            f"{list(message.shape)}.",
            remedy="Nothing was used; ask the peer.",
        )
    every, taken = np.arange(trees), choices(delta, depth).astype(np.intp)
    nodes = np.zeros((trees, 2, SEED_BYTES), np.uint8)
    nodes[every, taken[:, 0]] = keys[:, 0, :SEED_BYTES]
    for level in range(1, depth):
        path = delta.astype(np.intp) >> (depth - level)
        nodes = _doubled(nodes)
        sides = nodes.reshape(trees, -1, 2, SEED_BYTES)
        sides[every, path] = 0  # children of the unknown node
        side = taken[:, level]
        whole = message[every, level - 1, side] ^ keys[:, level, :SEED_BYTES]
        sides[every, path, side] = whole ^ np.bitwise_xor.reduce(sides[every, :, side], axis=1)
    return nodes


def _doubled(nodes: Bytes) -> Bytes:
    """The two children of every node, side by side: uint8[trees, 2m, 16] from uint8[trees, m, 16]."""
    raw = nodes.tobytes()
    children = b"".join(
        hashlib.blake2s(raw[i : i + SEED_BYTES], person=_DOUBLE).digest() for i in range(0, len(raw), SEED_BYTES)
    )
    return np.frombuffer(children, np.uint8).reshape(nodes.shape[0], -1, SEED_BYTES).copy()
