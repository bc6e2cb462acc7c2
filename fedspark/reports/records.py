"""What a report consists of: plain values, no markup. `page.render` makes HTML of them, `charts.draw` pictures."""

from __future__ import annotations

from dataclasses import dataclass

Unit = str
"""How a number is written: "bytes", "seconds", "share" (of 1, in per cent), any other text behind the number, or ""."""


@dataclass(frozen=True)
class Fact:
    """One labelled value, for instance ``Fact("rows", 455)`` or ``Fact("time", 12.5, "seconds")``."""

    label: str
    value: object
    unit: Unit = ""


@dataclass(frozen=True)
class Column:
    """A table column. Numbers stand right, everything else left."""

    name: str
    unit: Unit = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells, one cell a column; missing cells are shown as a dash."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[object, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Line:
    """One curve: ``x`` and ``y`` of equal length, all finite."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class LineChart:
    """Curves over a common x.

    ``diagonal`` draws the line of chance, ``gap`` a dashed segment (x, y from, y to), ``unit_x`` and ``unit_y``
    fix x and y to 0..1, ``log_y`` is dropped when a value is not positive, ``whole_x`` puts ticks on integers only.
    """

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    note: str = ""
    diagonal: bool = False
    unit_x: bool = False
    unit_y: bool = False
    log_y: bool = False
    whole_x: bool = False
    gap: tuple[float, float, float] | None = None
    tall: bool = False


@dataclass(frozen=True)
class Histogram:
    """Counts between consecutive ``edges``, drawn over each other; ``shares`` divides each series by its own total."""

    title: str
    x_label: str
    edges: tuple[float, ...]
    series: tuple[tuple[str, tuple[float, ...]], ...]
    note: str = ""
    shares: bool = False


@dataclass(frozen=True)
class Bar:
    """One horizontal bar; ``text`` replaces the written value."""

    label: str
    value: float
    text: str = ""


@dataclass(frozen=True)
class BarGroup:
    """Bars under one heading and of one colour; without a heading when ``label`` is empty."""

    label: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class BarChart:
    """Horizontal bars with their values written at the end; negative ones grow to the left of zero."""

    title: str
    x_label: str
    groups: tuple[BarGroup, ...]
    unit: Unit = ""
    note: str = ""


Chart = LineChart | Histogram | BarChart


@dataclass(frozen=True)
class Section:
    """One step: a sentence or two of ``text`` (blank lines part paragraphs), then facts, charts, tables."""

    title: str
    kind: str = ""
    text: str = ""
    facts: tuple[Fact, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()


@dataclass(frozen=True)
class Report:
    """A page: ``headline`` are the few figures that people look for, ``facts`` say which run this was."""

    title: str
    subtitle: str = ""
    headline: tuple[Fact, ...] = ()
    facts: tuple[Fact, ...] = ()
    sections: tuple[Section, ...] = ()
    footer: str = ""
