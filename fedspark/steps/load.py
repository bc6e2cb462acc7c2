"""Load: take a snapshot of this party's source tables. Every later step reads the snapshot, never the source."""

from __future__ import annotations

import functools
import json
import os
from typing import Any

from fedspark.conf import LoadOptions, TrainOptions
from fedspark.errors import TableError
from fedspark.party import Role
from fedspark.psi.align import Source
from fedspark.run import Run
from fedspark.steps.load_record import record_of, told
from fedspark.tables.card import TableCard
from fedspark.tables.chunks import Chunks
from fedspark.tables.shapes import IdShapes
from fedspark.tables.staging import stage


def run_step(run: Run, options: LoadOptions) -> None:
    """Stage every table of ``options``; an arbiter has none.

    A table that does not pass leaves nothing. All tables are looked at before the step ends with one TableError about
    those that do not pass; the others stay staged for the next attempt.
    """
    if run.role is Role.ARBITER:
        return
    cards: list[TableCard] = []
    compared: list[dict[str, Any] | None] = []
    refused: list[TableError] = []
    for table in options.tables:
        try:
            record = run.once(f"{table}.staged", functools.partial(_snapshot, run, table))
        except TableError as error:
            refused.append(error)
            continue
        cards.append(TableCard.from_json(record["card"]))
        for line in told(cards[-1], run.party_conf.table(table), record.get("earlier")):
            run.progress.say(line)
        compared.append(record.get("earlier"))
    if len(refused) > 1:
        raise TableError("\n".join(map(str, refused)))
    if refused:
        raise refused[0]
    run.write_record(record_of(options.name, cards, compared))


def _snapshot(run: Run, table: str) -> dict[str, Any]:
    """The record of a table staged now, with what the run before this one has read of it, if there was one."""
    record = stage_table(run, table)
    card, store = record["card"], run.workspace.store
    folder, _, _ = run.workspace.prefix.rpartition("/")
    name = f"{folder.replace('runs/', 'last-read/', 1)}/{table}.json"
    earlier = json.loads(store.read(name)) if store.size(name) is not None else None
    kept = {key: card[key] for key in ("rows", "checksum", "origin", "seconds")}
    store.replace(name, json.dumps({"run": run.label, **kept}).encode())
    return {**record, "earlier": None if earlier is None or earlier["run"] == run.label else earlier}


def staged_source(run: Run, table: str) -> tuple[TableCard, Source]:
    """The card and the rows of a table that an earlier load step of this run has staged."""
    step = next(s for s in run.pipeline.steps if isinstance(s, LoadOptions) and table in s.tables)
    return source_of(run, table, run.workspace.read_json(run.at(step.name).path(f"{table}.staged.json")))


def source_of(run: Run, table: str, record: dict[str, Any]) -> tuple[TableCard, Source]:
    """The card and the rows of a table that ``stage_table`` has staged."""
    card = TableCard.from_json(record["card"])
    chunks = Chunks.from_json(run.workspace.ref, record["chunks"])
    shapes = None if card.shapes is None else IdShapes.from_json(card.shapes)
    return card, Source(table, card.rows, len(card.features), card.checksum, chunks, shapes)


def stage_table(run: Run, table: str) -> dict[str, Any]:
    """Take the snapshot of one table into the run's folder; what ``source_of`` asks for, JSON-able."""
    sample = next((s.sample for s in run.pipeline.steps if isinstance(s, LoadOptions) and table in s.tables), None)
    trained = any(isinstance(step, TrainOptions) and step.table == table for step in run.pipeline.steps)
    # Every attempt writes to its own folder; the record that is stored once says which one counts.
    card, chunks = stage(
        run.spark,
        table,
        run.party_conf.table(table),
        run.party_conf.directory,
        id_type=run.pipeline.ids.type,
        ref=run.workspace.ref,
        folder=run.workspace.name(f"tables/{table}/{os.urandom(6).hex()}"),
        needs_label=trained and run.role is Role.GUEST,
        needs_features=True,
        training=trained,
        sample=sample,
    )
    return {"card": card.to_json(), "chunks": chunks.to_json()}
