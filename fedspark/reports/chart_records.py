"""From the small JSON records that steps leave to charts: each kind of chart record, and what it becomes.

Records are read liberally: a missing key means no data, values that are not finite numbers are dropped with their
partner, and lists of unequal length are cut to the shorter. The keys are listed in `fedspark.reports.run_report`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from fedspark.reports.formats import bytes_text, number, written
from fedspark.reports.records import Bar, BarChart, BarGroup, Chart, Histogram, Line, LineChart

MOST_BARS = 40
SCORE = "score (log-odds)"

Record = Mapping[str, Any]


def chart_from(record: Record) -> Chart | None:
    """The chart of one record; None when its kind is unknown."""
    reader = _READERS.get(str(record.get("kind", "")).lower())
    return reader(record) if reader else None


def numbers(values: object) -> list[float | None]:
    """A list of floats from whatever is given; None where a value is not a finite number."""
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        return []
    return [_number(value) for value in values]


def _number(value: object) -> float | None:
    try:
        result = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def texts(values: object) -> list[str]:
    """A list of strings from whatever is given."""
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        return []
    return [str(value) for value in values]


def mappings(values: object) -> list[Record]:
    """The mappings among a list of whatever is given."""
    return [value for value in values if isinstance(value, Mapping)] if isinstance(values, Sequence) else []


def _line(name: str, xs: object, ys: object) -> Line:
    pairs = [(x, y) for x, y in zip(numbers(xs), numbers(ys), strict=False) if x is not None and y is not None]
    return Line(name, tuple(x for x, _ in pairs), tuple(y for _, y in pairs))


def _title(record: Record, otherwise: str) -> str:
    return str(record.get("title") or otherwise)


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _roc(record: Record) -> Chart:
    area = _number(record.get("auc"))
    return LineChart(
        title=_title(record, "ROC curve"),
        x_label="false positive rate",
        y_label="true positive rate",
        lines=(_line("ROC", record.get("false_positive_rate"), record.get("true_positive_rate")),),
        note=_joined("" if area is None else f"area under the curve {number(area, 4)}", str(record.get("note", ""))),
        diagonal=True,
        unit_y=True,
        tall=True,
    )


def _ks(record: Record) -> Chart:
    scores = record.get("score")
    negatives = _line("negatives", scores, record.get("negative_share"))
    positives = _line("positives", scores, record.get("positive_share"))
    distance, at = _number(record.get("ks")), _number(record.get("ks_score"))
    threshold = _number(record.get("ks_threshold"))
    where = "" if at is None else f" at score {number(at, 2)}"
    where += "" if threshold is None else f" (probability {number(threshold, 3)})"
    return LineChart(
        title=_title(record, "Kolmogorov-Smirnov"),
        x_label=SCORE,
        y_label="share of the class with a lower score",
        lines=(negatives, positives),
        note=_joined(
            "" if distance is None else f"largest gap {number(distance, 4)}{where}", str(record.get("note", ""))
        ),
        unit_y=True,
        gap=_gap(at, negatives, positives),
        tall=True,
    )


def _calibration(record: Record) -> Chart:
    error = _number(record.get("error"))
    note = "" if error is None else f"mean distance from the diagonal {number(100 * error, 2)} %"
    return LineChart(
        title=_title(record, "Calibration"),
        x_label="mean probability of a decile",
        y_label="share of positives in it",
        lines=(_line("calibration", record.get("predicted"), record.get("observed")),),
        note=_joined(note, str(record.get("note", ""))),
        diagonal=True,
        unit_x=True,
        unit_y=True,
        tall=True,
    )


def _gain(record: Record) -> Chart:
    return LineChart(
        title=_title(record, "Gain"),
        x_label="share of people called, highest scores first",
        y_label="share of the positives among them",
        lines=(_line("gain", record.get("called_share"), record.get("found_share")),),
        note=str(record.get("note", "")),
        diagonal=True,
        unit_y=True,
        tall=True,
    )


def _gap(at: float | None, first: Line, second: Line) -> tuple[float, float, float] | None:
    if at is None or at not in first.x or at not in second.x:
        return None
    return at, first.y[first.x.index(at)], second.y[second.x.index(at)]


def _scores(record: Record) -> Chart:
    series = (("negatives", _counts(record.get("negatives"))), ("positives", _counts(record.get("positives"))))
    return Histogram(
        title=_title(record, "Scores by class"),
        x_label=SCORE,
        edges=_edges(record.get("edges")),
        series=series,
        note=str(record.get("note", "")),
        shares=True,
    )


def _histogram(record: Record) -> Chart:
    series = [(str(s.get("name", "")), _counts(s.get("counts"))) for s in mappings(record.get("series"))]
    return Histogram(
        title=_title(record, "Histogram"),
        x_label=str(record.get("x_label", "")),
        edges=_edges(record.get("edges")),
        series=tuple(series),
        note=str(record.get("note", "")),
        shares=bool(record.get("shares", False)),
    )


def _edges(values: object) -> tuple[float, ...]:
    edges = [edge for edge in numbers(values) if edge is not None]
    rising = all(low < high for low, high in pairwise(edges))
    return tuple(edges) if rising else ()


def _counts(values: object) -> tuple[float, ...]:
    return tuple(max(0.0, count or 0.0) for count in numbers(values))


def _rounds(record: Record) -> Chart:
    series = mappings(record.get("series"))
    rounds = record.get("rounds")
    longest = max((len(numbers(s.get("values"))) for s in series), default=0)
    return LineChart(
        title=_title(record, "By round"),
        x_label="round",
        y_label=str(record.get("y_label", "")),
        lines=tuple(
            _line(str(s.get("name", "")), rounds if numbers(rounds) else range(1, longest + 1), s.get("values"))
            for s in series
        ),
        note=str(record.get("note", "")),
        log_y=bool(record.get("log", False)),
        whole_x=True,
    )


def _lines(record: Record) -> Chart:
    return LineChart(
        title=_title(record, "Chart"),
        x_label=str(record.get("x_label", "")),
        y_label=str(record.get("y_label", "")),
        lines=tuple(_line(str(s.get("name", "")), s.get("x"), s.get("y")) for s in mappings(record.get("series"))),
        note=str(record.get("note", "")),
        log_y=bool(record.get("log", False)),
    )


def _traffic(record: Record) -> Chart:
    by_party: dict[str, dict[str, tuple[float, float]]] = {}
    for row in mappings(record.get("rows")):
        steps = by_party.setdefault(str(row.get("party", "")), {})
        size, messages = steps.get(str(row.get("step", "")), (0.0, 0.0))
        steps[str(row.get("step", ""))] = (
            size + (_number(row.get("bytes")) or 0.0),
            messages + (_number(row.get("messages")) or 0.0),
        )
    return BarChart(
        title=_title(record, "What left the building"),
        x_label="sent, sealed",
        groups=tuple(_traffic_group(party, steps) for party, steps in by_party.items()),
        unit="bytes",
        note=str(record.get("note", "")),
    )


def _traffic_group(party: str, steps: Mapping[str, tuple[float, float]]) -> BarGroup:
    total = sum(size for size, _ in steps.values())
    messages = sum(count for _, count in steps.values())
    bars = (Bar(step, size, _traffic_text(size, count)) for step, (size, count) in steps.items())
    return BarGroup(f"{party}: {_traffic_text(total, messages)}", tuple(bars))


def _traffic_text(size: float, messages: float) -> str:
    plural = "" if messages == 1 else "s"
    return bytes_text(size) + (f" in {written(int(messages))} message{plural}" if messages else "")


def _coefficients(record: Record) -> Chart:
    pairs = zip(texts(record.get("names")), numbers(record.get("values")), strict=False)
    bars = [Bar(name, value) for name, value in pairs if value is not None]
    bars.sort(key=lambda bar: -abs(bar.value))
    cut = f"the {MOST_BARS} largest of {len(bars)}" if len(bars) > MOST_BARS else ""
    return BarChart(
        title=_title(record, "Coefficients of our own features"),
        x_label=str(record.get("x_label", "change in log-odds per standard deviation")),
        groups=(BarGroup("", tuple(bars[:MOST_BARS])),),
        note=_joined(str(record.get("note", "")), cut),
    )


def _bars(record: Record) -> Chart:
    pairs = list(zip(texts(record.get("labels")), numbers(record.get("values")), strict=False))
    bars = tuple(Bar(label, value) for label, value in pairs[:MOST_BARS] if value is not None)
    cut = f"the first {MOST_BARS} of {len(pairs)}" if len(pairs) > MOST_BARS else ""
    return BarChart(
        title=_title(record, "Chart"),
        x_label=str(record.get("x_label", "")),
        groups=(BarGroup("", bars),),
        unit=str(record.get("unit", "")),
        note=_joined(str(record.get("note", "")), cut),
    )


_READERS: dict[str, Callable[[Record], Chart]] = {
    "roc": _roc,
    "ks": _ks,
    "calibration": _calibration,
    "gain": _gain,
    "scores": _scores,
    "histogram": _histogram,
    "rounds": _rounds,
    "lines": _lines,
    "traffic": _traffic,
    "coefficients": _coefficients,
    "bars": _bars,
}

KINDS = tuple(_READERS)
"""Every kind of chart record."""
