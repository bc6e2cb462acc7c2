"""A guest whose score part files are there: what is left to do is to write them to its sinks."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fedspark.conf import party_from
from fedspark.run import Run
from fedspark.scoring import ScoreFiles
from fedspark.scoring.output import part_name
from tests.federation import Federation
from tests.models.aligned import STEPS

COUNTS = (5, 0, 700)
"""Rows of each part."""


def guest(scores: Mapping[str, Any], base: Path | None = None, label: str = "run") -> Run:
    """The guest's view of step predict, with these ``scores`` in its party file."""
    federation = Federation(steps=STEPS, base=None if base is None else str(base))
    if label != "run":
        federation = federation.next_run(label)
    return with_scores(federation.run("guest", "predict"), scores)


def with_scores(run: Run, scores: Mapping[str, Any]) -> Run:
    """The same run after its party file was edited."""
    content = run.party_conf.model_dump(include={"party", "identity", "workspace", "exchange"})
    conf = party_from({**content, "peers": {}, "scores": scores}, directory="/")
    object.__setattr__(run, "party_conf", conf)
    return run


def part(number: int, id_names: Sequence[str] = ("person",)) -> pa.Table:
    """A part file's rows: ids are decimal text, every seventh row has no score."""
    rows = range(COUNTS[number])
    ids = [str(number * 10**6 + row) for row in rows]
    score = pa.array([None if row % 7 == 6 else row / 7 - 3 for row in rows], pa.float64())
    columns = {name: pa.array(ids, pa.string()) for name in id_names}
    return pa.table({**columns, "score": score, "probability": score})


def written(run: Run, id_names: Sequence[str] = ("person",)) -> ScoreFiles:
    """The part files, in the run's workspace."""
    folder = run.path("scores")
    for number in range(len(COUNTS)):
        data = io.BytesIO()
        pq.write_table(part(number, id_names), data)
        run.workspace.keep(f"{folder}/{part_name(number, 'parquet')}", data.getvalue())
    unmatched = sum(count // 7 for count in COUNTS)
    return ScoreFiles(folder, run.workspace.url(folder), len(COUNTS), [], sum(COUNTS), unmatched, "run/train")


def expected(integers: bool = False) -> list[tuple[Any, ...]]:
    """All rows as a sink shows them."""
    rows = [tuple(row.values()) for number in range(len(COUNTS)) for row in part(number).to_pylist()]
    return sorted((int(row[0]), *row[1:]) if integers else row for row in rows)
