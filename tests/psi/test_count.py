"""Counting common people: the number is right, and nothing else is there to learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from fedspark.buckets import SparkRunner
from fedspark.conf import PsiOptions
from fedspark.crypto.curve import Scalar, hash_to_curve, inverse_scalar, multiply
from fedspark.crypto.randomness import Stream
from fedspark.errors import FedsparkError, Mismatch, NotReady, PeerError, PolicyRefused
from fedspark.exchange.columns import Values, pack_values, unpack_values
from fedspark.psi import count, sizes
from fedspark.psi.shuffle import Shuffle
from fedspark.psi.tally import Tally
from fedspark.run import Run
from tests.federation import Federation
from tests.psi.people import message_tag, names, source, staged, tags_sent
from tests.psi.test_intersection import NONE_IS_ENOUGH, TwiceRunner, everything

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

GUEST, HOST = names(0, 40), names(20, 70)


@pytest.fixture(autouse=True)
def waves_of_one_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "WAVE_PARTS", 1)


def asked(bucket_rows: int = 16, **more: Any) -> PsiOptions:
    return PsiOptions(table="people", protocol="ecdh", reveal="count", bucket_rows=bucket_rows, **more)


def half(name: str, table: pa.Table, options: PsiOptions) -> Callable[[Run], Tally]:
    role = count.guest if name == "guest" else count.host
    return lambda run: role(run, options, source(table))


def counted(federation: Federation, guest: list[str], host: list[str], options: PsiOptions) -> Mapping[str, Tally]:
    tables = {"guest": staged(guest, label=True), "host": staged(host)}
    results: dict[str, Tally] = federation.play(
        "psi", {name: half(name, table, options) for name, table in tables.items()}
    )
    return results


def error_of(federation: Federation, **more: Any) -> FedsparkError:
    with pytest.raises(FedsparkError) as caught:
        counted(federation, GUEST, HOST, asked(**more))
    return caught.value


# ---- the number ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bucket_rows", [2, 16, 65536])
@pytest.mark.parametrize(
    ("guest", "host"),
    [
        pytest.param(GUEST, HOST, id="some overlap"),
        pytest.param([], names(0, 20), id="guest empty"),
        pytest.param(names(0, 20), [], id="host empty"),
        pytest.param([], [], id="both empty"),
        pytest.param(["7"], ["7"], id="one person"),
        pytest.param(["7"], ["8"], id="one stranger"),
        pytest.param(names(0, 16), names(0, 16), id="the bucket limit, all overlap"),
        pytest.param(names(0, 17), names(16, 33), id="above the bucket limit"),
        pytest.param(names(0, 2), names(1, 201), id="one to a hundred"),
        pytest.param(names(0, 200), names(199, 201), id="a hundred to one"),
    ],
)
def test_both_sides_learn_the_size_of_the_intersection(guest: list[str], host: list[str], bucket_rows: int):
    results = counted(Federation(policy=NONE_IS_ENOUGH), guest, host, asked(bucket_rows))
    rows = {"guest": len(guest), "host": len(host)}
    for name, mine in rows.items():
        assert results[name] == Tally("people", len(set(guest) & set(host)), mine, rows)


def test_tasks_that_run_twice_and_in_any_order_leave_equal_bytes():
    once, twice = Federation(), Federation(runner=TwiceRunner)
    for federation in (once, twice):
        counted(federation, GUEST, HOST, asked())
    assert everything(once) == everything(twice)


def test_parties_that_end_at_every_wait_and_come_back_leave_equal_bytes():
    unbroken, broken = Federation(), Federation()
    counted(unbroken, GUEST, HOST, asked())
    halves = {"guest": half("guest", staged(GUEST, label=True), asked()), "host": half("host", staged(HOST), asked())}
    results: dict[str, Tally] = {}
    ends = 0
    while len(results) < 2:
        for name, role in halves.items():
            try:
                results[name] = role(broken.run(name, "psi", patience=0))
            except NotReady:
                ends += 1
    assert ends >= 4
    assert {result.rows for result in results.values()} == {20}
    assert everything(unbroken) == everything(broken)


def test_when_all_is_counted_no_part_of_a_message_and_no_file_with_rows_stays():
    federation = Federation(keep_messages=False)
    results = counted(federation, GUEST, HOST, asked())
    assert results["host"].rows == 20
    parts = {name for name in federation.objects(federation.exchange) if "/part-" in name}
    assert {message_tag(name) for name in parts} <= {"size", "nonce", "result"}
    for name in ("guest", "host"):
        assert not [path for path in federation.objects(federation.files(name)) if path.endswith(".parquet")]


@pytest.mark.spark
def test_spark_tasks_and_this_process_leave_equal_bytes(spark: SparkSession, tmp_path: Path):
    here = Federation(base=str(tmp_path / "here"))
    there = Federation(base=str(tmp_path / "there"), runner=lambda: SparkRunner(lambda: spark, 0.05))
    results = [counted(federation, GUEST, HOST, asked(32)) for federation in (here, there)]
    assert results[0] == results[1]
    assert everything(here) == everything(there)


# ---- what there is to learn ------------------------------------------------------------------------------------------


def test_nobody_keeps_rows_and_no_message_marks_people():
    federation = Federation()
    counted(federation, GUEST, HOST, asked())
    assert tags_sent(federation) == {"size", "nonce", "blinded", "tags", "evaluated", "result"}
    for name in ("guest", "host"):
        left = federation.objects(federation.files(name))
        assert not [path for path in left if "aligned" in path or "places" in path or "shuffled" in path]


def messages(federation: Federation, tag: str, receiver: str, sender: str, width: int) -> list[Values]:
    run = federation.run(receiver, "psi")
    received = [run.receive(tag, run.roster[sender])] if tag != "blinded" else []
    if tag == "blinded":
        received = [run.receive(tag, run.roster[sender], round=number, first=number) for number in range(8)]
    firsts = range(len(received)) if tag == "blinded" else [0]
    return [
        unpack_values(message.read(first + part), tag, None, width)
        for first, message in zip(firsts, received, strict=True)
        for part in range(message.parts)
    ]


def test_answers_come_in_an_order_that_says_nothing_about_places():
    federation = Federation()
    counted(federation, GUEST, HOST, asked(8))
    sent = np.concatenate(messages(federation, "blinded", "host", "guest", 32))
    parts = messages(federation, "evaluated", "guest", "host", 32)
    b = Scalar.draw(federation.run("host", "psi").stream("count scalar"))
    in_order = multiply(sent, b)
    answers = np.concatenate(parts)
    assert not np.array_equal(answers, in_order)
    assert {row.tobytes() for row in answers} == {row.tobytes() for row in in_order}
    raw = [row.tobytes() for row in answers]
    assert raw == sorted(raw)
    # Whoever lies in one part of the question is spread over the parts of the answer.
    place = {row.tobytes(): part for part, rows in enumerate(parts) for row in rows}
    per_part = len(sent) // 8
    for part in range(8):
        asked_here = in_order[part * per_part : (part + 1) * per_part]
        assert len({place[row.tobytes()] for row in asked_here}) > 2


def test_tags_carry_neither_bucket_nor_id_so_that_only_points_decide():
    federation = Federation()
    counted(federation, GUEST, HOST, asked(8))
    tags = np.concatenate(messages(federation, "tags", "guest", "host", 12))
    run = federation.run("host", "psi")
    b, context = Scalar.draw(run.stream("count scalar")), count.run_context(run)
    expected = count.nameless_tags(context, multiply(hash_to_curve(HOST, context), b))
    assert [tag.tobytes() for tag in tags] == sorted(tag.tobytes() for tag in expected)


def test_dummies_match_nobody():
    federation = Federation(policy=NONE_IS_ENOUGH)
    results = counted(federation, names(0, 3), names(3, 100), asked(8))
    sent = sum(len(rows) for rows in messages(federation, "blinded", "host", "guest", 32))
    assert sent > 3
    assert results["guest"].rows == 0


def test_another_run_shares_no_tag_and_no_point():
    seen: list[set[bytes]] = []
    for seed in ("one", "two"):
        federation = Federation(seed=seed)
        counted(federation, GUEST, HOST, asked(65536))
        rows = [
            *messages(federation, "tags", "guest", "host", 12),
            *messages(federation, "evaluated", "guest", "host", 32),
        ]
        seen.append({row.tobytes() for part in rows for row in part})
    assert not seen[0] & seen[1]


def test_the_host_is_not_told_when_the_result_is_the_guests():
    federation = Federation()
    results = counted(federation, GUEST, HOST, asked(result="guest"))
    assert (results["guest"].rows, results["host"].rows) == (20, None)
    host = federation.run("host", "psi")
    assert host.receive("result", host.roster.guest).json() == {}


# ---- refusals --------------------------------------------------------------------------------------------------------


def test_a_guest_with_too_few_common_people_refuses_before_it_tells_the_host():
    federation = Federation(policy={"guest": {"min_intersection": 21}})
    assert isinstance(error_of(federation), PolicyRefused)
    assert "result" not in tags_sent(federation)


def test_a_host_with_too_few_common_people_refuses_to_go_on():
    error = error_of(Federation(policy={"host": {"min_intersection": 21}}))
    assert isinstance(error, PolicyRefused)
    assert "min_intersection is 21" in error.message


@pytest.mark.parametrize("told", [{"rows": 41}, {"rows": -1}, {"rows": True}, {}, {"rows": 20, "more": 1}, 20])
def test_a_count_that_no_intersection_has_is_refused(told: Any):
    def lying(run: Run) -> Any:
        original = run.send
        object.__setattr__(
            run, "send", lambda tag, to, payload, **m: original(tag, to, told if tag == "result" else payload, **m)
        )
        return half("guest", staged(GUEST, label=True), asked())(run)

    with pytest.raises(Mismatch, match="which no intersection of these tables has"):
        Federation().play("psi", {"guest": lying, "host": half("host", staged(HOST), asked())})


def test_a_guest_that_asks_for_one_person_many_times_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(count, "with_dummies", lambda key, hashes, padded: np.repeat(hashes[:1], padded, axis=0))
    federation = Federation()
    error = error_of(federation, bucket_rows=65536)
    assert isinstance(error, PeerError)
    assert "'blinded' of guest is refused: 39 of its values are there more than once" in error.message
    assert "evaluated" not in tags_sent(federation)


def test_a_host_that_answers_one_point_many_times_is_refused(monkeypatch: pytest.MonkeyPatch):
    def send_evaluated(context: Any, outgoing: Any, part: int) -> Any:
        answers = context[0].gather(part)
        return outgoing.write(part, pack_values("evaluated", np.repeat(answers[:1], len(answers), axis=0))), None

    monkeypatch.setattr(count, "send_evaluated", send_evaluated)
    federation = Federation()
    error = error_of(federation, bucket_rows=65536)
    assert "'evaluated' of host is refused: 39 of its values" in error.message
    assert "result" not in tags_sent(federation)


@pytest.mark.parametrize(("tag", "left"), [("tags", 49), ("evaluated", 39)])
def test_a_message_with_fewer_values_than_agreed_is_refused(monkeypatch: pytest.MonkeyPatch, tag: str, left: int):
    original = count.pack_values
    monkeypatch.setattr(count, "pack_values", lambda name, v: original(name, v[1:] if name == tag else v))
    error = error_of(Federation(), bucket_rows=65536)
    assert isinstance(error, Mismatch)
    assert f"'{tag}' of host has {left} values, and {left + 1} were agreed" in error.message


def test_tags_that_do_not_ascend_are_refused(monkeypatch: pytest.MonkeyPatch):
    original = count.pack_values
    monkeypatch.setattr(count, "pack_values", lambda name, v: original(name, v[::-1] if name == "tags" else v))
    assert "do not ascend" in error_of(Federation()).message


@pytest.mark.parametrize("tag", ["blinded", "evaluated"])
def test_a_value_that_is_no_point_is_refused(monkeypatch: pytest.MonkeyPatch, tag: str):
    original = count.pack_values

    def pack(name: str, values: Values) -> bytes:
        return original(name, np.zeros_like(values) if name == tag else values)

    monkeypatch.setattr(count, "pack_values", pack)
    federation = Federation()
    error = error_of(federation)
    assert isinstance(error, PeerError)
    assert f"'{tag}' of" in error.message
    assert "not on Curve25519" in error.message
    assert "result" not in tags_sent(federation)


# ---- the shuffle -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [12, 32])
@pytest.mark.parametrize("parts", [1, 3, 8])
def test_a_shuffle_keeps_every_value_once_in_ascending_order(parts: int, width: int):
    run = Federation().run("host", "psi")
    shuffle = Shuffle(run.workspace, "shuffled", parts, width)
    values = np.frombuffer(Stream(bytes(32)).bytes(width * 200), np.uint8).reshape(-1, width).copy()
    values[::7, -3:] = 0  # trailing zeros are part of a value
    cuts = np.array_split(values, parts)
    assert [shuffle.scatter(part, cut) for part, cut in enumerate(cuts)] == [len(cut) for cut in cuts]
    ordered = [row.tobytes() for part in range(parts) for row in shuffle.gather(part)]
    assert ordered == sorted(row.tobytes() for row in values)
    shuffle.remove()
    assert not run.workspace.store.list(run.workspace.name("shuffled"))


def test_nothing_that_a_task_carries_shows_a_scalar():
    a = Scalar.draw_invertible(Stream(bytes(32)))
    carried = [
        count.Blinding(None, a),  # type: ignore[arg-type]
        count.Tagging(None, a, None),  # type: ignore[arg-type]
        count.Evaluating(None, a, None, None),  # type: ignore[arg-type]
        count.Unblinding(None, a, None, None),  # type: ignore[arg-type]
    ]
    for secret in (a, inverse_scalar(a)):
        assert not any(secret.clamped.hex() in repr(c) or repr(secret.clamped) in repr(c) for c in carried)
