"""Load: take a snapshot of this party's source tables. Every later step reads the snapshot, never the source."""

from __future__ import annotations

import functools
import os
from typing import Any

from fedspark.conf import AnyTable, LoadOptions, TrainOptions
from fedspark.errors import TableError
from fedspark.party import Role
from fedspark.psi.align import Source
from fedspark.run import Run
from fedspark.tables.card import ColumnCard, TableCard
from fedspark.tables.chunks import Chunks
from fedspark.tables.problems import for_example, listed
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
    refused: list[TableError] = []
    for table in options.tables:
        try:
            record = run.once(f"{table}.staged", functools.partial(stage_table, run, table))
        except TableError as error:
            refused.append(error)
            continue
        cards.append(TableCard.from_json(record["card"]))
        run.progress.say(_summary(cards[-1], run.party_conf.table(table)))
    if len(refused) > 1:
        raise TableError("\n".join(map(str, refused)))
    if refused:
        raise refused[0]
    run.write_record(_record(options.name, cards))


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


def _summary(card: TableCard, conf: AnyTable) -> str:
    """``patients: 450 rows, 3 features``, and which columns nobody spoke of are no numbers and so no features."""
    found = len(card.features)
    text = f"{card.name}: {card.rows:,} rows, {found} feature{'' if found == 1 else 's'}"
    if card.skipped:
        text += f"; {card.skipped:,} malformed lines left out{for_example(card.skipped_lines)}"
    if conf.features is not None:
        return text
    left = [column for column in card.columns if column.role == "ignored" and column.name not in conf.ignore]
    return f"{text}; left out: {listed(f'{column.name} ({column.type})' for column in left)}" if left else text


def _type(column: ColumnCard) -> str:
    """A column's type for people; a feature that the source holds as text was read as a number."""
    return "number (from text)" if column.role == "feature" and column.type in ("text", "string") else column.type


def _record(step: str, cards: list[TableCard]) -> dict[str, Any]:
    return {
        "step": step,
        "kind": "load",
        "title": "Tables",
        "text": "Snapshots of this party's own tables. All later steps read these, never the source.",
        "tables": [
            {
                "title": card.name,
                "columns": ["column", "type", "role"],
                "rows": [[column.name, _type(column), column.role] for column in card.columns],
                "note": _note(card),
            }
            for card in cards
        ],
    }


def _note(card: TableCard) -> str:
    words = [f"{card.rows:,} rows"]
    if card.shapes is not None and card.rows:
        words.append(f"ids look like {IdShapes.from_json(card.shapes).describe()}")
    if card.dropped:
        words.append(f"{card.dropped:,} rows of repeated ids left out")
    if card.skipped:
        words.append(f"{card.skipped:,} malformed lines left out{for_example(card.skipped_lines)}")
    if card.label_counts is not None:
        words.append(f"label 1 in {card.label_counts['1']:,} rows")
    if card.constant:
        words.append(f"constant here: {', '.join(card.constant)}")
    return "; ".join([*words, *card.notes])
