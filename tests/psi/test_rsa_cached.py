"""Kept signatures: the people are right, the second query costs the guest's side only, and an epoch serves one guest,
one table and its time.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fedspark.buckets import SparkRunner
from fedspark.conf import PsiOptions
from fedspark.crypto import rsa
from fedspark.crypto.randomness import Stream
from fedspark.crypto.rsa import RsaKey
from fedspark.errors import FedsparkError, Mismatch, NotReady, PeerError, PolicyRefused, StoreError, TableError
from fedspark.exchange.columns import pack_values, unpack_values
from fedspark.party import Role
from fedspark.psi import rsa_blind, rsa_cached, rsa_epochs, sizes
from fedspark.psi.align import Alignment
from fedspark.run import Run
from tests.federation import Federation
from tests.psi.people import assert_intersection, message_tag, names, source, staged
from tests.psi.test_intersection import NONE_IS_ENOUGH, TwiceRunner, everything

NOON = 1_800_000_000
DAY = 86_400


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The time that epochs see, to be changed by tests; and waves of one part, so that small tables have several."""
    time = [NOON]
    monkeypatch.setattr(rsa_epochs, "now", lambda: time[0])
    monkeypatch.setattr(sizes, "WAVE_PARTS", 1)
    return time


def options(bucket_rows: int = 65536, **more: Any) -> PsiOptions:
    return PsiOptions(table="people", bucket_rows=bucket_rows, cache=True, **more)


def half(table: pa.Table, settings: PsiOptions) -> Callable[[Run], Any]:
    def role(run: Run) -> Any:
        return (rsa_cached.guest if run.role is Role.GUEST else rsa_cached.host)(run, settings, source(table))

    return role


def query(federation: Federation, tables: dict[str, pa.Table], bucket_rows: int = 65536, **more: Any) -> Any:
    return federation.play("psi", {name: half(table, options(bucket_rows, **more)) for name, table in tables.items()})


def sent(federation: Federation) -> dict[str, int]:
    """Bytes of the parts that this run has sent, by tag."""
    sizes: dict[str, int] = {}
    for name, data in federation.objects(federation.exchange).items():
        if f"/{federation.label}/" in name and "/part-" in name:
            tag = message_tag(name)
            sizes[tag] = sizes.get(tag, 0) + len(data)
    return sizes


def epochs_of(federation: Federation, name: str = "host") -> list[str]:
    """The epochs in a party's workspace that have a document."""
    names = federation.objects(federation.files(name))
    return sorted(
        path.split("/")[-2] for path in names if path.startswith("psi-cache/") and path.endswith("epoch.json")
    )


def tables_of(guest: list[str], host: list[str]) -> dict[str, pa.Table]:
    return {"guest": staged(guest, label=True), "host": staged(host)}


HOST = names(20, 320)
TABLES = tables_of(names(0, 40), HOST)


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


def test_blinded_values_of_two_queries_share_nothing_and_tags_are_the_same():
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


def test_the_guest_can_keep_its_other_rows_and_the_result_to_itself():
    federation = Federation()
    results = query(federation, TABLES, join="left", result="guest")
    assert (results["guest"].rows, results["guest"].unmatched_rows) == (20, 20)
    assert (results["host"].rows, "matched" in sent(federation)) == (None, False)


# ---- when an epoch ends ----------------------------------------------------------------------------------------------


def test_an_expired_epoch_is_replaced_and_leaves_nothing(clock: list[int]):
    federation = Federation()
    query(federation, TABLES)
    first = epochs_of(federation)
    clock[0] += 30 * DAY - 1
    query(federation.next_run("second"), TABLES)
    assert epochs_of(federation) == first
    clock[0] += 1
    query(federation.next_run("third"), TABLES)
    assert len(epochs_of(federation)) == 1
    for name in ("host", "guest"):
        assert epochs_of(federation, name) != first
        assert not [path for path in federation.objects(federation.files(name)) if first[0] in path]


