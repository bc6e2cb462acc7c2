"""What the record of an intersection says about its cost is what lies in the exchange and what the clock said."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pytest

from fedspark.conf import PsiOptions
from fedspark.exchange.signed import canonical_json
from fedspark.psi import sizes
from fedspark.reports import render, run_report
from fedspark.run import Progress, Run
from fedspark.steps import psi as step
from fedspark.steps.cost import Cost
from tests.federation import Federation
from tests.psi.people import names, source, staged

TABLES = {"guest": staged(names(0, 120), label=True), "host": staged(names(80, 320))}
THREE = {"guest": TABLES["guest"], "host1": TABLES["host"], "host2": staged(names(100, 130))}


@pytest.fixture(autouse=True)
def _waves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "WAVE_PARTS", 2)


def records(
    monkeypatch: pytest.MonkeyPatch,
    federation: Federation,
    tables: Mapping[str, pa.Table] = TABLES,
    protocol: str = "ecdh",
) -> dict[str, dict[str, Any]]:
    monkeypatch.setattr(step, "staged_source", lambda run, table: (None, source(tables[run.me.name])))
    options = PsiOptions(table="people", protocol=protocol, bucket_rows=32)

    def half(run: Run) -> Any:
        step.run_step(run, options)
        return run.read_record("psi")

    return federation.play("psi", dict.fromkeys(tables, half))


def table(record: Mapping[str, Any], title: str) -> dict[str, Any]:
    (found,) = [one for one in record["tables"] if one["title"] == title]
    return found


def objects(federation: Federation, pair: str) -> dict[str, int]:
    """Bytes of the objects of the step between two parties (``sender.receiver``), by tag."""
    found: dict[str, int] = {}
    for name, data in federation.objects(federation.exchange).items():
        match = re.search(rf"/psi/[0-9]+/([a-z]+)\.0/{re.escape(pair)}/", name)
        if match:
            found[match[1]] = found.get(match[1], 0) + len(data)
    return found


def messages(record: Mapping[str, Any], way: str, peer: str) -> dict[str, int]:
    return {tag: size for tag, how, who, _, size in table(record, "Messages")["rows"] if (how, who) == (way, peer)}


@pytest.mark.parametrize("protocol", ["rsa", "ecdh", "ot"])
def test_bytes_are_those_of_the_objects_in_the_exchange(monkeypatch: pytest.MonkeyPatch, protocol: str):
    federation = Federation()
    found = records(monkeypatch, federation, protocol=protocol)
    there, back = objects(federation, "guest.host"), objects(federation, "host.guest")
    assert {"size", "nonce", "result"} <= there.keys()
    assert messages(found["guest"], "sent to", "host") == messages(found["host"], "received from", "guest") == there
    assert messages(found["guest"], "received from", "host") == messages(found["host"], "sent to", "guest") == back
    facts, total = found["guest"]["facts"], sum(there.values()) + sum(back.values())
    assert facts["bytes sent"] == {"value": sum(there.values()), "unit": "bytes"}
    assert facts["bytes received"] == {"value": sum(back.values()), "unit": "bytes"}
    assert facts["bytes per row of ours"] == {"value": round(total / 120, 1), "unit": "bytes"}


def test_messages_that_were_removed_when_they_were_read_count(monkeypatch: pytest.MonkeyPatch):
    kept, removed = (records(monkeypatch, Federation(keep_messages=keep)) for keep in (True, False))
    for name in TABLES:
        assert table(kept[name], "Messages") == table(removed[name], "Messages")


def test_each_pair_of_three_parties_has_messages_and_phases_of_its_own(monkeypatch: pytest.MonkeyPatch):
    federation = Federation(hosts=2)
    found = records(monkeypatch, federation, THREE)
    for one, other in (("guest", "host1"), ("guest", "host2"), ("host1", "host2")):
        assert messages(found[one], "sent to", other) == objects(federation, f"{one}.{other}")
        assert messages(found[one], "received from", other) == objects(federation, f"{other}.{one}")
    phases = {row[0] for row in table(found["guest"], "Time")["rows"]}
    assert {"blind ids, host1", "blind ids, host2", "match ids, host1", "wait for host2"} <= phases


def test_sizes_and_match_rates_are_true(monkeypatch: pytest.MonkeyPatch):
    facts = records(monkeypatch, Federation())["guest"]["facts"]
    assert facts["people in common"] == 40
    assert facts["share of our rows"]["value"] == pytest.approx(40 / 120)
    assert facts["share of the smallest table"]["value"] == pytest.approx(40 / 120)
    assert (facts["parts"], facts["buckets"], facts["our rows per bucket"]) == (8, 8, 15)
    assert facts["bucket padded to"] == sizes.padded_rows(120, 8)
    host = records(monkeypatch, Federation())["host"]["facts"]
    assert host["share of our rows"]["value"] == pytest.approx(40 / 240)
    assert host["share of the smallest table"]["value"] == pytest.approx(40 / 120)


def test_time_is_told_by_phase_and_adds_up(monkeypatch: pytest.MonkeyPatch):
    for name, record in records(monkeypatch, Federation()).items():
        time = table(record, "Time")
        *parts, (last, total) = [(row[0], row[1]) for row in time["rows"]]
        assert (last, time["note"]) == ("in all", "")
        assert sum(seconds for _, seconds in parts) == pytest.approx(total, abs=0.02)
        assert total == record["facts"]["time"]["value"]
        rows = {row[0]: row[2] for row in time["rows"] if len(row) > 2}
        assert rows["hash ids"] == rows["sort ids into buckets"] == rows["align rows"] == len(TABLES[name])
        peer, own, theirs = ("host", "blind ids", "match ids") if name == "guest" else ("guest", "tag own ids", "")
        assert rows[f"wait for {peer}"] is None
        assert rows[own] == len(TABLES[name])
        assert rows.get("match ids") == (120 if theirs else None)
        assert rows.get("evaluate ids") == (None if theirs else 120)


def test_rows_per_second_and_the_rest_follow_from_the_clock():
    times = iter([10.0, 10.0, 14.0, 15.0])
    run = Federation().run("guest", "psi")
    run = dataclasses.replace(run, progress=Progress(quiet=True, clock=lambda: next(times)))
    cost = Cost.begin(run)
    with run.progress.timed("sign", 1000):
        pass
    assert cost._time(5.0)["rows"] == [["sign", 4.0, 1000, 250], ["everything else", 1.0], ["in all", 5.0]]


def test_a_resumed_step_says_that_its_time_is_not_all(monkeypatch: pytest.MonkeyPatch):
    federation = Federation()
    federation.run("guest", "psi").once("psi/size", dict)
    assert not Cost.begin(federation.run("host", "psi")).resumed
    cost = Cost.begin(federation.run("guest", "psi"))
    assert cost._time(1.0)["note"] == "The step was resumed: this is the time of the process that finished it."


def test_the_record_is_small_and_holds_no_id(monkeypatch: pytest.MonkeyPatch):
    for record in records(monkeypatch, Federation(hosts=2), THREE).values():
        text = canonical_json(record)
        assert len(text) < 8000
        assert b"person-" not in text
        page = render(run_report({}, [json.loads(text)]))
        assert "wait for" in page
        assert "received from" in page


def test_where_nobody_is_common_the_record_says_what_ids_look_like(monkeypatch: pytest.MonkeyPatch):
    numbers = staged([str(10**10 + number) for number in range(50)])
    policy = {name: {"min_intersection": 0} for name in ("guest", "host")}
    record = records(monkeypatch, Federation(policy=policy), {"guest": TABLES["guest"], "host": numbers})["guest"]
    assert "Check: No id is common to all. The ids of host look like 11 digits; ours (of guest)" in record["text"]
    assert ["host", "11 digits"] in table(record, "Ids")["rows"]
