"""One round of vertical logistic regression with an arbiter, all three parties as threads of one process.

The real protocol (fedspark.models.vertical_lr) with sealed messages over a store in memory, without Spark: two
trainings, of one and of three rounds, on fresh runs; half of what the longer one costs more is one round of all
parties. Keys, tables, statistics and aligned files cancel out. Aligned files come from ``tests.models.aligned``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.cpu import process_cpu
from benchmarks.worker import Work
from fedspark.conf.options import TrainOptions
from fedspark.models.vertical_lr import train
from tests.federation import Federation
from tests.models.aligned import STEP, STEPS, TRAIN, People, align, people

SHARE = 0.25
_SHORT, _LONG = 1, 3


def prepare(case: str, config: dict[str, Any]) -> Callable[[], Work]:
    """Work of one round on about ``config['rows']`` training rows (every party's share of the people that train)."""
    table = people(round(config["rows"] / (1 - SHARE)), dict.fromkeys(("guest", "host"), config["features"]))
    rows = int(table.training(SHARE).sum())

    def work() -> Work:
        short, few = _train(table, config["bits"], _SHORT)
        long, many = _train(table, config["bits"], _LONG)
        rounds = _LONG - _SHORT
        return Work(rows, round((many - few) / rounds), cpu_s=(long - short) / rounds, extra={"set_up_s": short})

    return work


def _train(table: People, bits: int, rounds: int) -> tuple[float, int]:
    """CPU seconds and bytes sent of one training with ``rounds`` updates."""
    federation = Federation(steps=(*STEPS[:2], {**TRAIN, "key_bits": bits}))
    alignments = align(federation, table)
    options = TrainOptions(
        **{**TRAIN, "validation": SHARE, "key_bits": bits, "max_rounds": rounds, "tolerance": 1e-300}
    )
    began = process_cpu()
    results = federation.play(
        STEP, {p.name: lambda run, p=p: train(run, alignments.get(p.name), options) for p in federation.roster}
    )
    seconds = process_cpu() - began
    assert results["guest"].rounds == rounds, results["guest"]
    sent = federation.run("guest", STEP).mailbox.traffic()
    return seconds, sum(item.bytes for item in sent)
