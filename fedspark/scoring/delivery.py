"""Scores into the guest's own tables: the part files that `output` left, written again to every sink of the step.

A task reads one score part file and writes its rows to a sink; the driver handles numbers of rows alone. What a sink
has finished is noted in the workspace, so that whatever kills a process, another one goes on with what is not noted,
and a sink sees no row twice (`fedspark.tables.sinks`).
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fedspark.conf.tables import SinkConf
from fedspark.conf.tables.sinks import RUN
from fedspark.errors import ConfigError, StoreError
from fedspark.run import Run, Workspace
from fedspark.scoring.output import SCORE, ScoreFiles, part_name, shown_name
from fedspark.tables.sinks import NEED_SPARK, Scratch, Sink, short

_WRAPPER = re.compile(r"(?:lowcardinality|nullable)\((.*)\)")
_INTEGER = re.compile(
    r"(?:tiny|small|medium|big)?int(?:eger)?(?:\(\d+\))?(?: unsigned)?(?: zerofill)?|u?int(?:8|16|32)|int64"
)
_WHOLE = re.compile(r"decimal\((\d+), ?0\)")
_DIGITS = 18


@dataclass(frozen=True)
class Delivery:
    """What a sink got: ``place`` for people, rows, and the seconds of the process that finished it."""

    place: str
    rows: int
    seconds: float


@dataclass(frozen=True)
class Delivering:
    """Context of `deliver_part`: columns of the part files in the order of ``schema``, which renames them."""

    sink: Sink
    workspace: Workspace
    folder: str
    columns: tuple[str, ...]
    schema: pa.Schema


def deliver(run: Run, files: ScoreFiles, ids: Mapping[str, str]) -> list[Delivery]:
    """Write the scores to all sinks of the run's current step that have not got them.

    ``ids`` maps the id columns of the scored table to their types in the source's words. A sink that fails does not
    keep the others waiting; then StoreError or ConfigError, and the next attempt goes on with those that failed.
    """
    delivered, failed = [], []
    for conf in run.party_conf.scores.get(run.step_name, []):
        try:
            delivered.append(_deliver(run, conf, files, ids))
        except (StoreError, ConfigError) as error:
            failed.append(error)
    if len(failed) > 1:
        raise StoreError("\n".join(map(str, failed)))
    if failed:
        raise failed[0]
    return delivered


def check_sinks(run: Run, ids: Sequence[str]) -> None:
    """Raise what would keep the sinks of the run's current step from taking its scores, as far as it shows now."""
    for conf in run.party_conf.scores.get(run.step_name, []):
        if not run.workspace.exists(_finished(run, conf)):
            _sink(run, conf, dict.fromkeys(ids, "")).check()


def sink_schema(conf: SinkConf, ids: Mapping[str, str]) -> pa.Schema:
    """The columns of a sink: ids (int64 where the source holds integers of at most 64 bits with a sign, else text),
    score, probability; these two null for people whom not all hosts have.
    """
    taken = {RUN} if conf.if_exists == "append" else set()
    fields = []
    for name, words in ids.items():
        shown = shown_name(name)
        fields.append(pa.field(f"id.{shown}" if shown in taken else shown, id_type(words), nullable=False))
    return pa.schema([*fields, *(pa.field(name, pa.float64()) for name in SCORE)])


def id_type(words: str) -> pa.DataType:
    """int64 for a type of a source, in its own words, all of whose values are such integers; else string."""
    text = words.lower()
    while match := _WRAPPER.fullmatch(text):
        text = match[1]
    whole = _WHOLE.fullmatch(text)
    small = whole is not None and int(whole[1]) <= _DIGITS
    unsigned = text.startswith("bigint") and "unsigned" in text
    return pa.int64() if small or (_INTEGER.fullmatch(text) and not unsigned) else pa.string()


def deliver_part(context: Delivering, part: int) -> int:
    """Write the rows of one score part file to the sink; their number."""
    data = context.workspace.read(f"{context.folder}/{part_name(part, 'parquet')}")
    table = pq.read_table(io.BytesIO(data), columns=list(context.columns))
    pairs = zip(context.columns, context.schema, strict=True)
    columns = [typed(table[name], field, context.sink.place) for name, field in pairs]
    return context.sink.write_part(pa.Table.from_arrays(columns, schema=context.schema), part)


def typed(column: pa.ChunkedArray, field: pa.Field, place: str) -> pa.ChunkedArray:
    """A column of a part file as the sink at ``place`` gets it; StoreError where an id is not of its column's type."""
    if field.type != pa.int64():
        return column.cast(field.type)
    plain = pc.replace_substring_regex(pc.utf8_trim_whitespace(column), r"^\+", "")
    try:
        return plain.cast(pa.int64())
    except pa.ArrowInvalid:  # which shows the value
        raise StoreError(
            f"{place}: ids of column {field.name!r} are no integers of 64 bits.",
            remedy="Declare the column as text where the table is described in the party file, in a new run.",
        ) from None


def _deliver(run: Run, conf: SinkConf, files: ScoreFiles, ids: Mapping[str, str]) -> Delivery:
    sink, schema, begun = _sink(run, conf, ids), sink_schema(conf, ids), False
    context = Delivering(sink, run.workspace, files.folder, (*map(shown_name, ids), *SCORE), schema)

    def write() -> dict[str, Any]:
        nonlocal begun
        begun, began = True, run.progress.now()
        if conf.kind in NEED_SPARK:
            _ = run.spark
        sink.begin()
        rows = run.parts(f"write to {sink.place}", deliver_part, files.parts, context, rows=files.rows)
        sink.finish(rows)
        return {"rows": sum(rows), "seconds": round(run.progress.now() - began, 3)}

    finished = _finished(run, conf)
    try:
        told = run.once(_note(conf, "finished"), write)
    except StoreError:
        # Another process of this party may have finished meanwhile, and cleared what this one was busy with.
        if not run.workspace.exists(finished):
            raise
        told = run.workspace.read_json(finished)
    cleared = run.path(f"{_note(conf, 'cleared')}.json")
    if begun or not run.workspace.exists(cleared):
        sink.clear()
        run.workspace.create(cleared, b"{}")
    run.progress.say(f"{told['rows']:,} scores in {sink.place}")
    return Delivery(sink.place, told["rows"], told["seconds"])


def _sink(run: Run, conf: SinkConf, ids: Mapping[str, str]) -> Sink:
    schema = sink_schema(conf, ids)
    scratch = Scratch(run.workspace.ref, run.workspace.name(run.path(_note(conf, "parts"))))
    return Sink.of(conf, run.party_conf.directory, schema, f"{run.id}/{run.step_name}", run.label, scratch)


def _note(conf: SinkConf, what: str) -> str:
    return f"sinks/{short(conf.place)}/{what}"


def _finished(run: Run, conf: SinkConf) -> str:
    return run.path(f"{_note(conf, 'finished')}.json")
