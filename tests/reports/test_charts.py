from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from fedspark.reports.chart_records import KINDS, MOST_BARS, chart_from
from fedspark.reports.charts import draw
from fedspark.reports.records import BarChart, LineChart

SERIES = [{"name": "a", "values": [0.7, 0.2, 0.1]}, {"name": "b", "values": [3, 2]}]
FULL: dict[str, dict[str, Any]] = {
    "roc": {"false_positive_rate": [0, 0.1, 1], "true_positive_rate": [0, 0.9, 1], "auc": 0.9},
    "ks": {
        "score": [-1, 0, 2],
        "negative_share": [0, 0.8, 1],
        "positive_share": [0, 0.1, 1],
        "ks": 0.7,
        "ks_score": 0,
        "ks_threshold": 0.5,
    },
    "calibration": {"predicted": [0.1, 0.4, 0.9], "observed": [0.0, 0.5, 0.8], "error": 0.1},
    "gain": {"called_share": [0, 0.2, 1], "found_share": [0, 0.9, 1]},
    "scores": {"edges": [-1, 0, 1, 2], "negatives": [5, 0, 1], "positives": [0, 2, 3]},
    "histogram": {"edges": [0, 1, 2], "series": [{"name": "rows", "counts": [3, 4]}], "x_label": "age"},
    "rounds": {"series": SERIES, "y_label": "loss", "log": True},
    "lines": {"series": [{"name": "a", "x": [1, 2], "y": [3, 3]}], "x_label": "x", "y_label": "y"},
    "traffic": {
        "rows": [
            {"party": "hospital", "step": "psi", "bytes": 4_120_000, "messages": 3},
            {"party": "laboratory", "step": "psi", "bytes": 12, "messages": 1},
        ]
    },
    "coefficients": {"names": ["age", "<b>income</b>"], "values": [0.4, -1.2]},
    "bars": {"labels": ["a", "b"], "values": [1, 2], "unit": "rows"},
}
BROKEN: list[Any] = [None, 7, "text", [], [None, "x", float("nan"), float("inf")], [{"name": None}], {"a": 1}]


def svg_of(record: dict[str, Any]) -> ElementTree.Element:
    chart = chart_from(record)
    assert chart is not None
    return ElementTree.fromstring(draw(chart).svg)


def texts(svg: ElementTree.Element) -> list[str]:
    return ["".join(node.itertext()) for node in svg.iter("text")]


def test_every_kind_has_an_example_here() -> None:
    assert set(FULL) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_chart_is_valid_xml_inside_its_frame(kind: str) -> None:
    svg = svg_of({"kind": kind, "title": 'a "title" & <more>', **FULL[kind]})
    _, _, width, height = (float(v) for v in svg.attrib["viewBox"].split())
    assert svg.attrib["aria-label"] == 'a "title" & <more>'
    assert "no data" not in texts(svg)
    for node in svg.iter():
        for x in ("x", "x1", "x2", "cx"):
            assert -0.1 <= float(node.get(x, 0)) <= width + 0.1
        for y in ("y", "y1", "y2", "cy"):
            assert -0.1 <= float(node.get(y, 0)) <= height + 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_chart_says_so_when_it_has_no_data(kind: str) -> None:
    assert texts(svg_of({"kind": kind})) == ["no data"]
    assert "no data" in texts(svg_of({"kind": kind, **{key: [] for key in FULL[kind]}}))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", BROKEN, ids=repr)
def test_a_value_of_the_wrong_type_never_fails_a_chart(kind: str, value: object) -> None:
    for key in FULL[kind]:
        svg_of({"kind": kind, **FULL[kind], key: value})
    svg_of({"kind": kind, **dict.fromkeys(FULL[kind], value)})


@pytest.mark.parametrize("kind", KINDS)
def test_a_chart_names_only_colours_and_classes_of_the_page(kind: str) -> None:
    chart = chart_from({"kind": kind, **FULL[kind]})
    assert chart is not None
    svg = draw(chart).svg
    assert not re.search(r"style=|fill=|stroke=|href|url\(|xmlns|nan|inf\b", svg)


def test_an_unknown_kind_is_no_chart() -> None:
    assert chart_from({"kind": "pie"}) is None
    assert chart_from({}) is None


def test_names_in_a_chart_are_escaped() -> None:
    svg = svg_of({"kind": "coefficients", **FULL["coefficients"]})
    assert "<b>income</b>" in texts(svg)
    assert svg.find(".//b") is None


def test_characters_that_xml_forbids_are_replaced() -> None:
    assert "a\ufffd\ufffd" in texts(svg_of({"kind": "bars", "labels": ["a\x00\ud800"], "values": [1]}))


def test_coefficients_are_sorted_by_size_and_cut() -> None:
    values = [(-1) ** n * n for n in range(60)]
    chart = chart_from({"kind": "coefficients", "names": [f"x{n}" for n in range(60)], "values": values})
    assert isinstance(chart, BarChart)
    (group,) = chart.groups
    assert [bar.label for bar in group.bars[:2]] == ["x59", "x58"]
    assert len(group.bars) == MOST_BARS
    assert chart.note == "the 40 largest of 60"


def test_whole_numbers_are_written_without_decimals() -> None:
    assert {"1 rows", "2 rows"} <= set(texts(svg_of({"kind": "bars", **FULL["bars"]})))


def test_a_long_name_is_shortened_and_kept_whole_as_a_tip() -> None:
    name = "a_very_long_feature_name_" * 4
    svg = svg_of({"kind": "bars", "labels": [name], "values": [1]})
    label = svg.find(".//text[title]")
    assert label is not None
    assert label.findtext("title") == name
    assert (label[0].tail or "").endswith("…")


def test_traffic_of_one_party_and_step_is_added_up() -> None:
    rows = [{"party": "hospital", "step": "train", "bytes": 1000, "messages": 1}] * 3
    svg = svg_of({"kind": "traffic", "rows": rows})
    assert "hospital: 3.00 kB in 3 messages" in texts(svg)


def test_a_value_that_is_not_positive_makes_a_logarithmic_axis_linear() -> None:
    labels = texts(svg_of({"kind": "rounds", "series": [{"name": "a", "values": [1, 0.5, 0]}], "log": True}))
    assert "0.0" in labels


def test_missing_values_are_dropped_with_their_round() -> None:
    chart = chart_from({"kind": "rounds", "series": [{"name": "a", "values": [1, None, 3]}]})
    assert isinstance(chart, LineChart)
    assert chart.lines[0].x == (1, 3)


def test_the_ks_gap_connects_the_two_curves() -> None:
    chart = chart_from({"kind": "ks", **FULL["ks"]})
    assert isinstance(chart, LineChart)
    assert chart.gap == (0, 0.8, 0.1)
    assert draw(chart).legend == ("negatives", "positives")
