"""The inputs of the Paillier cases, equal on both sides. Standard library only."""

from __future__ import annotations

import random


def residuals(rows: int) -> list[float]:
    """Numbers in [-1, 1), multiples of 2^-20: what a round of logistic regression encrypts."""
    chance = random.Random(1)
    return [chance.randrange(-(1 << 20), 1 << 20) / (1 << 20) for _ in range(rows)]


def matrix16(rows: int, features: int) -> list[list[int]]:
    """Signed 16-bit entries, [rows][features]."""
    chance = random.Random(2)
    return [[chance.randrange(-(1 << 15), 1 << 15) for _ in range(features)] for _ in range(rows)]
