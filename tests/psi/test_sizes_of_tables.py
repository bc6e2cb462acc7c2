"""Tables of every size, alone and against each other: the people that Python's sets have in common."""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedspark.errors import CryptoError, Mismatch, TableError
from fedspark.psi import ot, sizes
from fedspark.psi.align import Alignment, PartFiles, Source
from fedspark.psi.sizes import Plan
from fedspark.run import Run
from tests.federation import Federation
from tests.psi.dishonest import people_of, remember_set_ups
from tests.psi.people import assert_intersection, intersect, module_of, names, options, role_of, source, staged

NONE_IS_ENOUGH = {name: {"min_intersection": 0} for name in ("guest", "host")}
LIMIT = 8


@pytest.fixture(autouse=True)
def set_ups(monkeypatch: pytest.MonkeyPatch) -> None:
    remember_set_ups(monkeypatch)


# ---- sizes around the limit of a bucket, on both sides ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("guest", "host"),
    [(0, 9), (9, 0), (1, 8), (8, 1), (1, 9), (7, 8), (8, 7), (8, 8), (8, 9), (9, 7), (9, 9), (0, 1), (1, 1)],
)
def test_sizes_around_the_bucket_limit_meet_in_the_common_people(protocol: str, guest: int, host: int):
    federation = Federation(policy=NONE_IS_ENOUGH)
    tables = {"guest": staged(names(0, guest), label=True), "host": staged(names(3, 3 + host))}
    results = intersect(federation, tables, LIMIT, protocol)
    assert results["host"].parts == (2 if max(guest, host) > LIMIT else 1)
    assert_intersection(federation, results, tables)


# ---- a thousand to one -----------------------------------------------------------------------------------------------

FEW_AND_MANY = {"rsa": (1, 1000, 250), "ecdh": (3, 3000, 375), "ot": (3, 3000, 375)}
"""By protocol: ids of the small and of the large table, rows of a bucket."""


@pytest.mark.parametrize("small", ["guest", "host"])
def test_a_few_people_find_each_other_among_a_thousand_times_as_many(protocol: str, small: str):
    few, many, bucket_rows = FEW_AND_MANY[protocol]
    federation = Federation()
    mine = [*names(many // 2, many // 2 + few - 1), "nobody", *names(many - 1, many)][-few:]
    sides = {"guest": mine, "host": names(0, many)} if small == "guest" else {"guest": names(0, many), "host": mine}
    tables = {name: staged(ids, label=name == "guest") for name, ids in sides.items()}
    results = intersect(federation, tables, bucket_rows, protocol)
    assert results["guest"].parts * results["guest"].buckets_per_part >= 4
    assert_intersection(federation, results, tables)


# ---- any ids, any buckets, any waves ---------------------------------------------------------------------------------

SKEWED = st.one_of(
    st.integers(0, 30).map("person-{:020d}".format),  # numbers with one long front
    st.integers(1, 40).map("a".__mul__),  # each the front of the next
    st.text(min_size=1, max_size=3, alphabet="aA 0é日🙂\\|"),
    st.text(min_size=1, max_size=4, alphabet=st.characters(exclude_categories=["Cs"])),
)
OWNERS = st.sampled_from([("guest",), ("host1",), ("host2",), ("guest", "host1"), ("guest", "host1", "host2")])
SHAPES = st.tuples(st.sampled_from([2, 3, 8]), st.sampled_from([1, 2, 16]), st.integers(1, 3))
EXAMPLES = {"rsa": 4, "ecdh": 15, "ot": 6}


def test_any_tables_of_three_parties_in_any_buckets_and_waves_meet_in_their_intersection(protocol: str):
    @settings(max_examples=EXAMPLES[protocol], deadline=None)
    @given(st.dictionaries(SKEWED, OWNERS, max_size=40), SHAPES)
    def check(people: dict[str, tuple[str, ...]], shape: tuple[int, int, int]) -> None:
        bucket_rows, together, wave_parts = shape
        tables = {
            name: staged([key for key, owners in people.items() if name in owners], label=name == "guest")
            for name in ("guest", "host1", "host2")
        }
        federation = Federation(hosts=2, policy={name: {"min_intersection": 0} for name in tables})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ot, "BUCKETS_PER_PART", together)
            patch.setattr(sizes, "WAVE_PARTS", wave_parts)
            assert_intersection(federation, intersect(federation, tables, bucket_rows, protocol), tables)

    check()


# ---- peers that count otherwise --------------------------------------------------------------------------------------

TABLES = {"guest": staged(names(0, 40), label=True), "host": staged(names(10, 60))}


def half(name: str, protocol: str, bucket_rows: int) -> Callable[[Run], Alignment]:
    return lambda run: role_of(run, protocol)(run, options(bucket_rows, protocol), source(TABLES[name]))


def test_of_two_bucket_sizes_the_smaller_one_holds_for_both(protocol: str):
    federation = Federation()
    results = federation.play("psi", {"guest": half("guest", protocol, 16), "host": half("host", protocol, 32)})
    assert results["guest"].parts * results["guest"].buckets_per_part == 4
    assert_intersection(federation, results, TABLES)


@pytest.mark.parametrize("other", ["guest", "host"])
def test_a_peer_with_other_waves_is_refused(monkeypatch: pytest.MonkeyPatch, protocol: str, other: str):
    original = Plan.waves

    def waves(plan: Plan) -> list[sizes.Wave]:
        every = original.fget(plan)  # type: ignore[attr-defined]
        if threading.current_thread().name != other:
            return list(every)
        return [sizes.Wave(0, 1, range(plan.parts))]

    monkeypatch.setattr(Plan, "waves", property(waves))
    results, errors = Federation().play_out("psi", {name: half(name, protocol, 16) for name in TABLES})
    assert results == {}
    error = next(iter(errors.values()))
    assert isinstance(error, Mismatch)
    assert re.search("has [0-9] parts, and [0-9] were agreed", error.message)


def announced(rows: int, protocol: str) -> Callable[[Run], Alignment]:
    """A host whose table is said to have so many rows."""
    told = dataclasses.replace(source(TABLES["host"]), rows=rows)
    return lambda run: role_of(run, protocol)(run, options(16, protocol), told)


@pytest.mark.parametrize("rows", [0, 49, 51, 500])
def test_our_own_software_does_not_announce_other_rows_than_there_are(protocol: str, rows: int):
    federation = Federation()
    _, errors = federation.play_out("psi", {"guest": half("guest", protocol, 16), "host": announced(rows, protocol)})
    assert errors.keys() == {"host"}
    assert isinstance(errors["host"], TableError | CryptoError)


def test_a_peer_that_announces_more_rows_than_it_has_sends_dummies_and_nobody_is_added(
    monkeypatch: pytest.MonkeyPatch, protocol: str
):
    module = module_of(protocol)
    original = module.distribute

    def distribute(run: Run, told: Source, plan: Plan) -> PartFiles:
        if run.me.name == "host":
            plan = dataclasses.replace(plan, rows={**plan.rows, "host": TABLES["host"].num_rows})
        return original(run, told, plan)

    monkeypatch.setattr(module, "distribute", distribute)
    federation = Federation()
    results = federation.play("psi", {"guest": half("guest", protocol, 16), "host": announced(120, protocol)})
    kept = people_of(federation, results)
    assert kept["guest"] == kept["host"]
    assert set(kept["guest"]) == set(names(10, 40))
    assert results["guest"].rows_by_party == {"guest": 40, "host": 120}
