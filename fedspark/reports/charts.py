"""Charts as inline SVG, drawn by hand: axes and curves are a few dozen lines, a chart library is a megabyte a page.

Colours, fonts and strokes come from the page's style sheet by class, so a chart follows light, dark and print. The
names of curves are a legend outside of the picture, where text can wrap.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape as html_escape

from fedspark.reports.formats import Axis, byte_unit, decimals_for, linear_axis, log_axis, written
from fedspark.reports.records import BarChart, BarGroup, Chart, Histogram, Line, LineChart

COLOURS = 4
HALF, FULL = 424, 868
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 26, 42
_CHARACTER = 7.2
"""Width of an average character at 12 px, in px: for margins, never for text that must not touch something."""

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def escape(text: object) -> str:
    """Text that is safe as HTML and XML content and attribute value; characters that XML forbids become U+FFFD."""
    return html_escape(_UNPRINTABLE.sub("�", str(text)), quote=True)


@dataclass(frozen=True)
class Figure:
    """SVG, the names of its colours (none when there is only one), and whether it takes the full width of the page."""

    svg: str
    legend: tuple[str, ...] = ()
    wide: bool = False
    filled: bool = False


def draw(chart: Chart) -> Figure:
    """The picture of a chart; one without data says so in the same frame."""
    match chart:
        case LineChart():
            return _draw_lines(chart)
        case Histogram():
            return _draw_histogram(chart)
        case BarChart():
            return _draw_bars(chart)


@dataclass(frozen=True)
class _Plot:
    """The area between two axes, in px of the picture."""

    width: int
    height: int
    x: Axis
    y: Axis

    @property
    def right(self) -> int:
        return self.width - _RIGHT

    @property
    def bottom(self) -> int:
        return self.height - _BOTTOM

    def at(self, x: float, y: float) -> str:
        return f"{self.px(x):.1f},{self.py(y):.1f}"

    def px(self, x: float) -> float:
        return _LEFT + self.x.share(x) * (self.right - _LEFT)

    def py(self, y: float) -> float:
        return self.bottom - self.y.share(y) * (self.bottom - _TOP)

    def frame(self, x_label: str, y_label: str) -> str:
        """Grid, ticks, labels: everything but the data."""
        parts = [_text(0, 12, y_label, "name"), _text(self.right, self.height - 4, x_label, "name end")]
        for tick, label in zip(self.y.ticks, self.y.labels, strict=True):
            y = self.py(tick)
            parts.append(_rule(_LEFT, y, self.right, y, "grid"))
            parts.append(_text(_LEFT - 7, y + 4, label, "tick end"))
        for tick, label in zip(self.x.ticks, self.x.labels, strict=True):
            x = self.px(tick)
            parts.append(_rule(x, self.bottom, x, self.bottom + 4, "axis"))
            parts.append(_text(x, self.bottom + 17, label, "tick middle"))
        parts.append(_rule(_LEFT, self.bottom, self.right, self.bottom, "axis"))
        return "".join(parts)


def _draw_lines(chart: LineChart) -> Figure:
    height = 356 if chart.tall else 288
    lines = [line for line in chart.lines if line.x]
    if not lines:
        return Figure(_nothing(chart.title, HALF, height))
    xs = [x for line in lines for x in line.x]
    ys = [y for line in lines for y in line.y]
    plot = _Plot(
        HALF,
        height,
        linear_axis(0.0, 1.0)
        if chart.unit_x
        else linear_axis(min(xs), max(xs), wanted=6, loose=False, whole=chart.whole_x),
        _value_axis(chart, ys),
    )
    parts = [plot.frame(chart.x_label, chart.y_label)]
    if chart.diagonal:
        parts.append(_rule(_LEFT, plot.bottom, plot.right, _TOP, "chance"))
    if chart.gap is not None:
        x, low, high = chart.gap
        parts.append(_rule(plot.px(x), plot.py(low), plot.px(x), plot.py(high), "gap"))
    parts += [_curve(plot, line, colour) for colour, line in enumerate(lines)]
    return Figure(_svg(chart.title, HALF, height, parts), _legend([line.name for line in lines]))


def _value_axis(chart: LineChart, ys: Sequence[float]) -> Axis:
    if chart.unit_y:
        return linear_axis(0.0, 1.0)
    if chart.log_y and min(ys) > 0:
        return log_axis(min(ys), max(ys))
    return linear_axis(min(ys), max(ys))


def _curve(plot: _Plot, line: Line, colour: int) -> str:
    points = [plot.at(x, y) for x, y in zip(line.x, line.y, strict=True)]
    path = f'<polyline class="line {_colour(colour)}" points="{" ".join(points)}"/>'
    if len(points) > 40:
        return path
    dots = (
        f'<circle class="dot {_colour(colour)}" cx="{plot.px(x):.1f}" cy="{plot.py(y):.1f}" r="2.6">'
        f"{_tip(f'{line.name}: {written(x)}, {written(y)}')}</circle>"
        for x, y in zip(line.x, line.y, strict=True)
    )
    return path + "".join(dots)


def _draw_histogram(chart: Histogram) -> Figure:
    height = 250
    series = [(name, counts) for name, counts in chart.series if sum(counts) > 0]
    if not series or len(chart.edges) < 2:
        return Figure(_nothing(chart.title, FULL, height), wide=True)
    heights = [[100 * c / sum(counts) if chart.shares else c for c in counts] for _, counts in series]
    plot = _Plot(
        FULL,
        height,
        linear_axis(chart.edges[0], chart.edges[-1], wanted=12, loose=False),
        linear_axis(0.0, max(max(column) for column in heights)),
    )
    parts = [plot.frame(chart.x_label, "% of the class" if chart.shares else "rows")]
    for colour, column in enumerate(heights):
        parts.append(f'<path class="area {_colour(colour)}" d="{_steps(plot, chart.edges, column)}"/>')
    parts += _tip_columns(plot, chart, series)
    return Figure(_svg(chart.title, FULL, height, parts), _legend([name for name, _ in series]), wide=True, filled=True)


def _steps(plot: _Plot, edges: Sequence[float], column: Sequence[float]) -> str:
    """Outline of the bars; empty bins interrupt it, so that no line runs along the axis."""
    path, before, end = "", 0.0, 0.0
    for low, high, value in zip(edges, edges[1:], column, strict=False):
        if value and not before:
            path += f"M{plot.at(low, 0.0)}"
        if value:
            path += f"L{plot.at(low, value)}L{plot.at(high, value)}"
        elif before:
            path += f"L{plot.at(low, 0.0)}"
        before, end = value, high
    return path + (f"L{plot.at(end, 0.0)}" if before else "")


def _tip_columns(plot: _Plot, chart: Histogram, series: Sequence[tuple[str, tuple[float, ...]]]) -> Iterable[str]:
    """Invisible columns that show the counts of a bin when the pointer rests on it."""
    for i, (low, high) in enumerate(zip(chart.edges, chart.edges[1:], strict=False)):
        counts = ", ".join(f"{name} {written(values[i])}" for name, values in series if i < len(values))
        left, right = plot.px(low), plot.px(high)
        yield (
            f'<rect class="sense" x="{left:.1f}" y="{_TOP}" width="{right - left:.1f}" height="{plot.bottom - _TOP}">'
            f"{_tip(f'{written(low)} to {written(high)}: {counts}')}</rect>"
        )


_ROW, _HEADING = 20, 26


def _draw_bars(chart: BarChart) -> Figure:
    groups = [group for group in chart.groups if group.bars]
    values = [bar.value for group in groups for bar in group.bars]
    if not values:
        return Figure(_nothing(chart.title, FULL, 96), wide=True)
    decimals = 0 if all(value.is_integer() for value in values) else decimals_for(values)
    texts = [[bar.text or written(bar.value, chart.unit, decimals) for bar in group.bars] for group in groups]
    unit, size = byte_unit(max(values)) if chart.unit == "bytes" else (chart.unit, 1.0)
    low, high = min(0.0, *values), max(0.0, *values)
    axis = linear_axis(low / size, high / size, wanted=6, loose=False) if high > low else linear_axis(0.0, 1.0)
    room = max(len(text) for column in texts for text in column) * _CHARACTER + 10
    left = min(260.0, max(len(bar.label) for group in groups for bar in group.bars) * _CHARACTER + 16)
    lane = _Lane(left + (room if low < 0 else 0), FULL - (room if high > 0 else _RIGHT), axis, size)
    y, parts = 6.0, []
    for colour, (group, column) in enumerate(zip(groups, texts, strict=True)):
        y, drawn = _draw_group(group, column, colour, lane, y, left)
        parts.append(drawn)
    label = f"{chart.x_label} ({unit})" if chart.x_label and unit else chart.x_label or unit
    parts.append(lane.ticks(y, label))
    return Figure(_svg(chart.title, FULL, round(y + 42), parts), wide=True)


@dataclass(frozen=True)
class _Lane:
    """Where bars lie, in px from the left; ``size`` is the value of one unit of the axis."""

    left: float
    right: float
    axis: Axis
    size: float

    def px(self, value: float) -> float:
        return self.left + self.axis.share(value / self.size) * (self.right - self.left)

    def grid(self, top: float, bottom: float) -> str:
        at = ((self.px(tick * self.size), "grid" if tick else "axis") for tick in self.axis.ticks)
        return "".join(_rule(x, top, x, bottom, kind) for x, kind in at)

    def ticks(self, bottom: float, label: str) -> str:
        named = zip(self.axis.ticks, self.axis.labels, strict=True)
        texts = (_text(self.px(tick * self.size), bottom + 16, text, "tick middle") for tick, text in named)
        return "".join(texts) + _text(self.right, bottom + 34, label, "name end")


def _draw_group(
    group: BarGroup, texts: Sequence[str], colour: int, lane: _Lane, y: float, left: float
) -> tuple[float, str]:
    parts = []
    if group.label:
        parts.append(_text(0, y + 17, group.label, "group"))
        y += _HEADING
    parts.append(lane.grid(y, y + _ROW * len(group.bars)))
    for bar, text in zip(group.bars, texts, strict=True):
        zero, end = lane.px(0.0), lane.px(bar.value)
        start, width = min(zero, end), abs(end - zero)
        if bar.value and width < 1.5:
            width, start = 1.5, start if bar.value > 0 else zero - 1.5
        kind = _colour(colour if bar.value >= 0 or group.label else colour + 1)
        parts.append(_text(left - 10, y + 14, _shortened(bar.label, left), "tick end", tip=bar.label))
        parts.append(
            f'<rect class="bar {kind}" x="{start:.1f}" y="{y + 3:.1f}" width="{width:.1f}" height="{_ROW - 6}">'
            f"{_tip(f'{bar.label}: {text}')}</rect>"
        )
        outside, side = (end + 6, "value") if bar.value >= 0 else (end - 6, "value end")
        parts.append(_text(outside, y + 14, text, side))
        y += _ROW
    return y + (8 if group.label else 0), "".join(parts)


def _shortened(label: str, room: float) -> str:
    fits = int((room - 10) / _CHARACTER)
    return label if len(label) <= fits else label[: fits - 1] + "…"


def _legend(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(names) if len(names) > 1 else ()


def _colour(index: int) -> str:
    return f"c{index % COLOURS}"


def _nothing(title: str, width: int, height: int) -> str:
    frame = f'<rect class="void" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}"/>'
    return _svg(title, width, height, [frame, _text(width / 2, height / 2 + 4, "no data", "name middle")])


def _svg(title: str, width: int, height: int, parts: Iterable[str]) -> str:
    body = "".join(parts)
    return f'<svg role="img" aria-label="{escape(title)}" viewBox="0 0 {width} {height}" width="{width}">{body}</svg>'


def _text(x: float, y: float, text: str, kind: str, *, tip: str = "") -> str:
    hidden = _tip(tip) if tip and tip != text else ""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{hidden}{escape(text)}</text>'


def _rule(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _tip(text: str) -> str:
    return f"<title>{escape(text)}</title>"
