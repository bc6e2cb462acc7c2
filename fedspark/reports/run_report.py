"""The report of one party about one run, from the small JSON records that its steps left behind.

A step writes one record and knows nothing about HTML. Every key is optional, unknown keys are ignored, and a value of
the wrong type is left out rather than failing the page: a report must never be the reason why a run did not finish.
Records hold this party's own names and aggregates only: no ids, no rows, nothing of a peer but what it sent on purpose.

Step record::

    {"step": "train",                      name in the pipeline
     "kind": "vertical_lr",                shown small beside the title
     "title": "Training",                  default: the step's name
     "text": "One or two sentences.",      blank lines part paragraphs
     "headline": {"AUC": 0.9934},          lifted to the top of the page
     "facts": {"rounds": 12, "time": {"value": 8.4, "unit": "seconds"}},
     "tables": [{"title": "...", "columns": ["step", {"name": "sent", "unit": "bytes"}], "rows": [["psi", 1048576]],
                 "note": "..."}],
     "charts": [...]}

A fact or headline is a plain value or ``{"value", "unit"}``; units are "bytes", "seconds", "share" (0..1, shown in
per cent) or any text to stand behind the number. Lists are joined by commas.

Chart records all take "title" and "note", and by "kind":

    roc           false_positive_rate [], true_positive_rate [], auc
    ks            score [], negative_share [], positive_share [], ks, ks_score, ks_threshold
    calibration   predicted [], observed [], error
    gain          called_share [], found_share []
    scores        edges [n+1], negatives [n], positives [n]       drawn as shares of each class
    histogram     edges [n+1], series [{name, counts [n]}], x_label, shares (bool)
    rounds        rounds [] (default 1, 2, ...), series [{name, values []}], y_label, log (bool)
    lines         series [{name, x [], y []}], x_label, y_label, log (bool)
    traffic       rows [{party, step, bytes, messages}]           rows of one party and step are added up
    coefficients  names [], values [], x_label                    sorted by size, the 40 largest
    bars          labels [], values [], unit, x_label             in the order given, the first 40

Run record::

    {"title", "project", "pipeline", "label", "run", "party", "role", "started", "finished", "seconds", "version",
     "facts": {...}}

`fedspark.reports.step_records` builds the records of the usual steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from fedspark.reports.chart_records import chart_from, mappings
from fedspark.reports.records import Column, Fact, Report, Section, Table

MOST_ROWS = 500
_RUN_FACTS = (
    ("run", "run", ""),
    ("started", "started", ""),
    ("finished", "finished", ""),
    ("seconds", "time", "seconds"),
)

Record = Mapping[str, Any]


def run_report(run: Record, steps: Iterable[object]) -> Report:
    """The report of a run record and its step records, in the order given. Never raises for what a record holds."""
    records = [step for step in steps if isinstance(step, Mapping)]
    sections = tuple(section_from(step) for step in records)
    return Report(
        title=_text(run, "title") or _join(" · ", run, "project", "pipeline") or "fedspark run",
        subtitle=_subtitle(run),
        headline=tuple(fact for step in records for fact in _facts(step.get("headline"))),
        facts=tuple(Fact(label, run[key], unit) for key, label, unit in _RUN_FACTS if run.get(key) not in (None, ""))
        + _facts(run.get("facts")),
        sections=sections,
        footer=_footer(run),
    )


def section_from(step: Record) -> Section:
    """The section of one step record."""
    charts, unknown = [], []
    for record in mappings(step.get("charts")):
        chart = chart_from(record)
        if chart is None:
            unknown.append(str(record.get("kind", "")))
        else:
            charts.append(chart)
    text = _text(step, "text")
    if unknown:
        text += f"\n\nCharts of unknown kind are left out: {', '.join(unknown)}."
    return Section(
        title=_text(step, "title") or _text(step, "step") or "step",
        kind=_text(step, "kind"),
        text=text,
        facts=_facts(step.get("facts")),
        tables=tuple(table_from(record) for record in mappings(step.get("tables"))),
        charts=tuple(charts),
    )


def table_from(record: Record) -> Table:
    """The table of one table record; rows beyond 500 are left out and counted in the note."""
    rows = [tuple(row) for row in _list(record.get("rows")) if isinstance(row, list | tuple)]
    table = Table(
        title=_text(record, "title"),
        columns=tuple(_column(column) for column in _list(record.get("columns"))),
        rows=tuple(rows[:MOST_ROWS]),
        note=_text(record, "note"),
    )
    if len(rows) <= MOST_ROWS:
        return table
    cut = f"The first {MOST_ROWS} of {len(rows)} rows."
    return replace(table, note=f"{table.note} {cut}".strip())


def _column(column: object) -> Column:
    if isinstance(column, Mapping):
        return Column(_text(column, "name"), _text(column, "unit"))
    return Column(str(column))


def _facts(values: object) -> tuple[Fact, ...]:
    if not isinstance(values, Mapping):
        return ()
    return tuple(_fact(str(label), value) for label, value in values.items())


def _fact(label: str, value: object) -> Fact:
    if isinstance(value, Mapping) and "value" in value:
        return Fact(label, value["value"], _text(value, "unit"))
    return Fact(label, value)


def _list(values: object) -> list[Any]:
    return list(values) if isinstance(values, list | tuple) else []


def _text(record: Record, key: str) -> str:
    value = record.get(key)
    return "" if value is None else str(value)


def _join(between: str, record: Record, *keys: str) -> str:
    return between.join(text for text in (_text(record, key) for key in keys) if text)


def _subtitle(run: Record) -> str:
    party, role = _text(run, "party"), _text(run, "role")
    seen_by = f"as seen by {party} ({role})" if party and role else f"as seen by {party or role}"
    where = _join(" / ", run, "project", "pipeline", "label")
    return " · ".join(text for text in (where, seen_by if party or role else "") if text)


def _footer(run: Record) -> str:
    version = _text(run, "version")
    made_by = f"Written by fedspark {version}." if version else "Written by fedspark."
    return f"{made_by} This page is complete in itself and loads nothing."
