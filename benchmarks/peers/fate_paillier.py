"""fate_utils (FATE's Rust kernels): Paillier vectors under a key of its own, of the same size.

Residuals are integers with 20 fractional bits and matrix entries 16-bit integers, as on our side; its matrix product
makes one power and one product per entry. Its key's owner encrypts as anybody does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from fate_utils import paillier

from benchmarks.inputs import matrix16, residuals
from benchmarks.worker import Work


def prepare(case: str, config: dict[str, Any]) -> Callable[[], Work]:
    """Work of one case on ``config['rows']`` rows, under a new key of ``config['bits']`` bits."""
    rows = config["rows"]
    secret, public, coder = paillier.keygen(config["bits"])
    numbers = np.round(np.array(residuals(rows)) * 2**20).astype(np.int64)

    def encrypt() -> paillier.CiphertextVector:
        return public.encrypt_encoded(coder.encode_i64_vec(numbers), True)

    def decrypt(vector: paillier.CiphertextVector) -> np.ndarray:
        return np.asarray(coder.decode_i64_vec(secret.decrypt_to_encoded(vector)))

    if case in ("encrypt", "encrypt-owner"):
        return lambda: Work(rows, config["bits"] // 4 * rows if encrypt() is not None else 0)
    column = encrypt()
    if case in ("decrypt", "decrypt-packed"):
        assert (decrypt(column) == numbers).all()
        return lambda: Work(len(decrypt(column)))
    if case == "add":
        assert (decrypt(column.add(public, column)) == 2 * numbers).all()
        return lambda: Work(rows) if column.add(public, column) is not None else Work(0)
    if case == "matvec16":
        features, matrix = config["features"], np.array(matrix16(rows, config["features"]), dtype=np.int64)
        entries = coder.encode_i64_vec(matrix.ravel())

        def linear() -> paillier.CiphertextVector:
            return column.matmul(public, entries, [1, rows], [rows, features])

        assert (decrypt(linear()) == matrix.T @ numbers).all()
        return lambda: Work(rows, per=features) if linear() is not None else Work(0)
    raise ValueError(f"no case {case}")