def test_a_policy_that_became_shorter_ends_epochs_at_once(clock: list[int]):
    federation = Federation()
    query(federation, TABLES)
    first = epochs_of(federation)
    clock[0] += 5 * DAY
    query(federation.next_run("second", policy={"host": {"cache_days": 5}}), TABLES)
    assert len(epochs_of(federation)) == 1
    assert epochs_of(federation) != first


@pytest.mark.parametrize(
    "changed", [staged(names(20, 321)), staged(names(21, 321)), staged(HOST, columns={"x.b": [0.0] * 300})]
)
def test_an_epoch_of_another_table_is_replaced(changed: pa.Table):
    federation = Federation()
    query(federation, TABLES)
    first = epochs_of(federation)
    second = federation.next_run("second")
    tables = {**TABLES, "host": changed}
    assert_intersection(second, query(second, tables), tables)
    assert len(epochs_of(federation)) == 1
    assert epochs_of(federation) != first
    assert "tags" in sent(second)


def test_a_guest_that_lost_its_copy_gets_the_tags_again():
    federation = Federation()
    query(federation, TABLES)
    store = federation.files("guest").open()
    for name, _ in store.list("psi-cache"):
        store.delete(name)
    second = federation.next_run("second")
    assert_intersection(second, query(second, TABLES), TABLES)
    assert "tags" in sent(second)
    assert len(epochs_of(federation)) == 1


def test_a_guest_that_loses_its_copy_within_a_run_says_so():
    federation = Federation()
    query(federation, TABLES)
    second = federation.next_run("second")
    for name in ("host", "guest"):
        with pytest.raises(NotReady):
            half(TABLES[name], options())(second.run(name, "psi", patience=0))
    store = federation.files("guest").open()
    for name, _ in store.list("psi-cache"):
        store.delete(name)
    with pytest.raises(StoreError, match="which we said to hold, are not there any more"):
        half(TABLES["guest"], options())(second.run("guest", "psi", patience=0))


def test_a_part_limit_that_would_make_too_many_parts_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rsa_cached, "MAX_PARTS", 3)
    with pytest.raises(Mismatch, match="A query of 40 ids would take 4 parts"):
        query(Federation(), TABLES, 16)


def test_a_run_whose_epoch_was_dropped_says_so():
    federation = Federation()
    with pytest.raises(NotReady):
        half(TABLES["host"], options())(federation.run("host", "psi", patience=0))
    store = federation.files("host").open()
    for name, _ in store.list("psi-cache"):
        store.delete(name)
    with pytest.raises(StoreError, match="is not there any more"):
        half(TABLES["host"], options())(federation.run("host", "psi", patience=0))


@pytest.mark.parametrize("role", ["guest", "host"])
def test_a_party_with_another_identity_key_gets_another_epoch(role: str):
    federation = Federation()
    query(federation, TABLES)
    place = rsa_epochs.Workspace(federation.files("host"), _home(federation, "host"))
    begun = place.read_json("begun.json")
    federation.files("host").open().replace(place.name("begun.json"), json.dumps({**begun, role: "00" * 32}).encode())
    first = epochs_of(federation)
    query(federation.next_run("second"), TABLES)
    assert len(epochs_of(federation)) == 1
    assert epochs_of(federation) != first


def _home(federation: Federation, name: str) -> str:
    (path,) = [
        p for p in federation.objects(federation.files(name)) if p.startswith("psi-cache/") and p.endswith("epoch.json")
    ]
    return path.rpartition("/")[0]


# ---- what a host limits ----------------------------------------------------------------------------------------------


