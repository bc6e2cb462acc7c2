from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedspark.conf.options import TrainOptions
from fedspark.errors import ConfigError, Mismatch, PolicyRefused
from fedspark.models.vertical_lr import messages, train
from fedspark.models.vertical_lr.messages import Facts
from fedspark.party import Party, Role
from fedspark.run import Run
from tests.federation import Federation
from tests.models.aligned import STEPS, TRAIN, align, people, pooled_optimum
from tests.models.clear_engine import without_secrecy

SENDER = Party("shop", Role.HOST)


def facts(rows: int, columns: int, order: str, weighted: bool = False, start: str = "") -> Facts:
    return Facts(rows, columns, order, weighted, start)


def test_parties_with_other_rows_or_another_order_are_told_apart() -> None:
    same = {"guest": facts(50, 3, "a"), "host": facts(50, 4, "a")}
    assert messages.check_facts(same) == 50
    for other in (facts(51, 4, "a"), facts(50, 4, "b")):
        with pytest.raises(Mismatch, match="different people"):
            messages.check_facts({**same, "host": other})


def test_parties_that_start_from_different_models_are_told_so() -> None:
    same = {"guest": facts(50, 3, "a", True, "7f/train"), "host": facts(50, 4, "a", False, "7f/train")}
    assert messages.check_facts(same) == 50
    for other in ("8e/train", ""):
        with pytest.raises(Mismatch, match=rf"different models: guest 7f/train, host {other or 'none'}"):
            messages.check_facts({**same, "host": facts(50, 4, "a", start=other)})


def test_as_many_columns_as_rows_over_all_parties_are_refused() -> None:
    with pytest.raises(PolicyRefused, match="50 columns"):
        messages.check_facts({"guest": facts(50, 25, "a"), "host": facts(50, 25, "a")})


@pytest.mark.parametrize(("rows", "columns"), [(60, 15), (100, 12), (318, 33), (10**5, 8800), (20, 19), (20, 20)])
def test_so_many_columns_of_a_host_that_its_first_gradient_gives_the_labels_away_are_refused(rows: int, columns: int):
    both = {"bank": facts(rows, columns, "a"), "shop": facts(rows, columns, "a")}
    with pytest.raises(PolicyRefused, match=f"shop has {columns} columns") as caught:
        messages.check_hosts(both, [SENDER])
    fits = int(caught.value.message.split("At most ")[1].split()[0])
    assert 0 < fits < columns
    messages.check_hosts({**both, "shop": facts(rows, fits, "a")}, [SENDER])
    with pytest.raises(PolicyRefused):
        messages.check_hosts({**both, "shop": facts(rows, fits + 1, "a")}, [SENDER])


def test_a_host_with_too_many_columns_ends_training_before_a_key_is_used() -> None:
    federation = Federation(steps=STEPS, policy={name: {"min_bin_rows": 5} for name in ("guest", "host")})
    alignments, options = align(federation, people(60, {"guest": 2, "host": 6})), TrainOptions(**TRAIN)
    roles = {p.name: (lambda run, name=p.name: train(run, alignments.get(name), options)) for p in federation.roster}
    _, errors = federation.play_out("train", roles)  # whoever still waits for the first to refuse is not in errors
    assert errors
    assert all(isinstance(error, PolicyRefused) for error in errors.values())
    assert all("host has 6 columns" in str(error) for error in errors.values())
    messages_sent = [name for name in federation.objects(federation.exchange) if "/train/" in name]
    assert {name.split("/")[-3] for name in messages_sent} == {"facts.0"}


@pytest.mark.parametrize(
    "message",
    [
        None,
        [],
        {"rows": 5, "columns": 2},
        {"rows": 5, "columns": 2, "order": "a", "weighted": False, "start": "", "more": 1},
        {"rows": True, "columns": 2, "order": "a", "weighted": False, "start": ""},
        {"rows": 5, "columns": 0, "order": "a", "weighted": False, "start": ""},
        {"rows": 5, "columns": 2, "order": "a", "weighted": 1, "start": ""},
        {"rows": 5, "columns": 2, "order": "a", "weighted": False, "start": None},
        {"rows": "5", "columns": 2, "order": "a", "weighted": False, "start": ""},
        {"rows": 5, "columns": 2, "order": None, "weighted": False, "start": ""},
    ],
)
def test_sizes_of_another_form_are_refused(message: Any) -> None:
    with pytest.raises(Mismatch, match="'facts' of shop"):
        messages.read_facts(message, SENDER)


