"""Who is told what, and whose rows the guest keeps, by every protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import pytest

from fedspark.buckets import BucketFile
from fedspark.conf import PsiOptions
from fedspark.errors import Mismatch, PolicyRefused
from fedspark.psi.align import Alignment
from fedspark.psi.tally import Tally
from fedspark.run import Run
from fedspark.steps import psi as step
from tests.federation import Federation
from tests.psi.people import aligned, assert_intersection, names, role_of, source, staged, tags_sent

TABLES = {"guest": staged(names(0, 40), label=True), "host": staged(names(20, 70))}
THREE = {"guest": TABLES["guest"], "host1": TABLES["host"], "host2": staged(names(0, 100)[::3])}


def play(federation: Federation, protocol: str, tables: Mapping[str, pa.Table], **more: Any) -> dict[str, Any]:
    options = PsiOptions(table="people", bucket_rows=16, protocol=protocol, **more)

    def half(name: str) -> Callable[[Run], Any]:
        return lambda run: role_of(run, protocol)(run, options, source(tables[name]))

    return federation.play("psi", {name: half(name) for name in tables})


# ---- result ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tables", [TABLES, THREE], ids=["one host", "two hosts"])
def test_a_result_for_the_guest_leaves_hosts_without_a_message_and_without_rows(
    protocol: str, tables: Mapping[str, pa.Table]
):
    both, alone = Federation(hosts=len(tables) - 1), Federation(hosts=len(tables) - 1)
    told, results = play(both, protocol, tables), play(alone, protocol, tables, result="guest")
    assert results["guest"] == told["guest"]
    assert aligned(alone, "guest", results["guest"]).equals(aligned(both, "guest", told["guest"]))
    assert tags_sent(both) - tags_sent(alone) == {"matched"}
    for host in alone.roster.hosts:
        table, rows = tables[host.name], {name: table.num_rows for name, table in tables.items()}
        assert results[host.name] == Tally("people", None, table.num_rows, rows)
        run = alone.run(host.name, "psi")
        assert run.receive("result", alone.roster.guest).json() == {}
        assert not [name for name in alone.objects(alone.files(host.name)) if "alignment" in name or "aligned" in name]


def test_what_the_guest_learns_alone_leaves_no_number_in_the_hosts_record(monkeypatch: pytest.MonkeyPatch):
    federation, options = Federation(), PsiOptions(table="people", protocol="ecdh", result="guest")
    monkeypatch.setattr(step, "staged_source", lambda run, table: (None, source(TABLES[run.me.name])))
    federation.play("psi", {name: lambda run: step.run_step(run, options) for name in TABLES})
    records = {name: federation.run(name, "psi").read_record("psi") for name in TABLES}
    assert records["guest"]["facts"]["people in common"] == 20
    facts = records["host"]["facts"]
    assert records["host"]["headline"] == {}
    assert not [label for label in facts if "common" in label or "share" in label]
    assert 20 not in facts.values()
    for record in records.values():
        assert "The guest alone learned who" in record["text"]


def test_a_host_that_is_told_although_the_guest_keeps_the_result_refuses(protocol: str):
    federation = Federation()

    def guest(run: Run) -> Any:
        return role_of(run, protocol)(run, PsiOptions(table="people", protocol=protocol), source(TABLES["guest"]))

    def host(run: Run) -> Any:
        alone = PsiOptions(table="people", protocol=protocol, result="guest")
        return role_of(run, protocol)(run, alone, source(TABLES["host"]))

    with pytest.raises(Mismatch, match="which it keeps by the pipeline"):
        federation.play("psi", {"guest": guest, "host": host})


@pytest.mark.parametrize("reveal", ["people", "count"])
def test_a_host_whose_smallest_intersection_it_could_not_check_refuses_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, reveal: Any
):
    options = PsiOptions(table="people", protocol="auto", result="guest", reveal=reveal)
    monkeypatch.setattr(step, "staged_source", lambda run, table: (None, source(TABLES[run.me.name])))

    def play_with(**policy: Any) -> Federation:
        federation = Federation(policy=policy)
        federation.play("psi", {name: lambda run: step.intersect(run, options, "people") for name in TABLES})
        return federation

    with pytest.raises(PolicyRefused, match="could not check its limit min_intersection, which is 2"):
        play_with(host={"min_intersection": 2})
    play_with(host={"min_intersection": 1}, guest={"min_intersection": 20})
    with pytest.raises(PolicyRefused, match="20 people are common to all parties"):
        play_with(guest={"min_intersection": 21})


# ---- join ------------------------------------------------------------------------------------------------------------


def unmatched(federation: Federation, alignment: Alignment) -> pa.Table:
    workspace = federation.run("guest", "psi").workspace
    assert alignment.unmatched_files is not None
    files = [BucketFile(workspace.read(alignment.unmatched_files.format(part=part))) for part in range(alignment.parts)]
    assert all(file.buckets == alignment.buckets_per_part for file in files)
    return pa.concat_tables([file.read_all() for file in files])


@pytest.mark.parametrize("tables", [TABLES, THREE], ids=["one host", "two hosts"])
def test_a_left_join_keeps_every_row_of_the_guest_once(protocol: str, tables: Mapping[str, pa.Table]):
    federation = Federation(hosts=len(tables) - 1)
    results = play(federation, protocol, tables, join="left")
    assert_intersection(federation, results, tables)
    common, others = aligned(federation, "guest", results["guest"]), unmatched(federation, results["guest"])
    assert others.schema == common.schema
    assert sorted(common["key"].to_pylist() + others["key"].to_pylist()) == sorted(names(0, 40))
    assert results["guest"].unmatched_rows == others.num_rows == 40 - results["guest"].rows
    assert Alignment.of(federation.run("guest", "psi")) == results["guest"]


def test_a_left_join_shows_hosts_nothing_and_leaves_them_nothing(protocol: str):
    inner, left = Federation(), Federation()
    one, other = play(inner, protocol, TABLES), play(left, protocol, TABLES, join="left")
    assert one["host"] == other["host"]
    assert (other["host"].unmatched_rows, other["host"].unmatched_files) == (0, None)
    assert inner.objects(inner.exchange) == left.objects(left.exchange)
    assert inner.objects(inner.files("host")) == left.objects(left.files("host"))


def test_a_left_join_goes_with_a_result_for_the_guest(protocol: str):
    federation = Federation()
    results = play(federation, protocol, TABLES, join="left", result="guest")
    assert unmatched(federation, results["guest"]).num_rows == 20
    assert "matched" not in tags_sent(federation)


def test_an_alignment_of_an_earlier_version_still_reads():
    old = {"table": "people", "parts": 1, "buckets_per_part": 1, "rows": 1, "rows_mine": 2}
    alignment = Alignment.from_json({**old, "rows_by_party": {"guest": 2}, "files": "part-{part}"})
    assert (alignment.unmatched_rows, alignment.unmatched_files) == (0, None)
