"""One self-contained HTML page: no script, no font, no picture and no address outside of it.

A content-security policy in the page forbids the browser to load anything, so that a report can be opened inside a bank
and mailed between departments. Equal records give equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from numbers import Integral, Real

from fedspark.reports.charts import COLOURS, draw, escape
from fedspark.reports.formats import decimals_for, is_number, written
from fedspark.reports.records import Chart, Column, Fact, Report, Section, Table

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def render(report: Report) -> str:
    """The whole page as text; write it as UTF-8."""
    sections = "".join(_section(section, number) for number, section in enumerate(report.sections, start=1))
    footer = f"<footer>{escape(report.footer)}</footer>" if report.footer else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(report.title)}</title>\n<style>\n{_style()}</style>\n</head>\n<body>\n<main>\n"
        f"{_header(report)}{sections}{footer}\n</main>\n</body>\n</html>\n"
    )


@cache
def _style() -> str:
    return files(__package__).joinpath("style.css").read_text(encoding="utf-8")


def _header(report: Report) -> str:
    subtitle = f'<p class="subtitle">{escape(report.subtitle)}</p>' if report.subtitle else ""
    contents = ""
    if len(report.sections) > 1:
        links = (f'<a href="#step-{n}">{escape(s.title)}</a>' for n, s in enumerate(report.sections, start=1))
        contents = f"<p>{' · '.join(links)}</p>"
    return (
        f"<header>\n<h1>{escape(report.title)}</h1>\n{subtitle}{_facts(report.headline, 'tiles')}"
        f"{_facts(report.facts, 'facts')}{contents}</header>\n"
    )


def _section(section: Section, number: int) -> str:
    kind = f'<span class="kind">{escape(section.kind)}</span>' if section.kind else ""
    charts = "".join(_figure(chart) for chart in section.charts)
    return (
        f'<section id="step-{number}">\n<h2>{escape(section.title)}{kind}</h2>\n{_paragraphs(section.text)}'
        f"{_facts(section.facts, 'facts')}"
        + (f'<div class="charts">\n{charts}</div>\n' if charts else "")
        + "".join(_table(table) for table in section.tables)
        + "</section>\n"
    )


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{escape(part.strip())}</p>\n" for part in text.split("\n\n") if part.strip())


def _facts(facts: Sequence[Fact], kind: str) -> str:
    if not facts:
        return ""
    rows = (f"<div><dt>{escape(f.label)}</dt><dd>{escape(written(f.value, f.unit))}</dd></div>\n" for f in facts)
    return f'<dl class="{kind}">\n{"".join(rows)}</dl>\n'


def _figure(chart: Chart) -> str:
    figure = draw(chart)
    note = f'<span class="note">{escape(chart.note)}</span>' if chart.note else ""
    entries = "".join(f'<li><i class="c{n % COLOURS}"></i>{escape(name)}</li>' for n, name in enumerate(figure.legend))
    swatch = "fills" if figure.filled else "strokes"
    legend = f'<ul class="legend {swatch}">{entries}</ul>' if entries else ""
    wide = ' class="wide"' if figure.wide else ""
    return f"<figure{wide}><figcaption><b>{escape(chart.title)}</b>{note}{legend}</figcaption>{figure.svg}</figure>\n"


def _table(table: Table) -> str:
    width = len(table.columns)
    rows = [(*row[:width], *[None] * (width - len(row))) for row in table.rows]
    columns = [_cells(column, [row[i] for row in rows]) for i, column in enumerate(table.columns)]
    head = "".join(
        f"<th{_side(right)}>{escape(c.name)}</th>" for c, (right, _) in zip(table.columns, columns, strict=True)
    )
    body = "".join(
        "<tr>" + "".join(f"<td{_side(right)}>{escape(cells[i])}</td>" for right, cells in columns) + "</tr>\n"
        for i in range(len(rows))
    )
    caption = f"<caption>{escape(table.title)}</caption>" if table.title else ""
    note = f'<span class="note">{escape(table.note)}</span>' if table.note else ""
    return (
        f'<div class="table"><table>{caption}\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table>'
        f"{note}</div>\n"
    )


def _cells(column: Column, values: Sequence[object]) -> tuple[bool, list[str]]:
    """Whether the column is numeric, and its cells as text: reals of one column share their decimals."""
    present = [value for value in values if value is not None and value != ""]
    numeric = bool(present) and all(is_number(value) or value != value for value in present)
    decimals = decimals_for(_reals(present)) if numeric else -1
    return numeric, [written(value, column.unit, decimals) for value in values]


def _reals(values: Iterable[object]) -> list[float]:
    return [float(value) for value in values if isinstance(value, Real) and not isinstance(value, Integral)]


def _side(right: bool) -> str:
    return ' class="n"' if right else ""
