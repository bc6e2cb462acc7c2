"""A side for the harness's own tests: it adds numbers, and fails where it is told to."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from benchmarks.worker import Work


def prepare(case: str, config: dict[str, Any]) -> Callable[[], Work]:
    if config.get("fails") == "prepare":
        raise ArithmeticError("asked to fail")

    def work() -> Work:
        if config.get("fails") == "measure":
            raise ArithmeticError("asked to fail")
        print("what a side prints must not be taken for an answer")
        sum(range(20_000))
        return Work(config["rows"], extra={"process": os.getpid()})

    return work
