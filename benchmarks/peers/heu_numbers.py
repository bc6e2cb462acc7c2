"""SecretFlow's HEU (C++, ZPaillier): arrays under a key of its own, of the same size, short nonces by table as ours.

Integers of the same precision as on our side. Its matrix product makes one power and one product per entry. Its key's
owner encrypts as anybody does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from heu import numpy as hnp
from heu import phe

from benchmarks.inputs import matrix16, residuals
from benchmarks.worker import Work


def prepare(case: str, config: dict[str, Any]) -> Callable[[], Work]:
    """Work of one case on ``config['rows']`` rows, under a new key of ``config['bits']`` bits."""
    rows, kit = config["rows"], hnp.setup(phe.SchemaType.ZPaillier, config["bits"])
    encryptor, decryptor, evaluator = kit.encryptor(), kit.decryptor(), kit.evaluator()
    numbers = np.round(np.array(residuals(rows)) * 2**20).astype(np.int64)
    whole = phe.IntegerEncoderParams(1)

    def encrypt() -> Any:
        return encryptor.encrypt(kit.array(numbers.reshape(1, -1), whole))

    def read(array: Any) -> list[int]:
        plain = decryptor.decrypt(array)
        return [int(str(plain[0, k])) for k in range(plain.cols)]

    if case in ("encrypt", "encrypt-owner"):
        return lambda: Work(rows, config["bits"] // 4 * rows if encrypt() is not None else 0)
    column = encrypt()
    assert read(column) == numbers.tolist()
    if case in ("decrypt", "decrypt-packed"):
        return lambda: Work(rows) if decryptor.decrypt(column) is not None else Work(0)
    if case == "add":
        return lambda: Work(rows) if evaluator.add(column, column) is not None else Work(0)
    if case == "matvec16":
        features, entries = config["features"], np.array(matrix16(rows, config["features"]), dtype=np.int64)
        matrix = kit.array(entries, whole)
        assert read(evaluator.matmul(column, matrix)) == (entries.T @ numbers).tolist()
        return lambda: Work(rows, per=features) if evaluator.matmul(column, matrix) is not None else Work(0)
    raise ValueError(f"no case {case}")
