"""An epoch serves one guest, one table and its time, and as many ids a day as its host allows; forgeries fail."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fedspark.errors import FedsparkError, Mismatch, NotReady, PeerError, PolicyRefused, StoreError, TableError
from fedspark.exchange.columns import pack_values
from fedspark.psi import rsa_cached, rsa_epochs
from fedspark.psi.daily_limit import count_ids
from fedspark.run import Run
from tests.federation import Federation
from tests.psi.kept import HOST, TABLES, epochs_of, half, home_of, options, query, sent, tables_of
from tests.psi.people import assert_intersection, names, source, staged

pytestmark = pytest.mark.usefixtures("clock")

DAY = 86_400


# ---- when an epoch ends ----------------------------------------------------------------------------------------------


def test_an_expired_epoch_is_replaced_and_leaves_nothing_once_no_run_can_still_use_it(clock: list[int]):
    federation = Federation()
    query(federation, TABLES)
    first = epochs_of(federation)
    clock[0] += 30 * DAY - 1
    query(federation.next_run("second"), TABLES)
    assert epochs_of(federation) == first
    clock[0] += 1
    query(federation.next_run("third"), TABLES)
    for name in ("host", "guest"):
        assert len(epochs_of(federation, name)) == 2
    clock[0] += 3 * DAY - 1
    query(federation.next_run("fourth"), TABLES)
    assert len(epochs_of(federation)) == 2
    clock[0] += 30 * DAY + 1
    query(federation.next_run("fifth"), TABLES)
    for name in ("host", "guest"):
        assert not [path for path in federation.objects(federation.files(name)) if first[0] in path]


def test_a_run_that_began_with_an_epoch_ends_with_it_although_another_run_replaced_it():
    federation = Federation()
    query(federation, TABLES)
    second = federation.next_run("second")
    for name in ("host", "guest"):
        with pytest.raises(NotReady):
            half(TABLES[name], options())(second.run(name, "psi", patience=0))
    query(federation.next_run("third"), tables_of(names(0, 40), names(20, 321)))
    assert len(epochs_of(federation)) == 2
    assert_intersection(second, query(second, TABLES), TABLES)


def test_an_epoch_of_a_table_that_is_as_it_was_again_serves_again(clock: list[int]):
    federation = Federation()
    query(federation, TABLES)
    first = epochs_of(federation)
    query(federation.next_run("second"), tables_of(names(0, 40), names(20, 321)))
    query(federation.next_run("third"), TABLES)
    clock[0] += 4 * DAY
    query(federation.next_run("fourth"), TABLES)
    assert set(first) <= set(epochs_of(federation))
    assert len(epochs_of(federation)) == 1


@pytest.mark.parametrize("other", [{"bucket_rows": 16}, {"key_bits": 3072}])
def test_an_epoch_of_other_sizes_is_replaced(other: dict[str, Any]):
    federation, tables = Federation(), tables_of(names(0, 8), names(4, 30))
    query(federation, tables)
    second = federation.next_run("second")
    assert_intersection(second, query(second, tables, **other), tables)
    assert len(epochs_of(federation)) == 2
    assert "tags" in sent(second)


def test_an_epoch_of_another_protocol_version_is_replaced(monkeypatch: pytest.MonkeyPatch):
    federation = Federation()
    monkeypatch.setattr(rsa_epochs, "PROTOCOL_VERSION", "1")
    query(federation, TABLES)
    monkeypatch.undo()
    second = federation.next_run("second")
    assert_intersection(second, query(second, TABLES), TABLES)
    assert len(epochs_of(federation)) == 2
    assert "tags" in sent(second)


def test_a_policy_that_became_shorter_ends_epochs_at_once(clock: list[int]):
    federation = Federation()
    query(federation, TABLES)
    first = epochs_of(federation)
    clock[0] += 5 * DAY
    query(federation.next_run("second", policy={"host": {"cache_days": 5}}), TABLES)
    assert len(set(epochs_of(federation)) - set(first)) == 1


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
    assert len(set(epochs_of(federation)) - set(first)) == 1
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
    first = epochs_of(federation)
    second = federation.next_run("second", new_key_of=role)
    assert_intersection(second, query(second, TABLES), TABLES)
    assert len(set(epochs_of(federation)) - set(first)) == 1


def test_an_epoch_that_is_dropped_while_it_is_made_is_not_finished(monkeypatch: pytest.MonkeyPatch):
    federation, original = Federation(), rsa_epochs.store_part

    def store_part(storing: Any, part: int) -> str:
        digest = original(storing, part)
        storing.tags.workspace.remove("")
        return digest

    monkeypatch.setattr(rsa_epochs, "store_part", store_part)
    with pytest.raises(StoreError, match="is not there any more"):
        half(TABLES["host"], options())(federation.run("host", "psi", patience=0))
    assert epochs_of(federation) == []


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


def test_ids_are_counted_over_tables_and_steps_and_for_each_guest_apart():
    federation = Federation(policy={"host": {"max_cached_ids_per_day": 100}})
    guest = federation.roster.guest
    count_ids(federation.run("host", "psi"), guest, 60)
    with pytest.raises(PolicyRefused, match="120 on"):
        count_ids(federation.run("host", "predict"), guest, 60)
    another = dataclasses.replace(guest, identity=bytes(32))
    count_ids(federation.next_run("second").run("host", "psi"), another, 60)


def test_dummies_are_counted_since_a_guest_could_put_ids_in_their_place():
    federation = Federation(policy={"host": {"max_cached_ids_per_day": 47}})
    with pytest.raises(PolicyRefused, match="48 more ids"):
        query(federation, tables_of(names(0, 24), HOST), bucket_rows=16)


def test_a_host_refuses_more_ids_at_once_than_its_policy_allows():
    federation = Federation(policy={"host": {"max_peer_rows": 39}})
    with pytest.raises(PolicyRefused, match="guest brings 40 ids; this party's limit max_peer_rows is 39"):
        query(federation, TABLES)
    assert sent(federation).keys() == {"epoch", "query"}


def test_a_guest_refuses_a_larger_table_than_its_policy_allows_before_it_sends_anything():
    federation = Federation(policy={"guest": {"max_peer_rows": 299}})
    with pytest.raises(PolicyRefused, match="host brings 300 ids; this party's limit max_peer_rows is 299"):
        query(federation, TABLES)
    assert sent(federation).keys() == {"epoch"}


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
    path = home_of(other, "host")
    document = json.loads(other.files("host").open().read(f"{path}/epoch.json"))
    assert "did not prove" in forged(federation, lambda _: document).message


@pytest.mark.parametrize("other", ["table", "project", "pipeline"])
def test_the_document_of_another_table_or_pipeline_of_the_same_pair_is_refused(other: str):
    federation = Federation()
    run = federation.next_run("other").run("host", "psi")
    settings = options()
    if other == "table":
        settings = settings.model_copy(update={"table": "others"})
    else:
        run = dataclasses.replace(run, pipeline=run.pipeline.model_copy(update={other: "other"}))
    document = rsa_epochs.for_guest(run, settings, source(TABLES["host"])).epoch.to_json()
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
    def tell_part(context: Any, outgoing: Any, part: int) -> Any:
        run = federation.run("host", "psi")
        name = run.once("psi/epoch", lambda: None)["name"]
        order = rsa_epochs.part_files(run.aside(f"{HOME}/{name}", name, b"").at("epoch"), "order")
        rows = order.read(0).read(0)["row"].to_numpy()
        wrong = np.array([int(np.flatnonzero(rows < 0)[0])])
        return outgoing.write(part, rsa_cached.pack_places(wrong, context[0].plan.values_per_part("guest"))), None

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