def test_ids_of_a_day_are_limited_over_all_runs_and_a_resumed_run_is_counted_once(clock: list[int]):
    federation = Federation(policy={"host": {"max_cached_ids_per_day": 100}})
    query(federation, TABLES)
    second = federation.next_run("second")
    host, guest = (half(TABLES[name], options()) for name in ("host", "guest"))
    ended = 0
    for _ in range(4):  # stopped and resumed at every wait, the same 40 ids
        for name, role in (("host", host), ("guest", guest)):
            try:
                role(second.run(name, "psi", patience=0))
            except NotReady:
                ended += 1
    assert ended >= 3
    third = federation.next_run("third")
    with pytest.raises(PolicyRefused, match=r"40 more ids signed, 120 on 2027-01-15 .* max_cached_ids_per_day is 100"):
        query(third, TABLES)
    assert "signed" not in sent(third)
    few = tables_of(names(20, 40), HOST)
    query(federation.next_run("fourth"), few)
    with pytest.raises(PolicyRefused):
        query(federation.next_run("fifth"), tables_of(names(20, 21), HOST))
    clock[0] += DAY
    assert_intersection(third, query(third, TABLES), TABLES)


def test_dummies_are_counted_since_a_guest_could_put_ids_in_their_place():
    federation = Federation(policy={"host": {"max_cached_ids_per_day": 47}})
    with pytest.raises(PolicyRefused, match="48 more ids"):
        query(federation, tables_of(names(0, 24), HOST), bucket_rows=16)


def test_a_host_refuses_more_ids_at_once_than_its_policy_allows():
    federation = Federation(policy={"host": {"max_peer_rows": 39}})
    with pytest.raises(PolicyRefused, match="guest brings 40 ids; this party's limit max_peer_rows is 39"):
        query(federation, TABLES)
    assert sent(federation).keys() == {"epoch", "query"}


def test_a_result_below_the_limit_of_either_side_is_refused():
    for name in ("guest", "host"):
        with pytest.raises(PolicyRefused, match="min_intersection is 21"):
            query(Federation(policy={name: {"min_intersection": 21}}), TABLES)


# ---- what is refused -------------------------------------------------------------------------------------------------


def forged(federation: Federation, change: Callable[[dict[str, Any]], Any]) -> FedsparkError:
    """What the guest says to a host that sends a changed document."""

    def host(run: Run) -> None:
        kept = rsa_epochs.for_guest(run, options(), source(TABLES["host"]))
        run.send("epoch", run.roster.guest, {"epoch": change(kept.epoch.to_json()), "part_rows": 100})

    with pytest.raises(FedsparkError) as caught:
        federation.play("psi", {"host": host, "guest": half(TABLES["guest"], options())})
    assert sent(federation).keys() == {"epoch"}
    return caught.value


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("epoch", "00" * 16, "did not prove"),
        ("epoch", "../../x", "malformed"),
        ("salt", "00" * 32, "did not prove"),
        ("salt", "00" * 16, "sizes of name"),
        ("proof", "00" * 256, "proof has 256 bytes"),
        ("proof", "00" * 2048, "refused"),
        ("key", {"kind": "rsa", "bits": "2048", "n": "7"}, "refused"),
        ("buckets", 3, "numbers of rows"),
        ("buckets_per_part", 2, "numbers of rows"),
        ("rows", -1, "numbers of rows"),
        ("rows", True, "fields or their types"),
        ("padded", 299, "sizes of buckets"),
        ("tags", 7, "malformed"),
    ],
)
def test_a_document_that_was_tampered_with_is_refused_before_anything_is_sent(field: str, value: Any, rule: str):
    error = forged(Federation(), lambda document: {**document, field: value})
    assert isinstance(error, Mismatch)
    assert rule in error.message


def test_a_document_without_a_field_or_that_is_none_is_refused():
    for change in (lambda d: {k: v for k, v in d.items() if k != "tags"}, lambda d: {**d, "more": 1}, lambda d: [d]):
        assert "malformed" in forged(Federation(), change).message


