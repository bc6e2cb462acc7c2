"""Score files at the guest: one Parquet and one CSV file per part, a manifest, and an empty _SUCCESS written last.

With ``join: left`` they hold every row of the guest's table once: people whom not all hosts have follow the others of
their part, with null as score and probability.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from fedspark.evaluation import probability
from fedspark.exchange.signed import canonical_json
from fedspark.models.artifact import ModelPart
from fedspark.models.split import Rows
from fedspark.psi.align import Alignment, PartFiles
from fedspark.run import Run, Workspace
from fedspark.scoring.partial import Adding, receive_scores

ID = "id."
SCORE = ("score", "probability")


@dataclass(frozen=True)
class ScoreFiles:
    """What was written: ``folder`` in the workspace, ``url`` for people, in how many parts, file names there, rows in
    all, and how many of them have no score.
    """

    folder: str
    url: str
    parts: int
    files: list[str]
    rows: int
    unmatched: int
    model_id: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(value: dict[str, Any]) -> ScoreFiles:
        return ScoreFiles(**value)


@dataclass(frozen=True)
class Writing:
    """Context of `write_part`."""

    adding: Adding
    unmatched: PartFiles | None
    workspace: Workspace
    folder: str


def write_scores(run: Run, model: ModelPart, alignment: Alignment) -> ScoreFiles:
    """The guest's half of prediction: scores/part-NNNNN.parquet and .csv with ids, score z and probability of label 1.

    A reader who waits for _SUCCESS sees whole files only. Written once: another content under these names is an error.
    """
    folder = run.path("scores")
    unmatched = PartFiles(run.workspace, alignment.unmatched_files) if alignment.unmatched_files else None
    context = Writing(receive_scores(run, model, alignment, Rows.ALL), unmatched, run.workspace, folder)
    written = run.once("scores-all/files", lambda: run.parts("write scores", write_part, alignment.parts, context))
    entries = [entry for part in written for entry in part["files"]]
    result = ScoreFiles(
        folder=folder,
        url=run.workspace.url(folder),
        parts=alignment.parts,
        files=[entry["name"] for entry in entries],
        rows=sum(part["rows"] for part in written),
        unmatched=alignment.unmatched_rows,
        model_id=model.model_id,
    )
    manifest = {"model_id": model.model_id, "rows": result.rows, "unmatched": result.unmatched, "files": entries}
    run.workspace.keep(f"{folder}/manifest.json", canonical_json(manifest))
    run.workspace.keep(f"{folder}/_SUCCESS", b"")
    return result


def write_part(context: Writing, part: int) -> dict[str, Any]:
    """Both files of one part; rows, and names, sizes and digests of the files come back."""
    scored = [score_table(rows, z) for rows, z in context.adding.scores(part)]
    others = [] if context.unmatched is None else [score_table(rows, None) for rows in context.unmatched.read(part)]
    table = pa.concat_tables(scored + others)
    files = []
    for ending, data in (("parquet", _parquet(table)), ("csv", _csv(table))):
        name = part_name(part, ending)
        context.workspace.keep(f"{context.folder}/{name}", data)
        files.append({"name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    return {"rows": table.num_rows, "files": files}


def score_table(rows: pa.Table, z: np.ndarray[Any, np.dtype[np.float64]] | None) -> pa.Table:
    """The source's id columns under their own names (with id. before one called like a result), score, probability:
    both null without scores z.

    Ids are as the source has them: staged rows leave out those that are the key.
    """
    ids = {name: name.removeprefix(ID) for name in rows.column_names if name.startswith(ID)}
    shown = {name: pc.coalesce(rows[name], rows["key"]) for name in ids}
    columns = {shown_name(own): shown[name] for name, own in ids.items()} or {"key": rows["key"]}
    if z is None:
        return pa.table({**columns, **dict.fromkeys(SCORE, pa.nulls(rows.num_rows, pa.float64()))})
    return pa.table({**columns, SCORE[0]: z, SCORE[1]: probability(z)})


def shown_name(column: str) -> str:
    """What an id column of the source is called beside score and probability."""
    return ID + column if column in SCORE else column


def part_name(part: int, ending: str) -> str:
    """File name of one part of the scores."""
    return f"part-{part:05d}.{ending}"


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _csv(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pa.csv.write_csv(table, sink)
    return sink.getvalue()
