"""fedspark.crypto.paillier on columns: one call per case, from integers to fixed-width ciphertexts or back.

Every ciphertext is what the protocol sends: encryption with a fresh short nonce, sums as a receiver gets them. Tables
of the obfuscator are built before the clock starts (once per process and key, ``table_s``).
"""

from __future__ import annotations

from collections.abc import Callable
from time import thread_time
from typing import Any

import numpy as np

from benchmarks.inputs import matrix16, residuals
from benchmarks.worker import Work
from fedspark.crypto.encoding import FixedPoint
from fedspark.crypto.paillier import PrivateKey, encrypt, engine_for
from fedspark.crypto.randomness import Stream, derive

SCALE = 20
_OFFSET = 1 << 40


def prepare(case: str, config: dict[str, Any]) -> Callable[[], Work]:
    """Work of one case on ``config['rows']`` rows, under the key with ``config['primes']`` in hexadecimal."""
    rows, key = config["rows"], PrivateKey.from_primes(*(int(prime, 16) for prime in config["primes"]))
    numbers = FixedPoint(SCALE, 1.0).encode(residuals(rows))
    began = thread_time()
    encrypt(key.public, [1], SCALE, _stream("warm public"))
    table_s = thread_time() - began
    extra = {"engine": engine_for(key.public).name, "table_s": table_s}
    if case in ("encrypt", "encrypt-owner"):
        key.encrypt([1], SCALE, _stream("warm owner"))
        make = (lambda: encrypt(key.public, numbers, SCALE, _stream())) if case == "encrypt" else (
            lambda: key.encrypt(numbers, SCALE, _stream())
        )  # fmt: skip
        assert key.decrypt(make())[:2] == numbers[:2].tolist()
        return lambda: Work(rows, len(make().to_bytes()), extra=extra)
    if case == "decrypt-packed":
        packed = key.encrypt(_packed(numbers, config["bits"] // 8), SCALE, _stream())
        assert (_unpacked(key.decrypt(packed), config["bits"] // 8, rows) == numbers).all()
        return lambda: Work(len(_unpacked(key.decrypt(packed), config["bits"] // 8, rows)), extra=extra)
    column = key.encrypt(numbers, SCALE, _stream())
    if case == "decrypt":
        assert key.decrypt(column) == numbers.tolist()
        return lambda: Work(len(key.decrypt(column)), extra=extra)
    if case == "add":
        assert key.decrypt(column.add(column)) == (2 * numbers).tolist()
        return lambda: Work(len(column.add(column)), extra=extra)
    if case == "matvec16":
        matrix = np.array(matrix16(rows, config["features"]), dtype=np.int64)
        assert key.decrypt(column.linear(matrix, 16)) == (matrix.T @ numbers).tolist()

        def linear() -> Work:
            column.linear(matrix, 16)
            return Work(rows, per=config["features"], extra=extra)

        return linear
    raise ValueError(f"no case {case}")


def _packed(numbers: np.ndarray, width: int) -> np.ndarray:
    """Numbers, offset to be unsigned, in slots of 64 bits, all but the last slot of each plaintext: uint8[T, width]."""
    slots = width // 8 - 1
    padded = np.full(-(-len(numbers) // slots) * slots, _OFFSET)
    padded[: len(numbers)] += numbers
    plain = np.zeros((len(padded) // slots, slots + 1), "<i8")
    plain[:, :slots] = padded.reshape(-1, slots)
    return plain.view(np.uint8)


def _unpacked(plain: list[int], width: int, rows: int) -> np.ndarray:
    words = np.frombuffer(b"".join(number.to_bytes(width, "little") for number in plain), "<i8")
    return words.reshape(len(plain), -1)[:, :-1].reshape(-1)[:rows] - _OFFSET


def _stream(purpose: str = "measured") -> Stream:
    return Stream(derive(bytes(range(32)), purpose))
