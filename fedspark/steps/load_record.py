"""What the load step tells people: the cards of its tables on the console and in the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedspark.conf import AnyTable
from fedspark.reports.formats import bytes_text, seconds_text
from fedspark.tables.card import TableCard
from fedspark.tables.problems import for_example, listed
from fedspark.tables.shapes import IdShapes

_ON_CONSOLE = 12
_TITLES = ("column", "type", "role", "read as", "missing")

Earlier = Mapping[str, Any]


def told(card: TableCard, conf: AnyTable, earlier: Earlier | None = None) -> list[str]:
    """The card in lines for the console: ``patients: 450 rows, 3 features, ...``, then a line per column."""
    found = len(card.features)
    words = [f"{card.name}: {card.rows:,} rows", f"{found} feature{'' if found == 1 else 's'}"]
    words.append(f"{bytes_text(card.bytes)} in {seconds_text(card.seconds)}")
    lines = [", ".join(words) + "".join(f"; {note}" for note in _left_out(card, conf))]
    if earlier is not None:
        lines.append(compared(card, earlier))
    used = [column for column in card.columns if column.role != "ignored"]
    cells = [_TITLES, *(_cells(column) for column in used[:_ON_CONSOLE])]
    widths = [max(len(row[place]) for row in cells) for place in range(len(_TITLES))]
    lines += ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
    if len(used) > _ON_CONSOLE:
        lines.append(f"  and {len(used) - _ON_CONSOLE:,} more columns; the report has them all")
    return lines


def _cells(column: Any) -> tuple[str, ...]:
    missing = "" if column.null_share is None else f"{column.null_share:.1%}".replace("%", " %")
    return column.name, column.type, column.role, column.read_as or "", missing


def _left_out(card: TableCard, conf: AnyTable) -> list[str]:
    """Lines and columns that were left out, and nobody spoke of them."""
    notes = []
    if card.skipped:
        notes.append(_skipped(card))
    if card.unread:
        notes.append(_unread(card))
    if conf.features is None:
        left = [column for column in card.columns if column.role == "ignored" and column.name not in conf.ignore]
        if left:
            notes.append(f"left out: {listed(f'{column.name} ({column.type})' for column in left)}")
    return notes


def compared(card: TableCard, earlier: Earlier) -> str:
    """Whether these are the rows that an earlier run has read."""
    then = f"run {earlier['run']}"
    if (earlier["checksum"], earlier["rows"]) == (card.checksum, card.rows):
        return f"the same rows and values as in {then}"
    changed = [key for key in card.origin if earlier["origin"].get(key) != card.origin[key] and key != "fingerprint"]
    why = f"; other at the source: {', '.join(changed)}" if changed else ""
    return f"not the rows and values of {then}: {earlier['rows']:,} rows then, {card.rows:,} now{why}"


def record_of(step: str, cards: Sequence[TableCard], earlier: Sequence[Earlier | None] = ()) -> dict[str, Any]:
    """The step's record for the report."""
    before = [*earlier, *[None] * len(cards)]
    tables: list[dict[str, Any]] = []
    for card, then in zip(cards, before, strict=False):
        tables += [_columns(card), _snapshot(card, then)]
    return {
        "step": step,
        "kind": "load",
        "title": "Tables",
        "text": "Snapshots of this party's own tables. All later steps read these, never the source.",
        "tables": tables,
    }


def _columns(card: TableCard) -> dict[str, Any]:
    return {
        "title": card.name,
        "columns": [*_TITLES[:-1], {"name": _TITLES[-1], "unit": "share"}],
        "rows": [[column.name, column.type, column.role, column.read_as, column.null_share] for column in card.columns],
        "note": _note(card),
    }


def _snapshot(card: TableCard, earlier: Earlier | None) -> dict[str, Any]:
    rows: list[list[str]] = [["rows", f"{card.rows:,}"]]
    if card.distinct_share is not None:
        rows.append(["different keys", f"about {card.distinct_share:.1%} of the rows".replace("%", " %")])
    if card.period is not None:
        rows.append(["period", f"{card.period[0]} to {card.period[1]} (UTC)"])
    rows += [["staged", f"{bytes_text(card.bytes)} in {seconds_text(card.seconds)}"], ["content", card.checksum]]
    if card.sample is not None:
        rows.append(["sample", f"{card.sample:g} of all ids, by their hash"])
    for name, value in card.origin.items():
        rows.append([f"source: {name}", _written(name, value)])
    if earlier is not None:
        rows.append(["compared", compared(card, earlier)])
    return {
        "title": f"{card.name}: snapshot",
        "columns": ["", "value"],
        "rows": rows,
        "note": "The same content means the same rows and values, in any order.",
    }


def _written(name: str, value: str | int) -> str:
    if name == "size":
        return bytes_text(float(value))
    return f"{value:,}" if isinstance(value, int) else value


def _note(card: TableCard) -> str:
    words = []
    if card.shapes is not None and card.rows:
        words.append(f"ids look like {IdShapes.from_json(card.shapes).describe()}")
    if card.dropped:
        words.append(f"{card.dropped:,} rows of repeated ids left out")
    if card.skipped:
        words.append(_skipped(card))
    if card.unread:
        words.append(_unread(card))
    if card.label_counts is not None:
        words.append(f"label 1 in {card.label_counts['1']:,} rows")
    if card.constant:
        words.append(f"constant here: {', '.join(card.constant)}")
    return "; ".join([*words, *card.notes])


def _skipped(card: TableCard) -> str:
    lines = "malformed line" if card.skipped == 1 else "malformed lines"
    return f"{card.skipped:,} {lines} left out{for_example(card.skipped_lines)}"


def _unread(card: TableCard) -> str:
    lines = "line with a value" if card.unread == 1 else "lines with values"
    return f"{card.unread:,} {lines} of no fitting type left out: {'; '.join(card.unread_values)}"
