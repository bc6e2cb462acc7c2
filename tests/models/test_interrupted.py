"""Trainings that stop half-way and go on, engines that differ, many parts, and what is left in stores afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fedspark.conf.options import TrainOptions
from fedspark.crypto.engine_choice import engine_for_modulus
from fedspark.crypto.paillier import Gmpy2Engine, PrivateKey, encrypt
from fedspark.crypto.randomness import Stream, derive
from fedspark.errors import NotReady
from fedspark.exchange.manifest import MANIFEST
from fedspark.models.vertical_lr import Trained, tasks, train
from fedspark.models.vertical_lr.tasks import FAN_IN, Partials
from fedspark.psi.align import Alignment
from fedspark.run import Run
from tests.federation import Federation
from tests.models.aligned import STEPS, TRAIN, align, people
from tests.models.clear_engine import without_secrecy

POLICY = {name: {"min_bin_rows": 5} for name in ("guest", "host")}


def federation(**settings: Any) -> Federation:
    return Federation(steps=STEPS, policy=POLICY, **settings)


def halves(f: Federation, alignments: dict[str, Alignment], **changes: Any) -> dict[str, Callable[[Run], Trained]]:
    options = TrainOptions(**{**TRAIN, **changes})
    return {p.name: lambda run, p=p: train(run, alignments.get(p.name), options) for p in f.roster}


def left_behind(f: Federation) -> dict[str, dict[str, bytes]]:
    return {**{p.name: f.objects(f.files(p.name)) for p in f.roster}, "exchange": f.objects(f.exchange)}


class Killed(BaseException):
    """The process ends here."""


def test_a_host_that_leaves_after_round_three_is_waited_for_and_training_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_secrecy(monkeypatch)
    table = people(60, {"guest": 3, "host": 4})
    calm = federation()
    expected = calm.play("train", halves(calm, align(calm, table)))
    assert expected["guest"].rounds > 4

    f = federation(patience=0.5)
    roles = halves(f, align(f, table))
    receive = Run.receive

    def leaving(run: Run, tag: str, sender: Any, **which: Any) -> Any:
        if run.me.name == "host" and tag == "go" and which.get("round") == 3:
            raise Killed
        return receive(run, tag, sender, **which)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "receive", leaving)
        patch.setattr(f, "_look_around", lambda *_: None)  # the others do not know
        results, errors = f.play_out("train", roles)
    assert not results
    assert isinstance(errors["host"], Killed)
    assert isinstance(errors["guest"], NotReady)
    assert isinstance(errors["arbiter"], NotReady)
    assert "host" in errors["guest"].message
    f._patience = 60.0
    assert f.play("train", roles) == expected
    assert left_behind(f) == left_behind(calm)


def test_a_guest_killed_anywhere_in_round_three_goes_on_to_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    without_secrecy(monkeypatch)
    table, written = people(60, {"guest": 3, "host": 4}), set[str]()
    calm = federation(keep_messages=False)
    calm.play("train", halves(calm, align(calm, table), max_rounds=4))

    f = federation(keep_messages=False)
    roles = halves(f, align(f, table), max_rounds=4)
    once = Run.once

    def dying(run: Run, name: str, compute: Callable[[], Any]) -> Any:
        found = once(run, name, compute)
        if "rounds/0003" in name and (run.me.name, name) not in written:
            written.add((run.me.name, name))
            raise Killed
        return found

    def again(name: str) -> Callable[[Run], Trained]:
        def role(run: Run) -> Trained:
            while True:
                try:
                    return roles[name](run)
                except Killed:
                    run = f.run(name, "train")

        return role

    monkeypatch.setattr(Run, "once", dying)
    f.play("train", {name: again(name) for name in roles})
    assert len(written) == 7  # d, sums over rows, products and checkpoint of guest and host, decision
    assert left_behind(f) == left_behind(calm)


def test_rounds_leave_no_rows_in_the_exchange_and_no_partial_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    without_secrecy(monkeypatch)
    f = federation(keep_messages=False)
    f.play("train", halves(f, align(f, people(60, {"guest": 3, "host": 4})), max_rounds=2))
    kept = [name for name in f.objects(f.exchange) if "/train/" in name]
    by_row = [name for name in kept if name.split("/")[-3].split(".")[0] in ("u", "d")]
    assert by_row
    assert {name.rpartition("/")[2] for name in by_row} == {MANIFEST}
    for party in ("guest", "host"):
        names = f.objects(f.files(party))
        assert any("/rounds/0002/checkpoint" in name for name in names)
        assert not any("/sums/" in name for name in names)


def test_parties_with_different_engines_leave_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    table, left = people(60, {"guest": 2, "host": 3}), []
    engines: dict[int, Gmpy2Engine] = {}

    def by_party(n: int) -> Any:
        if threading.current_thread().name == "guest":
            return engines.setdefault(n, Gmpy2Engine(n))
        return engine_for_modulus(n)

    for chosen in (engine_for_modulus, by_party):
        monkeypatch.setattr("fedspark.crypto.paillier_keys.engine_for_modulus", chosen)
        f = federation()
        f.play("train", halves(f, align(f, table), max_rounds=1))
        left.append(left_behind(f))
    if next(iter(engines.values())).name == engine_for_modulus(next(iter(engines))).name:
        pytest.skip("this machine has one engine only")
    assert left[0] == left[1]


# ---- many parts ------------------------------------------------------------------------------------------------------


def test_sums_of_many_parts_are_added_up_by_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    without_secrecy(monkeypatch)
    key = PrivateKey.generate(Stream(derive(bytes(32), "tree")))
    run, parts, groups = federation().run("guest", "train"), FAN_IN * FAN_IN + 3, []
    partials = Partials(run.workspace, run.path("rounds/0000/sums/gradient"))
    for part in range(parts):
        partials.write(part, encrypt(key.public, [part, -2 * part], 3, Stream(derive(bytes(32), part))))
    merge = tasks.merge_group

    def counting(merging: tasks.Merging, group: int) -> None:
        groups.append((merging.parts, group))
        merge(merging, group)

    monkeypatch.setattr(tasks, "merge_group", counting)
    total = sum(range(parts))
    assert key.decrypt(partials.total(run, "sums", parts, key.public, 3)) == [total, -2 * total]
    assert [group for group in groups if group[0] == parts] == [(parts, number) for number in range(FAN_IN + 1)]
    assert [group for group in groups if group[0] != parts] == [(FAN_IN + 1, 0), (FAN_IN + 1, 1)]


def test_a_training_of_many_small_parts_is_that_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    without_secrecy(monkeypatch)
    table, weights = people(90, {"guest": 2, "host": 2}), []
    for parts in (1, 3, 20):
        f = federation()
        alignments = align(f, table, buckets=60, parts=parts)
        results = f.play("train", halves(f, alignments))
        weights.append([feature.weight for name in ("guest", "host") for feature in results[name].part.features])
    for other in weights[1:]:
        np.testing.assert_allclose(other, weights[0], rtol=1e-6)
