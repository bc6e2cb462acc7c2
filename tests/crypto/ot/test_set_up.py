"""The seeds of the extension once more: trees as a recursion over one path, and a set-up whose bytes are fixed."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from fedspark.crypto.ot import trees, vole
from fedspark.crypto.ot.parameters import choose
from fedspark.crypto.randomness import Stream, derive

CONTEXT, SECRET = bytes(range(32)), bytes(range(32, 64))


def plain_node(first: tuple[bytes, bytes], path: str) -> bytes:
    """The node at the end of a path of bits from the root, whose two children are the keys of the first transfer."""
    node = first[int(path[0])][:16]
    for bit in path[1:]:
        node = hashlib.blake2s(node, person=b"fs-ggm-1").digest()[16 * int(bit) : 16 * int(bit) + 16]
    return node


def plain_sum(first: tuple[bytes, bytes], level: int, side: str) -> bytes:
    """XOR of all nodes of a level (from 2 on) that are children on one side."""
    total = 0
    for parent in range(1 << level - 1):
        total ^= int.from_bytes(plain_node(first, f"{parent:0{level - 1}b}{side}"), "big")
    return total.to_bytes(16, "big")


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_trees_are_those_of_a_plain_recursion(depth: int) -> None:
    count = 5
    raw = Stream(derive(SECRET, "trees")).bytes(count * depth * 64)
    keys = np.frombuffer(raw, np.uint8).reshape(count, depth, 2, 32)
    leaves, message = trees.grow(keys)
    for tree in range(count):
        first = (keys[tree, 0, 0].tobytes(), keys[tree, 0, 1].tobytes())
        for leaf in range(1 << depth):
            assert leaves[tree, leaf].tobytes() == plain_node(first, f"{leaf:0{depth}b}")
        for level in range(2, depth + 1):
            for side in (0, 1):
                mask = keys[tree, level - 1, side, :16].tobytes()
                expected = bytes(a ^ b for a, b in zip(plain_sum(first, level, str(side)), mask, strict=True))
                assert message[tree, level - 2, side].tobytes() == expected


@pytest.mark.parametrize(
    ("field_bits", "expected"), [(1, "2460551bbbcf60e7"), (2, "5c646b7c4f8a104e"), (4, "69fa5e7abc9ed104")]
)
def test_the_bytes_of_a_set_up_are_those_of_every_earlier_version(field_bits: int, expected: str) -> None:
    """Parties of different versions work together: a change of these digests is a change of the protocol."""
    parameters = choose(field_bits, 1, 100, 100)
    started, message = vole.start(parameters, CONTEXT, derive(SECRET, "sender"))
    receiver, reply = vole.answer(parameters, CONTEXT, message, derive(SECRET, "receiver"))
    sender = vole.finish(parameters, started, reply)
    made = b"".join([message, reply, receiver.seeds.tobytes(), sender.delta.tobytes(), sender.seeds.tobytes()])
    assert hashlib.sha256(made).hexdigest()[:16] == expected
