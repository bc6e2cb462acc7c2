"""The OPRF of one bucket once more: integers, dictionaries and loops, written from the formulas and not from the code.

Slow on purpose. It shares ``derive`` and AES with the library and nothing else.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedspark.crypto.randomness import derive


def aes(key: bytes, block: bytes) -> bytes:
    return Cipher(algorithms.AES(key[:16]), modes.ECB()).encryptor().update(block)


@dataclass
class Reference:
    field_bits: int
    width: int
    third: int
    dense: int
    tag_bytes: int
    context: bytes
    bucket: int
    attempt: int

    @property
    def rows(self) -> int:
        return 3 * self.third + self.dense

    def key(self, *purpose: str | int) -> bytes:
        name, *rest = purpose
        return derive(self.context, "ot extension", name, self.bucket, self.attempt, *rest)

    def cells(self, digest: bytes) -> list[int]:
        """Sparse cells, then dense ones."""
        first, second = aes(self.key("cells"), digest), aes(self.key("dense"), digest)
        sparse = [
            h * self.third + (int.from_bytes(first[4 * h : 4 * h + 4], "little") * self.third >> 32) for h in range(3)
        ]
        chosen = int.from_bytes(second[:8], "little")
        return sparse + [3 * self.third + i for i in range(self.dense) if chosen >> i & 1]

    def code(self, digest: bytes) -> int:
        blocks = b"".join(aes(self.key("code", i), digest) for i in range(-(-self.width // 128)))
        return int.from_bytes(blocks, "little") % 2**self.width

    def table(self, digests: list[bytes]) -> tuple[list[int], int]:
        """(rows as integers, size of the 2-core)."""
        cells = {x: self.cells(x) for x in digests}
        table = [0] * self.rows
        rounds: list[list[tuple[bytes, int]]] = []
        left = set(digests)
        while True:
            holders: dict[int, list[bytes]] = {}
            for x in left:
                for cell in cells[x][:3]:
                    holders.setdefault(cell, []).append(x)
            lowest: dict[bytes, int] = {}
            for cell in sorted(holders, reverse=True):
                if len(holders[cell]) == 1:
                    lowest[holders[cell][0]] = cell
            if not lowest:
                break
            rounds.append(list(lowest.items()))
            left -= set(lowest)
        for cell, value in self._eliminated([(set(cells[x]), self.code(x)) for x in sorted(left)]).items():
            table[cell] = value
        for peeled in reversed(rounds):
            for x, pivot in peeled:
                table[pivot] = self.code(x) ^ self.decode(table, x)
        return table, len(left)

    @staticmethod
    def _eliminated(equations: list[tuple[set[int], int]]) -> dict[int, int]:
        """Reduced row echelon form, columns ascending; free columns zero."""
        solved: list[tuple[int, set[int], int]] = []
        rest = equations
        for column in sorted(set().union(*(row for row, _ in equations))) if equations else []:
            pivot = next((e for e in rest if column in e[0]), None)
            if pivot is None:
                continue
            rest = [e for e in rest if e is not pivot]
            rest = [(e[0] ^ pivot[0], e[1] ^ pivot[1]) if column in e[0] else e for e in rest]
            solved = [
                (c, row ^ pivot[0], value ^ pivot[1]) if column in row else (c, row, value) for c, row, value in solved
            ]
            solved.append((column, pivot[0], pivot[1]))
        assert not any(row for row, _ in rest)
        return {column: value for column, _, value in solved}

    def decode(self, rows: list[int], digest: bytes) -> int:
        total = 0
        for cell in self.cells(digest):
            total ^= rows[cell]
        return total

    def stream(self, seed: bytes) -> int:
        blocks = -(-self.rows // 128)
        place = (self.bucket << 16 | self.attempt).to_bytes(8, "little")
        return int.from_bytes(b"".join(aes(seed, i.to_bytes(8, "little") + place) for i in range(blocks)), "little")

    def receiver_pads(self, seeds: list[list[bytes]]) -> tuple[list[int], list[list[int]]]:
        """(u, row by row; v, row by row, as f planes)."""
        u, v = [0] * self.rows, [[0] * self.field_bits for _ in range(self.rows)]
        for j, leaves in enumerate(seeds):
            streams = [self.stream(seed) for seed in leaves]
            for i in range(self.rows):
                for x, stream in enumerate(streams):
                    if stream >> i & 1:
                        u[i] ^= 1 << j
                        for plane in range(self.field_bits):
                            v[i][plane] ^= (x >> plane & 1) << j
        return u, v

    def sender_shares(self, seeds: list[list[bytes]], delta: list[int], message: list[int]) -> list[list[int]]:
        """Q = w + Delta U, row by row, as f planes."""
        q = [[0] * self.field_bits for _ in range(self.rows)]
        for j, leaves in enumerate(seeds):
            for x, seed in enumerate(leaves):
                if x == delta[j]:
                    continue
                stream = self.stream(seed)
                for i in range(self.rows):
                    if stream >> i & 1:
                        for plane in range(self.field_bits):
                            q[i][plane] ^= ((x ^ delta[j]) >> plane & 1) << j
            for i in range(self.rows):
                if message[i] >> j & 1:
                    for plane in range(self.field_bits):
                        q[i][plane] ^= (delta[j] >> plane & 1) << j
        return q

    def receiver_output(self, v: list[list[int]], digest: bytes) -> bytes:
        planes = [self.decode([row[plane] for row in v], digest) for plane in range(self.field_bits)]
        return self.row_hash(planes)

    def sender_output(self, q: list[list[int]], delta: list[int], digest: bytes) -> bytes:
        code, planes = self.code(digest), []
        for plane in range(self.field_bits):
            bits = sum((delta[j] >> plane & 1) << j for j in range(self.width))
            planes.append(self.decode([row[plane] for row in q], digest) ^ (code & bits))
        return self.row_hash(planes)

    def row_hash(self, planes: list[int]) -> bytes:
        width = 8 * -(-self.width // 64)
        row = b"".join(plane.to_bytes(width, "little") for plane in planes)
        label = self.key("row hash", 0)
        return hashlib.blake2s(row, digest_size=16, salt=label[:8], person=label[8:16]).digest()[: self.tag_bytes]
