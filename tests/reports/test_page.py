from __future__ import annotations

import copy
import json
import re
from html.parser import HTMLParser

import pytest

from fedspark.evaluation import ScoreCounts
from fedspark.reports import render, run_report
from fedspark.reports.run_report import MOST_ROWS
from fedspark.reports.step_records import (
    coefficients_chart,
    coefficients_table,
    evaluation_record,
    loss_chart,
    rounds_table,
    traffic_record,
    update_chart,
)

EVIL = "<script>alert('x')</script>&\"\x00"
RUN = {
    "project": "credit",
    "pipeline": "default",
    "label": "june",
    "run": "5f0c",
    "party": "bank",
    "role": "guest",
    "started": "2025-06-01",
    "seconds": 61.2,
    "version": "0.1.0",
    "facts": {"parties": ["bank", "shop"]},
}
VOID = {"meta"}


def steps() -> list[dict]:
    evaluation = ScoreCounts.of([-2.0, -0.5, 0.3, 1.5, 2.0], [0, 0, 1, 0, 1], 0.5, 0.2, 0.9).result().to_record()
    charts = [
        loss_chart([0.69, 0.4, 0.3]),
        update_chart([1.0, 0.1, 1e-9]),
        coefficients_chart({"age": 0.4, "debt": -1.0}),
    ]
    features = [{"name": "age", "mean": 41.5, "scale": 12.0, "weight": 0.4, "weight_raw": 0.4 / 12}]
    history = [{"loss": 0.69, "change": None}, {"loss": 0.4, "change": 0.01}]
    sent = [
        {"party": "bank", "step": "psi", "messages": 3, "bytes": 4_000},
        {"party": "shop", "step": "psi", "messages": 1, "bytes": 9},
    ]
    return [
        {
            "step": "psi",
            "kind": "rsa",
            "title": "Intersection",
            "facts": {"rows": 5, "time": {"value": 2.5, "unit": "seconds"}},
            "tables": [
                {"title": "Rows", "columns": ["table", {"name": "size", "unit": "bytes"}], "rows": [["a", 2048], ["b"]]}
            ],
        },
        {"step": "train", "charts": charts, "tables": [coefficients_table(features), rounds_table(history)]},
        json.loads(json.dumps(evaluation_record(evaluation))),
        traffic_record(sent),
    ]


def page() -> str:
    return render(run_report(RUN, steps()))


