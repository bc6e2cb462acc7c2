"""A party that dies, anywhere, and is started again: the same messages, the same model, the same scores."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from fedspark.buckets import InProcessRunner
from fedspark.exchange.mailbox import Mailbox
from fedspark.exchange.waiting import Waiting
from fedspark.run import Workspace
from fedspark.run.opening import keep_seed
from tests.example import PARTIES, Example, identity, secret
from tests.faults.left import assert_same

pytestmark = pytest.mark.spark


class Killed(BaseException):
    """The process is gone: no ``except`` of the program sees it."""


class TwiceRunner(InProcessRunner):
    """Runs every part task twice, last part first, as retries and speculation do."""

    def run(self, function: Any, parts: range, context: Any, on_done: Callable[[int], None]) -> list[Any]:
        results: dict[int, Any] = {}
        for part in (*reversed(parts), *parts):
            result = function(context, part)
            assert repr(results.setdefault(part, result)) == repr(result)
        return [results[part] for part in parts]


def start_again_until_done(example: Example, deaths: list[str]) -> Callable[[str], None]:
    """A party whose every death is followed by a fresh start."""

    def run(name: str) -> None:
        while True:
            try:
                return example.run(name)
            except Killed:
                deaths.append(name)

    return run


def die_once_at_every(patch: pytest.MonkeyPatch, place: type, method: str, key: Callable[..., str]) -> set[str]:
    """Let a party die when it calls ``method``, once for every value of ``key``; returns the places of death."""
    died: set[str] = set()
    original = getattr(place, method)

    def dying(self: Any, *arguments: Any, **more: Any) -> Any:
        where = f"{threading.current_thread().name} at {key(*arguments)}"
        if where not in died and threading.current_thread().name in PARTIES:
            died.add(where)
            raise Killed(where)
        return original(self, *arguments, **more)

    patch.setattr(place, method, dying)
    return died


@pytest.mark.slow
def test_parties_killed_at_every_wait_and_started_again_leave_what_an_undisturbed_run_leaves(calm, tmp_path):
    example, deaths = Example.make(tmp_path / "example"), []
    with pytest.MonkeyPatch.context() as patch:
        died = die_once_at_every(patch, Waiting, "until", lambda look, awaited, *_: awaited)
        assert example.play(start_again_until_done(example, deaths)) == {}
    manifests = {path for path in example.paths("exchange") if path.endswith("manifest")}
    received = {where.partition(" at ")[2] for where in died}
    assert manifests <= received
    assert len(deaths) == len(died) == len(manifests) + 2 * 6  # every hello and ack is awaited by two parties
    assert_same(example, calm)


@pytest.mark.slow
def test_parties_killed_before_every_object_that_they_write_leave_the_same(calm, tmp_path):
    """In the exchange before every manifest; in the workspace before everything, so after it was computed."""
    example, deaths = Example.make(tmp_path / "example"), []
    with pytest.MonkeyPatch.context() as patch:
        manifests = die_once_at_every(patch, Mailbox, "commit", lambda address, *_: address.path)
        created = die_once_at_every(patch, Workspace, "create", lambda path, _: path)
        kept = die_once_at_every(patch, Workspace, "keep", lambda path, _: path)
        assert example.play(start_again_until_done(example, deaths)) == {}
    assert len(manifests) == sum(path.endswith("manifest") for path in example.paths("exchange"))
    assert {f"{name} at closed.json" for name in PARTIES} < created
    assert len(deaths) == len(manifests) + len(created) + len(kept)
    assert_same(example, calm)


@pytest.mark.slow
def test_part_tasks_that_run_twice_in_any_order_leave_the_same(calm, tmp_path):
    example = Example.make(tmp_path / "example")
    assert example.play(lambda name: example.run(name, runner=TwiceRunner())) == {}
    assert_same(example, calm)


def test_spark_was_started_by_those_who_have_tables_and_never_by_the_arbiter(calm, spark_starts):
    assert set(spark_starts) == {"hospital", "laboratory"}


def test_a_finished_run_started_again_changes_nothing(calm):
    before = calm.files("")
    assert calm.play() == {}
    assert calm.files("") == before


@pytest.mark.slow
def test_two_processes_of_one_party_at_the_same_time_leave_one_run(calm, tmp_path):
    example = Example.make(tmp_path / "example")

    def twins(name: str) -> None:
        errors: list[BaseException] = []

        def second() -> None:
            try:
                example.run(name)
            except BaseException as error:
                errors.append(error)

        twin = threading.Thread(target=second, name=name)
        twin.start()
        example.run(name)
        twin.join()
        assert errors == []

    assert example.play(twins) == {}
    assert_same(example, calm)


def test_a_party_that_died_while_it_closed_the_run_forgets_its_seed_when_it_is_started_again(calm, tmp_path):
    example = calm.copy(tmp_path / "example")
    for name in PARTIES:
        keep_seed(example.place(name).workspace, identity(name).private_bytes_raw(), secret("seed", name))
    assert any(path.endswith("seed.sealed") for path in example.paths("work"))
    assert example.play() == {}
    assert_same(example, calm)
