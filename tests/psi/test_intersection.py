"""The whole intersection by every protocol, all parties as threads, against Python sets."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedspark.buckets import InProcessRunner
from fedspark.crypto.randomness import Stream
from fedspark.errors import NotReady
from fedspark.exchange.columns import unpack_values
from fedspark.exchange.inbox import State
from fedspark.psi.align import Alignment
from tests.federation import Federation
from tests.psi.people import assert_intersection, intersect, message_tag, names, options, role_of, source, staged

TAG_BYTES = {"rsa": 12, "ecdh": 12, "ot": 7}
NONE_IS_ENOUGH = {name: {"min_intersection": 0} for name in ("guest", "host")}
UNICODE = ["Zoë", "日本", "🙂", "a b", "ß", "-", "0"]
# Composite keys as staging writes them: parts joined by an escaped separator.
COMPOSITE = [f"bank\\|{number % 3}|{number}" for number in range(40)]


@pytest.mark.parametrize(
    ("guest", "host"),
    [
        pytest.param(names(0, 40), names(20, 70), id="some overlap"),
        pytest.param(names(0, 5), names(3, 253), id="one to fifty"),
        pytest.param(names(100, 300), names(297, 301), id="fifty to one"),
        pytest.param(names(0, 30), names(30, 60), id="no overlap"),
        pytest.param(names(0, 30), list(reversed(names(0, 30))), id="all overlap"),
        pytest.param([], names(0, 20), id="guest empty"),
        pytest.param(names(0, 20), [], id="host empty"),
        pytest.param([], [], id="both empty"),
        pytest.param(UNICODE + names(0, 9), names(5, 12) + UNICODE[2:], id="unicode"),
        pytest.param(COMPOSITE[:30], COMPOSITE[10:], id="composite"),
        pytest.param(["7"], ["7"], id="one person"),
        pytest.param(["a" * n for n in range(1, 60)], ["a" * n for n in range(30, 90)], id="skewed"),
    ],
)
def test_both_sides_keep_the_common_people_in_one_order(guest: list[str], host: list[str], protocol: str):
    federation = Federation(policy=NONE_IS_ENOUGH)
    tables = {"guest": staged(guest, label=True), "host": staged(host)}
    assert_intersection(federation, intersect(federation, tables, protocol=protocol), tables)


@pytest.mark.parametrize("rows", [15, 16, 17, 32, 33, 100])
def test_sizes_around_the_bucket_limit_give_the_same_people(rows: int, protocol: str):
    federation = Federation()
    tables = {"guest": staged(names(0, rows), label=True), "host": staged(names(rows // 2, rows // 2 + 25))}
    results = intersect(federation, tables, 16, protocol)
    assert results["guest"].parts == {15: 2, 16: 2, 17: 2, 32: 2, 33: 4, 100: 8}[rows]
    assert_intersection(federation, results, tables)


def test_ids_that_are_numbers_on_one_side_and_text_on_the_other_meet_by_their_keys(protocol: str):
    federation = Federation()
    people = [str(number) for number in range(30)]
    numbers = staged(people[10:]).set_column(1, "id.pid", pa.array(range(10, 30), pa.int64()))
    tables = {"guest": staged(people[:20], label=True), "host": numbers}
    assert_intersection(federation, intersect(federation, tables, protocol=protocol), tables)


def test_three_parties_keep_what_all_of_them_have(protocol: str):
    federation = Federation(hosts=2)
    tables = {
        "guest": staged(names(0, 60), label=True),
        "host1": staged(names(20, 80)),
        "host2": staged(names(0, 100)[::3]),
    }
    results = intersect(federation, tables, 32, protocol)
    assert results["host2"].parts == 2
    assert_intersection(federation, results, tables)


@settings(max_examples=8, deadline=None)
@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)), st.sampled_from([8, 64]))
def test_any_two_sets_meet_in_their_intersection(protocol: str, guest: set[int], host: set[int], bucket_rows: int):
    federation = Federation(policy=NONE_IS_ENOUGH)
    tables = {
        "guest": staged([str(n) for n in guest], label=True),
        "host": staged([str(n) for n in host]),
    }
    assert_intersection(federation, intersect(federation, tables, bucket_rows, protocol), tables)


# ---- a task can run twice, a process can die -------------------------------------------------------------------------

TABLES = {"guest": staged(names(0, 40), label=True), "host": staged(names(20, 70))}


class TwiceRunner(InProcessRunner):
    """Runs every part task twice, last part first, as retries and speculation do, after a journey through pickle."""

    def run(self, function: Any, parts: range, context: Any, on_done: Callable[[int], None]) -> list[Any]:
        results = {}
        for part in (*reversed(parts), *parts):
            task, carried = pickle.loads(pickle.dumps((function, context)))
            result = task(carried, part)
            assert results.setdefault(part, result) == result
        return [results[part] for part in parts]


def everything(federation: Federation) -> list[dict[str, bytes]]:
    stores = [federation.exchange, *(federation.files(party.name) for party in federation.roster)]
    return [federation.objects(store) for store in stores]


def test_tasks_that_run_twice_and_in_any_order_leave_equal_bytes(protocol: str):
    once, twice = Federation(), Federation(runner=TwiceRunner)
    intersect(once, TABLES, 16, protocol)
    intersect(twice, TABLES, 16, protocol)
    assert everything(once) == everything(twice)


def test_parties_that_end_at_every_wait_and_come_back_leave_equal_bytes(protocol: str):
    unbroken, broken = Federation(), Federation()
    intersect(unbroken, TABLES, 32, protocol)
    results: dict[str, Alignment] = {}
    ends = 0
    while len(results) < 2:
        for name, table in TABLES.items():
            run = broken.run(name, "psi", patience=0)
            try:
                results[name] = role_of(run, protocol)(run, options(32, protocol), source(table))
            except NotReady:
                ends += 1
    assert ends >= 4
    assert everything(unbroken) == everything(broken)
    assert Alignment.of(broken.run("host", "psi")) == results["host"]


def test_what_was_read_is_removed_and_its_manifest_says_what_it_was(protocol: str):
    kept, removed = Federation(), Federation(keep_messages=False)
    results = [intersect(federation, TABLES, 16, protocol) for federation in (kept, removed)]
    assert results[0] == results[1]
    assert_intersection(removed, results[1], TABLES)
    all_of_them, left = ({m.address: m for m in f.run("guest").mailbox.messages()} for f in (kept, removed))
    assert {a: (m.bytes, m.parts) for a, m in all_of_them.items()} == {a: (m.bytes, m.parts) for a, m in left.items()}
    per_row = {"blinded", "table", "tags", "signed", "evaluated"}
    for address, message in left.items():
        assert (message.state is State.REMOVED) == (address.tag in per_row)
    parts = [name for name in removed.objects(removed.exchange) if "/part-" in name and message_tag(name) in per_row]
    assert parts == []
    for name in TABLES:
        private = removed.objects(removed.files(name))
        assert {path.split("/psi/psi/")[1].split("/")[0] for path in private if "/part-" in path} == {"aligned"}


def test_another_run_shares_no_tag_and_no_blinded_value(protocol: str):
    tag, values, width = {"rsa": ("blinded", 40, 256), "ecdh": ("blinded", 40, 32), "ot": ("table", 1510, 36)}[protocol]
    opened: list[dict[str, set[bytes]]] = []
    for seed in ("one", "two"):
        federation = Federation(seed=seed)
        intersect(federation, TABLES, protocol=protocol)
        guest, host = federation.run("guest", "psi"), federation.run("host", "psi")
        tags = unpack_values(guest.receive("tags", guest.roster["host"]).read(0), "tags", 50, TAG_BYTES[protocol])
        blinded = unpack_values(host.receive(tag, host.roster.guest).read(0), tag, values, width)
        opened.append({"tags": {row.tobytes() for row in tags}, "blinded": {row.tobytes() for row in blinded}})
        assert (len(opened[-1]["tags"]), len(opened[-1]["blinded"])) == (50, values)
    assert not opened[0]["tags"] & opened[1]["tags"]
    assert not opened[0]["blinded"] & opened[1]["blinded"]


def test_no_random_stream_serves_two_purposes(monkeypatch: pytest.MonkeyPatch, protocol: str):
    uses: dict[bytes, list[str]] = {}
    original = Stream.__init__

    def recorded(self: Stream, key: bytes) -> None:
        uses.setdefault(key, []).append(sys._getframe(1).f_code.co_name)
        original(self, key)

    monkeypatch.setattr(Stream, "__init__", recorded)
    federation = Federation(hosts=2)
    tables = {
        "guest": staged(names(0, 60), label=True),
        "host1": staged(names(20, 80)),
        "host2": staged(names(0, 100)),
    }
    intersect(federation, tables, 16, protocol)
    # A guest may draw its blinds again to take them off: the same content under the same label, and nothing else.
    blinds, others = {
        "rsa": ("draw_blinds", {"blind_bucket", "unblind_bucket", "sort_tags", "stream"}),
        "ecdh": ("draw_blind", {"with_dummies", "sort_tags", "stream"}),
        "ot": (None, {"start", "answer", "seal"}),
    }[protocol]
    twice = {key: places for key, places in uses.items() if len(places) > 1}
    assert all(places == [blinds, blinds] for places in twice.values())
    assert len(twice) == (2 * 8 if blinds else 0)
    assert {places[0] for places in uses.values()} == others | ({blinds} if blinds else set())


def test_nothing_in_the_exchange_shows_an_id_or_a_value(protocol: str):
    federation = Federation()
    intersect(federation, TABLES, protocol=protocol)
    needle = b"person-"
    assert any(needle in data for data in federation.objects(federation.files("guest")).values())
    for data in federation.objects(federation.exchange).values():
        assert needle not in data


def test_bucket_counts_do_not_show_in_the_size_of_any_part(protocol: str):
    federation = Federation()
    intersect(federation, TABLES, 16, protocol)
    sizes: dict[str, set[int]] = {}
    for name, data in federation.objects(federation.exchange).items():
        if "/part-" in name:
            sizes.setdefault(name.rpartition("/")[0], set()).add(len(data))
    assert {folder: len(lengths) for folder, lengths in sizes.items()} == dict.fromkeys(sizes, 1)