def test_the_document_of_another_pair_is_refused():
    federation, other = Federation(), Federation(seed="other parties")
    query(other, TABLES)
    path = _home(other, "host")
    document = json.loads(other.files("host").open().read(f"{path}/epoch.json"))
    assert "did not prove" in forged(federation, lambda _: document).message


def test_an_epoch_that_changes_under_its_name_is_refused():
    federation = Federation()
    query(federation, TABLES)
    error = forged(federation.next_run("second"), lambda document: {**document, "expires": document["expires"] + 1})
    assert "with other content than in an earlier run" in error.message


def test_tags_that_are_not_those_of_the_document_are_not_kept():
    federation = Federation()

    def host(run: Run) -> None:
        kept = rsa_epochs.for_guest(run, options(), source(TABLES["host"]))
        document = {**kept.epoch.to_json(), "tags": "00" * 32}
        run.send("epoch", run.roster.guest, {"epoch": document, "part_rows": 65536})
        run.send("tags", run.roster.guest, kept.tags.read(0))

    with pytest.raises(Mismatch, match="are not those of its epoch"):
        federation.play("psi", {"host": host, "guest": half(TABLES["guest"], options())})
    assert not [name for name in federation.objects(federation.files("guest")) if name.startswith("psi-cache/")]


@pytest.mark.parametrize(
    ("places", "rule"),
    [
        ([0, 1, 2, 3], "not in digest order"),
        ([10**9], "outside the epoch"),
        ([-1, 5], "after one that says -1"),
        (None, "announced"),
    ],
)
def test_places_that_make_no_sense_are_refused(monkeypatch: pytest.MonkeyPatch, places: list[int] | None, rule: str):
    original = rsa_cached.pack_places

    def pack_places(found: Any, count: int) -> bytes:
        if places is None:
            return original(found[1:], count)
        filled = np.full(count, -1, ">i8")
        filled[: len(places)] = places
        return pack_values("matched", filled.view(np.uint8).reshape(count, 8))

    monkeypatch.setattr(rsa_cached, "pack_places", pack_places)
    with pytest.raises((PeerError, Mismatch), match=rule):
        query(Federation(), TABLES)


def test_a_place_of_a_dummy_is_refused(monkeypatch: pytest.MonkeyPatch):
    def tell_part(telling: Any, outgoing: Any, part: int) -> Any:
        run = federation.run("host", "psi")
        name = run.once("psi/epoch", lambda: None)["name"]
        order = rsa_epochs.part_files(run.aside(f"{HOME}/{name}", name, b"").at("epoch"), "order")
        rows = order.read(0).read(0)["row"].to_numpy()
        wrong = np.array([int(np.flatnonzero(rows < 0)[0])])
        return outgoing.write(part, rsa_cached.pack_places(wrong, telling.plan.values_per_part("guest"))), None

    monkeypatch.setattr(rsa_cached, "tell_part", tell_part)
    federation = Federation()
    with pytest.raises(PeerError, match="marks 1 dummies"):
        query(federation, tables_of(names(20, 22), names(0, 24)), bucket_rows=16)


HOME = "psi-cache/test/test/people/guest"


def test_another_table_under_a_run_that_has_begun_is_refused():
    federation = Federation()
    for name in ("host", "guest"):
        with pytest.raises(NotReady):
            half(TABLES[name], options())(federation.run(name, "psi", patience=0))
        with pytest.raises(TableError, match="not the one that this run began with"):
            half(staged(names(0, 7), label=True), options())(federation.run(name, "psi", patience=0))


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
    view = host.aside(_home(federation, "host"), kept.epoch.name, b"")
    seed = view.read_secret("seed.sealed")
    salt = kept.epoch.plan.salt
    for data in federation.objects(federation.exchange).values():
        assert not any(secret in data for secret in (b"person-", salt, salt.hex().encode(), seed))
    for data in federation.objects(federation.files("host")).values():
        assert seed not in data
    assert not any(word in repr(kept) for word in (seed.hex(), str(kept.key.p), repr(salt)))