@pytest.mark.parametrize("message", [None, [], {}, {"g": 5}, {"g": ["1"]}, {"g": ["1", "x"]}, {"g": ["1", "-2"]}])
def test_numbers_of_another_form_or_count_are_refused(message: Any) -> None:
    assert messages.read_numbers({"g": ["1", "ff"]}, "g", SENDER, 2) == [1, 255]
    with pytest.raises(Mismatch, match="'g' of shop"):
        messages.read_numbers(message, "g", SENDER, 2)


@pytest.mark.parametrize(
    "change", [{"alpha": None}, {"alpha": "1"}, {"beta": 1}, {"loss": 0.5}, {"stop": None}, {"stop": "because"}]
)
def test_a_last_word_of_another_form_is_refused(change: dict[str, Any]) -> None:
    good = {"alpha": 1.0, "beta": 0.5, "stop": ""}
    assert messages.read_go(good, guest=False) == good
    with pytest.raises(Mismatch, match="arbiter's answer"):
        messages.read_go(good | change, guest=False)
    with pytest.raises(Mismatch, match="arbiter's answer"):
        messages.read_go(good, guest=True)
    told = good | {"loss": 0.5, "decrease": 0.0, "change": 0.0}
    assert messages.read_go(told, guest=True) == told
    with pytest.raises(Mismatch, match="arbiter's answer"):
        messages.read_go(told | {"loss": "0.5"}, guest=True)


def test_a_key_of_another_size_than_agreed_is_refused() -> None:
    federation = Federation(steps=STEPS, policy={name: {"min_bin_rows": 5} for name in ("guest", "host")})
    alignments, options = align(federation, people()), TrainOptions(**TRAIN)

    def short(run: Run) -> None:
        for party in run.roster.data_parties:
            run.send("key", party, {"kind": "paillier", "bits": "1024", "n": f"{(1 << 1023) + 1:x}"})

    roles = {name: (lambda run, name=name: train(run, alignments[name], options)) for name in ("guest", "host")}
    with pytest.raises(Mismatch, match="arbiter's key is refused"):
        federation.play("train", {**roles, "arbiter": short})


@pytest.mark.parametrize("party", ["guest", "arbiter"])
def test_a_key_below_the_own_limit_is_refused_before_anything_is_done(party: str) -> None:
    federation = Federation(steps=STEPS, policy={party: {"min_key_bits": 3072}})
    with pytest.raises(PolicyRefused, match="min_key_bits of the party file is 3072"):
        train(federation.run(party, "train"), None, TrainOptions(**TRAIN))


def test_a_data_party_without_aligned_rows_is_told_what_to_run() -> None:
    with pytest.raises(ConfigError, match="Run a psi step"):
        train(Federation(steps=STEPS).run("host", "train"), None, TrainOptions(**TRAIN))


def test_a_guest_with_a_label_only_trains_on_the_hosts_features(monkeypatch: pytest.MonkeyPatch) -> None:
    without_secrecy(monkeypatch)
    federation = Federation(steps=STEPS, policy={name: {"min_bin_rows": 5} for name in ("guest", "host")})
    table, options = people(widths={"guest": 0, "host": 4}), TrainOptions(**TRAIN)
    alignments = align(federation, table)
    roles = {p.name: (lambda run, name=p.name: train(run, alignments.get(name), options)) for p in federation.roster}
    trained = federation.play("train", roles)
    weights, intercept = pooled_optimum(table, TRAIN["validation"], TRAIN["l2"])
    np.testing.assert_allclose([f.weight for f in trained["host"].part.features], weights["host"], atol=5e-5)
    assert trained["guest"].part.intercept == pytest.approx(intercept, abs=5e-5)
