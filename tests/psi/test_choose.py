"""Protocol auto: the choice follows from row counts, is the same everywhere, and says why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedspark.conf import PsiOptions
from fedspark.errors import Mismatch
from fedspark.psi import choose
from fedspark.psi.align import Alignment
from fedspark.psi.choose import Choice, decide
from fedspark.psi.tally import Tally
from fedspark.run import Run
from fedspark.steps import psi as step
from fedspark.steps.cost import Cost
from tests.federation import Federation
from tests.psi.people import assert_intersection, names, source, staged, tags_sent

AUTO = PsiOptions(table="people", protocol="auto", bucket_rows=64)
SMALL, LARGE = staged(names(0, 2), label=True), staged(names(1, 203))


@pytest.mark.parametrize(
    ("rows", "protocol"),
    [
        ({"guest": 1000, "host": 1000}, "ot"),
        ({"guest": 10, "host": 1000}, "ot"),
        ({"guest": 10, "host": 1001}, "ecdh"),
        ({"guest": 1001, "host": 10}, "ecdh"),
        ({"guest": 0, "host": 100}, "ot"),
        ({"guest": 0, "host": 101}, "ecdh"),
        ({"guest": 0, "host": 0}, "ot"),
        ({"guest": 10, "host1": 10, "host2": 1001}, "ecdh"),
        ({"guest": 1000, "host1": 10, "host2": 100_000}, "ot"),
    ],
)
def test_tables_of_about_one_size_are_matched_by_ot_and_others_by_ecdh(rows: Mapping[str, int], protocol: str):
    choice = choose.choose(rows, "guest")
    assert choice.protocol == protocol
    for name, count in rows.items():
        assert f"{name} {count:,}" in choice.reason
    assert ("more than 100 times" in choice.reason) == (protocol == "ecdh")
    assert str(choice).startswith(f"{protocol}, chosen because the tables (rows: guest ")


@pytest.mark.parametrize(
    ("rows", "cached", "protocol"),
    [
        ({"guest": 10, "host": 10_000}, {"host"}, "rsa"),
        ({"guest": 10, "host": 1000}, {"host"}, "ot"),
        ({"guest": 10_000, "host": 10}, {"host"}, "ecdh"),
        ({"guest": 10, "host1": 10_000, "host2": 10_000}, {"host1"}, "ecdh"),
        ({"guest": 10, "host1": 10_000, "host2": 10_000}, {"host1", "host2"}, "rsa"),
    ],
)
def test_tags_that_every_host_keeps_of_a_far_larger_table_are_used_again(
    rows: Mapping[str, int], cached: set[str], protocol: str
):
    choice = choose.choose(rows, "guest", cached)
    assert choice.protocol == protocol
    assert ("are there from before" in choice.reason) == (protocol == "rsa")


@given(
    st.dictionaries(st.sampled_from(["host1", "host2", "host3"]), st.integers(0, 10**9), min_size=1),
    st.integers(0, 10**9),
)
def test_the_order_in_which_hosts_are_named_does_not_matter(hosts: dict[str, int], guest: int):
    rows = {"guest": guest, **hosts}
    turned = {name: rows[name] for name in reversed(rows)}
    assert choose.choose(rows, "guest").protocol == choose.choose(turned, "guest").protocol


def test_a_protocol_that_is_named_needs_no_reason_and_no_message():
    federation = Federation()
    options = PsiOptions(table="people", protocol="ecdh")
    assert decide(federation.run("guest", "psi"), options, source(SMALL)) == Choice("ecdh")
    assert str(Choice("ecdh")) == "ecdh"
    counting = PsiOptions(table="people", protocol="auto", reveal="count")
    assert decide(federation.run("guest", "psi"), counting, source(SMALL)).protocol == "ecdh"
    assert tags_sent(federation) == set()


def steps(
    federation: Federation, monkeypatch: pytest.MonkeyPatch, tables: Mapping[str, Any], options: PsiOptions = AUTO
) -> dict[str, tuple[Choice, Alignment | Tally]]:
    monkeypatch.setattr(step, "staged_source", lambda run, table: (None, source(tables[run.me.name])))
    halves = {name: lambda run: step.intersect(run, options, "people") for name in tables}
    return federation.play("psi", halves)


@pytest.mark.parametrize(
    ("tables", "protocol", "used"),
    [
        ({"guest": SMALL, "host": LARGE}, "ecdh", {"blinded", "evaluated"}),
        ({"guest": LARGE, "host": SMALL}, "ecdh", {"blinded", "evaluated"}),
        ({"guest": SMALL, "host": staged(names(1, 40))}, "ot", {"transfers", "seeds", "table"}),
        ({"guest": SMALL, "host1": staged(names(1, 40)), "host2": LARGE}, "ecdh", {"blinded", "evaluated"}),
    ],
)
def test_all_sides_choose_alike_and_run_that_protocol(
    monkeypatch: pytest.MonkeyPatch, tables: Mapping[str, Any], protocol: str, used: set[str]
):
    federation = Federation(hosts=len(tables) - 1)
    results = steps(federation, monkeypatch, tables)
    (choice,) = {choice for choice, _ in results.values()}
    assert choice.protocol == protocol
    assert tags_sent(federation) == {"rows", "size", "nonce", "tags", "matched", "result", *used}
    assert_intersection(federation, {name: found for name, (_, found) in results.items()}, tables)
    for name in tables:
        run = federation.run(name, "psi")
        record = step.psi_record(run, AUTO, *results[name], Cost.begin(run))
        assert record["facts"]["protocol"] == str(choice)
        assert record["kind"] == f"psi, {protocol}"


def test_signed_ids_that_the_host_keeps_serve_again_where_the_guest_is_far_smaller(monkeypatch: pytest.MonkeyPatch):
    kept = PsiOptions(table="people", protocol="auto", cache=True, bucket_rows=64)
    tables = {"guest": SMALL, "host": LARGE}
    federation = Federation()
    assert steps(federation, monkeypatch, tables, kept)["host"][0].protocol == "ecdh"  # nothing is there yet
    steps(
        federation.next_run("2"),
        monkeypatch,
        tables,
        PsiOptions(table="people", protocol="rsa", cache=True, bucket_rows=64),
    )

    third = federation.next_run("3")
    results = steps(third, monkeypatch, tables, kept)
    (choice,) = {choice for choice, _ in results.values()}
    assert choice.protocol == "rsa"
    assert "tags of host for guest are there from before" in choice.reason
    assert_intersection(third, {name: found for name, (_, found) in results.items()}, tables)

    others = {
        "no longer wanted": (AUTO, tables, "ecdh"),
        "a guest of its size": (kept, {"guest": staged(names(0, 150), label=True), "host": LARGE}, "ot"),
        "another table": (kept, {"guest": SMALL, "host": staged(names(1, 204))}, "ecdh"),
    }
    for label, (options, held, protocol) in others.items():
        run = federation.next_run(label.replace(" ", "-"))
        assert steps(run, monkeypatch, held, options)["guest"][0].protocol == protocol


def lying(changed: Callable[[dict[str, Any]], Any]) -> Callable[[Run], None]:
    def host(run: Run) -> None:
        original = run.send

        def send(tag: str, to: Any, payload: Any, **more: Any) -> None:
            original(tag, to, changed(payload) if tag == "rows" else payload, **more)

        object.__setattr__(run, "send", send)
        step.intersect(run, AUTO, "people")

    return host


def test_a_party_that_begins_with_other_rows_than_it_announced_is_refused(monkeypatch: pytest.MonkeyPatch):
    federation = Federation()
    monkeypatch.setattr(step, "staged_source", lambda run, table: (None, source(SMALL)))
    halves = {
        "guest": lambda run: step.intersect(run, AUTO, "people"),
        "host": lying(lambda told: {**told, "rows": told["rows"] + 1}),
    }
    with pytest.raises(Mismatch, match="host announced 3 rows to choose a protocol, and 2 to begin it"):
        federation.play("psi", halves)
    assert not {"tags", "table", "blinded"} & tags_sent(federation)


@pytest.mark.parametrize("told", [{}, {"rows": 2}, {"rows": "2", "cached": False}, {"rows": -1, "cached": False}, 7])
def test_a_malformed_announcement_is_refused(monkeypatch: pytest.MonkeyPatch, told: Any):
    monkeypatch.setattr(step, "staged_source", lambda run, table: (None, source(SMALL)))
    halves = {"guest": lambda run: step.intersect(run, AUTO, "people"), "host": lying(lambda _: told)}
    with pytest.raises(Mismatch, match="'rows' of host is malformed"):
        Federation().play("psi", halves)
