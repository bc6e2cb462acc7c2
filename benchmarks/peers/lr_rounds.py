"""A round of an emulated regression at few rows, as a round at many rows costs.

What is done for every row is measured as it is. The sums, one per feature, are decrypted once a round whatever its
rows: that is measured apart and divided by our rows, not by the emulation's few.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from benchmarks.cpu import process_cpu
from benchmarks.worker import Work

Sums = TypeVar("Sums")
Opened = TypeVar("Opened")


def measured(
    config: dict[str, Any],
    sums: Callable[[], Sums],
    decrypt: Callable[[Sums], Opened],
    check: Callable[[Opened], bool],
) -> Work:
    """One round on ``config['rows']`` rows, its decryption spread over ``config['round_rows']``."""
    rows, begun = config["rows"], process_cpu()
    encrypted, summed = sums(), process_cpu()
    opened, done = decrypt(encrypted), process_cpu()
    assert check(opened)
    once = (done - summed) * rows / config["round_rows"]
    extra = {"decrypt_us_per_sum": 1e6 * (done - summed) / (2 * config["features"])}
    return Work(rows, cpu_s=summed - begun + once, extra=extra)
