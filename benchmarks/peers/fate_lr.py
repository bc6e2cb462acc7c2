"""One LR round on fate_utils, FATE's Rust engine, the way its vector classes work: one ciphertext per number.

Per row the host encrypts u/4 and the guest adds its own part; then X'd for all features of both parties, and the
arbiter decrypts one number per feature. Fixed-point integers, as on our side: floats, FATE's own way, take longer. No
masks, no messages, no re-randomising, no loss: everything left out would only make it slower.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from fate_utils import paillier

from benchmarks.inputs import matrix16, residuals
from benchmarks.peers.lr_rounds import measured
from benchmarks.worker import Work

_UNIT = 2.0**20


def prepare(case: str, config: dict[str, Any]) -> Callable[[], Work]:
    """Work of one round on ``config['rows']`` rows with ``config['features']`` at each of guest and host."""
    rows, features = config["rows"], 2 * config["features"]
    private, public, coder = paillier.keygen(config["bits"])
    u, own = (np.rint(np.array(residuals(rows)) * _UNIT).astype(np.int64) for _ in range(2))
    matrix = np.array(matrix16(rows, features), dtype=np.int64)
    encoded = coder.encode_i64_vec(np.ascontiguousarray(matrix.ravel()))

    expected = ((u + own) @ matrix).tolist()

    def sums() -> paillier.CiphertextVector:
        hosts = public.encrypt_encoded(coder.encode_i64_vec(u), True)
        guests = public.encrypt_encoded(coder.encode_i64_vec(own), False)
        return hosts.add(public, guests).matmul(public, encoded, [1, rows], [rows, features])

    def decrypt(encrypted: paillier.CiphertextVector) -> list[int]:
        return np.array(coder.decode_i64_vec(private.decrypt_to_encoded(encrypted))).tolist()

    return lambda: measured(config, sums, decrypt, expected.__eq__)
