"""Which people train a model and which validate it: decided by a hash of the id, equally at all parties."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fedspark.crypto.hashing import split_fraction


class Rows(StrEnum):
    """A choice of rows of an aligned table."""

    TRAINING = "training"
    VALIDATION = "validation"
    ALL = "all"


@dataclass(frozen=True)
class Split:
    """A person is a validation person if their fraction under ``salt`` lies below ``share``."""

    salt: str
    share: float

    def choose(self, keys: pa.Array | pa.ChunkedArray, rows: Rows) -> npt.NDArray[np.bool_]:
        """bool[N]: which of the people with these keys (text) belong to ``rows``."""
        if rows is Rows.ALL:
            return np.ones(len(keys), dtype=np.bool_)
        validation = split_fraction(keys.to_pylist(), self.salt) < self.share
        return validation if rows is Rows.VALIDATION else ~validation