class Tree(HTMLParser):
    """Checks that elements are closed in order, and collects names, attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_is_well_formed_and_shows_what_the_records_say() -> None:
    tree = Tree(page())
    text = " ".join(tree.words)
    for expected in (
        "credit · default",
        "as seen by bank (guest)",
        "61.2 s",
        "bank, shop",
        "Intersection",
        "2.05 kB",
        "ROC curve",
        "Kolmogorov-Smirnov",
        "Scores by class",
        "Loss by round",
        "Size of the update by round",
        "Coefficients of our own features",
        "Bytes sent by step",
        "bank: 4.00 kB in 3 messages",
    ):
        assert expected in text


def test_the_page_refers_to_nothing_outside_of_it() -> None:
    html = page()
    tree = Tree(html)
    assert not re.search(r"https?://|//[a-z]|@import|url\(|javascript:", html.split("</style>")[1], re.IGNORECASE)
    assert not re.search(r"https?:|@import|url\(", html)
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & set(tree.names)
    assert all(value and value.startswith("#step-") for name, value in tree.attributes if name in {"href", "src"})
    assert not any(name.startswith("on") for name, _ in tree.attributes)
    assert "default-src 'none'" in html


def test_equal_records_give_equal_bytes() -> None:
    assert render(run_report(copy.deepcopy(RUN), copy.deepcopy(steps()))) == page()


def test_nothing_that_a_record_holds_becomes_markup() -> None:
    chart = {
        "kind": "rounds",
        "title": EVIL,
        "note": EVIL,
        "y_label": EVIL,
        "series": [{"name": EVIL, "values": [1, 2]}] * 2,
    }
    bars = {"kind": "bars", "title": EVIL, "labels": [EVIL], "values": [1], "unit": EVIL, "x_label": EVIL}
    traffic = {"kind": "traffic", "rows": [{"party": EVIL, "step": EVIL, "bytes": 3, "messages": 1}]}
    step = {
        "step": EVIL,
        "kind": EVIL,
        "title": EVIL,
        "text": EVIL,
        "headline": {EVIL: EVIL},
        "facts": {EVIL: [EVIL]},
        "tables": [{"title": EVIL, "note": EVIL, "columns": [EVIL, {"name": EVIL, "unit": EVIL}], "rows": [[EVIL, 3]]}],
        "charts": [chart, bars, traffic, {"kind": EVIL}],
    }
    run = dict.fromkeys(("title", *RUN), EVIL) | {"facts": {EVIL: {"value": 3, "unit": EVIL}}}
    html = render(run_report(run, [step, step]))
    assert "<script" not in html
    assert "\x00" not in html
    assert "script" not in Tree(html).names
    html.encode("utf-8")


def test_an_empty_run_still_has_a_page() -> None:
    assert "fedspark run" in render(run_report({}, []))
    assert "section" not in Tree(render(run_report({}, []))).names


@pytest.mark.parametrize(
    "value", [None, 7, "text", [], [None], {"a": None}, [[1, 2]], float("nan"), 10**400], ids=lambda v: repr(v)[:9]
)
def test_a_value_of_the_wrong_type_never_fails_the_page(value: object) -> None:
    keys = ("step", "kind", "title", "text", "headline", "facts", "tables", "charts")
    for key in keys:
        Tree(render(run_report({**RUN, "facts": value, "seconds": value}, [{**steps()[0], key: value}, value])))
    table = {"title": "t", "columns": value, "rows": value}
    Tree(render(run_report(RUN, [{"tables": [table, {**table, "columns": ["a"]}, {**table, "rows": [[1], "x", 3]}]}])))


def test_a_chart_of_unknown_kind_is_named_and_left_out() -> None:
    assert "Charts of unknown kind are left out: pie." in render(run_report(RUN, [{"charts": [{"kind": "pie"}]}]))


def test_a_long_table_is_cut_and_says_so() -> None:
    table = {"columns": ["n"], "rows": [[n] for n in range(MOST_ROWS + 1)]}
    html = render(run_report(RUN, [{"tables": [table]}]))
    assert "The first 500 of 501 rows." in html
    assert html.count("<tr>") == MOST_ROWS + 1


def test_numbers_stand_right_and_share_decimals_and_text_stands_left() -> None:
    table = {"columns": ["name", "value"], "rows": [["a", 0.5], ["b", 12.25], ["c", None]]}
    html = render(run_report(RUN, [{"tables": [table]}]))
    assert '<td>a</td><td class="n">0.500</td>' in html
    assert '<td>b</td><td class="n">12.250</td>' in html
    assert '<td>c</td><td class="n">\u2013</td>' in html


def test_headlines_of_all_steps_come_to_the_top() -> None:
    top = page().split("</header>")[0]
    assert "<dt>AUC</dt><dd>0.8333</dd>" in top


def test_small_weights_and_updates_are_shown_with_digits_of_their_own() -> None:
    features = [{"name": "income", "mean": 41_500.0, "scale": 13_419.0, "weight": -0.4, "weight_raw": -2.98e-5}]
    (row,) = coefficients_table(features)["rows"]
    assert row[:5] == ["income", "41500", "13419", -0.4, "-2.98e-05"]
    assert rounds_table([{"change": None}, {"loss": 0.3, "change": 1.25e-9}])["rows"] == [
        [0, None, None],
        [1, 0.3, "1.25e-09"],
    ]
