"""The obfuscator's table, once per machine user: a file that all worker processes map, or this process's memory.

hs is public, so the table is. At 2048 bits it has 20 MiB with IFMA and 38 MiB with other kernels; it takes 0.08 s to
build, 0.025 s to check and map. The files of the last few keys are kept.
"""

from __future__ import annotations

import contextlib
from hashlib import sha256

import numpy as np
from gmpy2 import mpz

from fedspark.crypto.private_files import DIGEST_BYTES, kept_file
from fedspark.crypto.vector.modulus import Blocks, Modulus

_KEPT = 4
_LAYOUT = 1
"""Part of the file's name: another number wherever ``Modulus.table`` begins to arrange the same numbers otherwise."""


def shared_table(m: Modulus, base: mpz, windows: int) -> Blocks:
    """``m.table(base, windows)``, read-only, from this user's file where one can be kept."""
    shape = windows, 256, m.limbs
    label = f"{m.n:x} {base:x} {windows} {m.radix} {m.bits} {m.limbs} layout {_LAYOUT}"
    name = f"nonces-{sha256(label.encode()).hexdigest()[:32]}.table"
    made: list[Blocks] = []

    def make() -> bytes:
        made.append(m.table(base, windows))
        return made[0].tobytes()

    found = kept_file(name, make, keep=("nonces-*.table", _KEPT))
    size = 8 * windows * 256 * m.limbs
    if not isinstance(found, bytes):
        with found, contextlib.suppress(OSError, ValueError):
            mapped = np.memmap(found, np.uint64, "r", DIGEST_BYTES)
            if mapped.nbytes == size:
                return mapped.reshape(shape)
    return made[0] if made else m.table(base, windows)
