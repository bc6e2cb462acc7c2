"""One LR round on HEU, SecretFlow's homomorphic engine (scheme ZPaillier): one ciphertext per number.

Per row the host encrypts u/4 and the guest adds its own part; then X'd for all features of both parties, and the
arbiter decrypts one number per feature. No masks, no messages, no re-randomising, no loss: everything left out would
only make it slower.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from heu import numpy as hnp
from heu import phe

from benchmarks.inputs import matrix16, residuals
from benchmarks.peers.lr_rounds import measured
from benchmarks.worker import Work

_UNIT = 2.0**20


def prepare(case: str, config: dict[str, Any]) -> Callable[[], Work]:
    """Work of one round on ``config['rows']`` rows with ``config['features']`` at each of guest and host."""
    rows, features = config["rows"], 2 * config["features"]
    kit = hnp.setup(phe.SchemaType.ZPaillier, config["bits"])
    integers = phe.IntegerEncoderParams(1)
    u, own = (np.rint(np.array(residuals(rows)) * _UNIT).astype(np.int64).reshape(1, rows) for _ in range(2))
    matrix = np.array(matrix16(rows, features), dtype=np.int64)

    expected = ((u + own) @ matrix).ravel().tolist()

    def sums() -> Any:
        encrypt, evaluate = kit.encryptor().encrypt, kit.evaluator()
        d = evaluate.add(encrypt(kit.array(u, integers)), kit.array(own, integers))
        return evaluate.matmul(d, kit.array(matrix, integers))

    def check(opened: Any) -> bool:
        return bool(opened.to_numpy(kit.integer_encoder(1)).ravel().tolist() == expected)

    return lambda: measured(config, sums, kit.decryptor().decrypt, check)
