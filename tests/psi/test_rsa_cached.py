"""Kept signatures: the people are right, the second query costs the guest's side only, and whoever dies or runs twice
leaves equal bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from fedspark.buckets import SparkRunner
from fedspark.crypto import rsa
from fedspark.crypto.randomness import Stream
from fedspark.crypto.rsa import RsaKey
from fedspark.errors import NotReady
from fedspark.exchange.columns import unpack_values
from fedspark.psi import rsa_blind, rsa_cached, rsa_epochs
from fedspark.psi.align import Alignment
from tests.federation import Federation
from tests.psi.kept import HOST, TABLES, epochs_of, half, home_of, options, query, sent, tables_of
from tests.psi.people import assert_intersection, names, source
from tests.psi.test_intersection import NONE_IS_ENOUGH, TwiceRunner, everything

pytestmark = pytest.mark.usefixtures("clock")

# ---- the people ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bucket_rows", [16, 65536])
@pytest.mark.parametrize(
    ("guest", "host"),
    [
        pytest.param(names(0, 5), names(3, 1003), id="one to two hundred"),
        pytest.param(names(100, 101), names(0, 1000), id="one to a thousand"),
        pytest.param(names(100, 300), names(297, 301), id="fifty to one"),
        pytest.param(names(0, 30), names(30, 60), id="no overlap"),
        pytest.param(names(0, 90), list(reversed(names(0, 90))), id="all overlap"),
        pytest.param([], names(0, 20), id="guest empty"),
        pytest.param(names(0, 20), [], id="host empty"),
        pytest.param([], [], id="both empty"),
        pytest.param(["7"], ["7"], id="one person"),
    ],
)
def test_both_sides_keep_the_common_people_in_one_order_in_the_first_query_and_the_next(
    guest: list[str], host: list[str], bucket_rows: int
):
    federation = Federation(policy=NONE_IS_ENOUGH)
    tables = tables_of(guest, host)
    assert_intersection(federation, query(federation, tables, bucket_rows), tables)
    second = federation.next_run("second")
    others = tables_of(guest[::2] + names(5000, 5003), host)
    assert_intersection(second, query(second, others, bucket_rows), others)
    assert "tags" not in sent(second)


def test_three_queries_of_one_epoch_sign_the_hosts_ids_once_and_send_tags_once(monkeypatch: pytest.MonkeyPatch):
    signed: list[int] = []
    original = rsa.sign

    def sign(key: RsaKey, values: Any) -> Any:
        signed.append(len(values))
        return original(key, values)

    monkeypatch.setattr(rsa, "sign", sign)
    federation = Federation()
    query(federation, TABLES)
    assert sum(signed) == len(HOST) + rsa.PROOF_ROOTS + 40
    bytes_first = sent(federation)
    assert bytes_first["tags"] > 12 * len(HOST)
    for label in ("second", "third"):
        signed.clear()
        later = federation.next_run(label)
        query(later, TABLES)
        assert signed == [40]
        assert sent(later).keys() == bytes_first.keys() - {"tags"}
        assert sum(sent(later).values()) < 40 * (256 + 256 + 8) + 8000
        assert len(epochs_of(federation)) == len(epochs_of(federation, "guest")) == 1


def test_blinded_values_of_two_queries_share_nothing_and_tags_are_the_same(monkeypatch: pytest.MonkeyPatch):
    tags: list[set[bytes]] = []
    original = rsa_cached.find_in_epoch

    def find_in_epoch(epoch: Any, host: str, files: Any, mine: Any, digests: Any) -> Any:
        tags.append({row.tobytes() for row in mine})
        return original(epoch, host, files, mine, digests)

    monkeypatch.setattr(rsa_cached, "find_in_epoch", find_in_epoch)
    federation = Federation()
    query(federation, TABLES)
    later = federation.next_run("second")
    query(later, TABLES)
    blinded = []
    for one in (federation, later):
        run = one.run("host", "psi")
        data = run.receive("blinded", run.roster.guest).read(0)
        blinded.append({row.tobytes() for row in unpack_values(data, "blinded", 40, 256)})
    assert not blinded[0] & blinded[1]
    assert len(tags[0]) == 40
    assert tags == [tags[0]] * 2


def test_the_guest_can_keep_its_other_rows_and_the_result_to_itself():
    federation = Federation()
    results = query(federation, TABLES, join="left", result="guest")
    assert (results["guest"].rows, results["guest"].unmatched_rows) == (20, 20)
    assert (results["host"].rows, "matched" in sent(federation)) == (None, False)


# ---- a task can run twice, a process can die -------------------------------------------------------------------------


def test_tasks_that_run_twice_and_in_any_order_leave_equal_bytes():
    once, twice = Federation(), Federation(runner=TwiceRunner)
    for federation in (once, twice):
        query(federation, TABLES, 16)
        query(federation.next_run("second"), TABLES, 16)
    assert everything(once) == everything(twice)


@pytest.mark.parametrize("keep_messages", [True, False])
def test_parties_that_end_at_every_wait_and_come_back_leave_equal_bytes(keep_messages: bool):
    unbroken, broken = Federation(keep_messages=keep_messages), Federation(keep_messages=keep_messages)
    for label in ("first", "second"):
        query(unbroken.next_run(label), TABLES, 32)
        run, results, ends = broken.next_run(label), dict[str, Alignment](), 0
        while len(results) < 2:
            for name, table in TABLES.items():
                try:
                    results[name] = half(table, options(32))(run.run(name, "psi", patience=0))
                except NotReady:
                    ends += 1
        assert ends >= 3
    assert everything(unbroken) == everything(broken)


@pytest.mark.spark
def test_tasks_of_spark_and_of_this_process_leave_equal_bytes(spark: Any, tmp_path: Path):
    here = Federation(base=str(tmp_path / "here"))
    there = Federation(base=str(tmp_path / "there"), runner=lambda: SparkRunner(lambda: spark, 0.05))
    for federation in (here, there):
        for label in ("first", "second"):
            query(federation.next_run(label), TABLES, 64)
    assert everything(here) == everything(there)


def test_an_epoch_that_was_begun_is_finished_by_the_next_run(monkeypatch: pytest.MonkeyPatch):
    federation, calls = Federation(), []
    original = rsa_epochs.store_part

    def store_part(storing: Any, part: int) -> str:
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(part)
        return original(storing, part)

    monkeypatch.setattr(rsa_epochs, "store_part", store_part)
    with pytest.raises(KeyboardInterrupt):
        half(TABLES["host"], options(32))(federation.run("host", "psi", patience=0))
    monkeypatch.setattr(rsa_epochs, "store_part", original)
    signed: list[int] = []
    sign = rsa_blind.part_tags
    monkeypatch.setattr(rsa_epochs, "part_tags", lambda tagging, part: (signed.append(part), sign(tagging, part))[1])
    second = federation.next_run("second")
    assert_intersection(second, query(second, TABLES, 32), TABLES)
    assert len(epochs_of(federation)) == 1
    assert not set(signed) & set(calls)


def test_no_random_stream_serves_two_purposes_or_two_queries(monkeypatch: pytest.MonkeyPatch):
    uses: dict[bytes, list[str]] = {}
    original = Stream.__init__

    def recorded(self: Stream, key: bytes) -> None:
        uses.setdefault(key, []).append(sys._getframe(1).f_code.co_name)
        original(self, key)

    monkeypatch.setattr(Stream, "__init__", recorded)
    federation = Federation()
    for label in ("first", "second"):
        query(federation.next_run(label), TABLES, 16)
    twice = sorted(places for places in uses.values() if len(places) > 1)
    # Blinds are drawn again to take them off, and the epoch's key again in its second run.
    assert twice == [*[["draw_blinds", "draw_blinds"]] * (2 * 4), ["stream", "stream"]]
    assert {places[0] for places in uses.values()} == {
        "draw_blinds", "blind_bucket", "unblind_bucket", "sort_tags", "stream",
    }  # fmt: skip
    assert sum(places[0] == "sort_tags" for places in uses.values()) == 32


def test_nothing_in_the_exchange_shows_an_id_a_salt_or_a_seed():
    federation = Federation()
    query(federation, TABLES)
    host = federation.run("host", "psi")
    kept = rsa_epochs.for_guest(host, options(), source(TABLES["host"]))
    view = host.aside(home_of(federation, "host"), kept.epoch.name, b"")
    seed = view.read_secret("seed.sealed")
    salt = kept.epoch.plan.salt
    for data in federation.objects(federation.exchange).values():
        assert not any(secret in data for secret in (b"person-", salt, salt.hex().encode(), seed))
    for data in federation.objects(federation.files("host")).values():
        assert seed not in data
    assert not any(word in repr(kept) for word in (seed.hex(), str(kept.key.p), repr(salt)))
