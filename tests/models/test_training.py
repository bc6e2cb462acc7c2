from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import gmpy2
import numpy as np
import pyarrow as pa
import pytest

from fedspark.buckets import SparkRunner
from fedspark.conf.options import TrainOptions
from fedspark.crypto.paillier import Ciphertexts, PublicKey
from fedspark.crypto.randomness import Stream
from fedspark.errors import Mismatch, NotReady
from fedspark.exchange.columns import pack_values
from fedspark.exchange.mailbox import Address, Mailbox
from fedspark.models import artifact
from fedspark.models.vertical_lr import Trained, side, train
from fedspark.models.vertical_lr.encoding import Encoding
from fedspark.models.vertical_lr.gradients import PRODUCTS
from fedspark.models.vertical_lr.messages import Facts
from fedspark.models.vertical_lr.tasks import from_message
from fedspark.psi.align import Alignment
from fedspark.run import Run
from tests.federation import Federation
from tests.models.aligned import STEPS, TRAIN, People, Twice, align, people, pooled_optimum
from tests.models.clear_engine import without_secrecy

WIDTHS = {1: {"guest": 3, "host": 4}, 2: {"guest": 2, "host1": 2, "host2": 3}}


def options(**changes: Any) -> TrainOptions:
    return TrainOptions(**{**TRAIN, **changes})


def federation(hosts: int = 1, **settings: Any) -> Federation:
    policy = {name: {"min_bin_rows": 5} for name in WIDTHS[hosts]}
    return Federation(hosts=hosts, steps=STEPS, **{"policy": policy, **settings})


def halves(
    f: Federation, alignments: dict[str, Alignment], chosen: TrainOptions
) -> dict[str, Callable[[Run], Trained]]:
    return {p.name: (lambda run, name=p.name: train(run, alignments.get(name), chosen)) for p in f.roster}


class Played:
    """One finished training and what it left."""

    def __init__(self, hosts: int, rows: int, seed: int) -> None:
        self.federation = federation(hosts)
        self.table = people(rows, WIDTHS[hosts], seed)
        self.streams: list[tuple[str, bytes]] = []
        opened = Stream.__init__

        def noting(stream: Stream, key: bytes) -> None:
            self.streams.append((threading.current_thread().name, key))
            opened(stream, key)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Stream, "__init__", noting)
            roles = halves(self.federation, align(self.federation, self.table), options())
            self.results: dict[str, Trained] = self.federation.play("train", roles)

    def run(self, name: str) -> Run:
        return self.federation.run(name, "train")

    def public(self) -> PublicKey:
        run = self.run("guest")
        return PublicKey.from_json(run.receive("key", run.roster["arbiter"]).json(), 2048)


@pytest.fixture(scope="module")
def one_host() -> Played:
    return Played(hosts=1, rows=60, seed=7)


@pytest.fixture(scope="module")
def two_hosts() -> Played:
    return Played(hosts=2, rows=50, seed=11)


@pytest.fixture(params=["one_host", "two_hosts"])
def played(request: pytest.FixtureRequest) -> Played:
    result: Played = request.getfixturevalue(request.param)
    return result


def test_weights_are_those_of_the_pooled_optimum(played: Played) -> None:
    weights, intercept = pooled_optimum(played.table, TRAIN["validation"], TRAIN["l2"])
    for party, expected in weights.items():
        part = played.results[party].part
        assert part is not None
        np.testing.assert_allclose([feature.weight for feature in part.features], expected, atol=5e-5)
        np.testing.assert_allclose(
            [feature.weight_raw * feature.scale for feature in part.features], expected, atol=5e-5
        )
    guest = played.results["guest"].part
    assert guest is not None
    assert guest.intercept == pytest.approx(intercept, abs=5e-5)


def test_all_parties_stop_in_the_same_round_for_the_same_reason(played: Played) -> None:
    assert {result.stop for result in played.results.values()} == {"converged"}
    assert len({result.rounds for result in played.results.values()}) == 1


def test_the_loss_falls_from_ln_2_to_that_of_the_pooled_optimum(played: Played) -> None:
    losses = [told["loss"] for told in played.results["guest"].history]
    assert losses[0] == pytest.approx(np.log(2), abs=1e-15)
    assert np.all(np.diff(losses) < 1e-9)
    weights, intercept = pooled_optimum(played.table, TRAIN["validation"], TRAIN["l2"])
    training = played.table.training(TRAIN["validation"])
    z = intercept + sum(
        ((x[training] - x[training].mean(axis=0)) / x[training].std(axis=0)) @ weights[party]
        for party, x in played.table.features.items()
    )
    y = 2 * played.table.label[training] - 1
    penalty = TRAIN["l2"] / 2 * sum(float(w @ w) for w in weights.values())
    assert losses[-1] == pytest.approx(float(np.mean(np.log(2) - y * z / 2 + z**2 / 8)) + penalty, abs=1e-5)


def test_hosts_are_not_told_the_loss(played: Played) -> None:
    for name, result in played.results.items():
        if name.startswith("host"):
            assert all(set(told) == {"alpha", "beta", "stop"} for told in result.history)


def test_the_arbiter_reads_masks_where_the_gradient_is(played: Played) -> None:
    host = played.federation.roster.hosts[0].name
    run = played.run(host)
    arbiter = run.roster["arbiter"]
    opened = [
        int(text, 16)
        for number in range(played.results[host].rounds)
        for text in run.receive("opened", arbiter, round=number).json()["opened"]
    ]
    layout = Encoding.agree(2048, 45, len(played.table.features)).layout
    assert layout.slots > 5
    assert len(set(opened)) == len(opened) > 10
    assert all(layout.slot_bits - 40 < slot.bit_length() <= layout.slot_bits for slot in opened)


def test_the_arbiter_cannot_open_the_products_of_one_party(played: Played) -> None:
    run = played.run("arbiter")
    for number in range(played.results["arbiter"].rounds):
        for party in run.roster.data_parties:
            sums = run.receive("sums", party, round=number).json()["sums"]
            assert len(sums) == len(PRODUCTS)
            assert all(int(text, 16).bit_length() > 256 - 40 for text in sums)


def test_residuals_are_rerandomised_so_that_a_host_cannot_divide_out_its_own_ciphertexts(one_host: Played) -> None:
    n, guest, host = one_host.public().n, one_host.run("guest"), one_host.run("host")
    sent = guest.receive("u", guest.roster["host"], round=1)
    returned = host.receive("d", host.roster.guest, round=1)
    for part in range(returned.parts):
        for u, d in zip(ciphertexts(sent.read(part)), ciphertexts(returned.read(part)), strict=False):
            assert d * pow(u, -1, n**2) % n != 1  # 1 + m n would show m = u_guest/4 - y/2


def ciphertexts(message: bytes) -> list[int]:
    with pa.ipc.open_stream(pa.BufferReader(message)) as reader:
        return [int.from_bytes(value, "little") for value in reader.read_all()["c"].to_pylist()]


def test_nonces_for_the_key_s_owner_come_from_all_units(played: Played) -> None:
    # Powers of hs have Jacobi symbol 1 modulo n: a message blinded by one would show it, half of all units do not.
    n, run = played.public().n, played.run("arbiter")
    tags = {"g": run.roster.data_parties, "loss": [run.roster.guest] if len(run.roster.hosts) == 1 else []}
    for tag, senders in tags.items():
        symbols = [
            gmpy2.jacobi(c % n, n)
            for number in range(played.results["arbiter"].rounds)
            for party in senders
            for c in ciphertexts(run.receive(tag, party, round=number).read(0))
        ]
        assert not senders or {1, -1} == set(symbols)


def test_no_two_streams_of_a_party_share_a_label(played: Played) -> None:
    assert len(played.streams) > 100
    assert len(set(played.streams)) == len(played.streams)


def test_encryption_changes_no_bit_of_the_model(one_host: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    without_secrecy(monkeypatch)
    clear = Played(hosts=1, rows=60, seed=7)
    assert clear.results == one_host.results
    u = one_host.run("guest").receive("u", clear.run("guest").roster["host"], round=1).read(0)
    assert u != clear.run("guest").receive("u", clear.run("guest").roster["host"], round=1).read(0)


def test_each_party_finds_its_own_part_again(played: Played) -> None:
    for party in played.federation.roster.data_parties:
        part = artifact.load(played.run(party.name), "train")
        assert part == played.results[party.name].part
        assert (part.intercept is None) == (party.name != "guest")
        assert [feature.name for feature in part.features] == played.table.columns(party.name)


def test_running_a_finished_training_again_changes_nothing(one_host: Played) -> None:
    f = one_host.federation
    before = {name: f.objects(f.files(name)) for name in ("guest", "host", "arbiter")}
    exchanged = f.objects(f.exchange)
    alignments = {name: _alignment(one_host.run(name)) for name in ("guest", "host")}
    again = f.play("train", halves(f, alignments, options()))
    assert again == one_host.results
    assert {name: f.objects(f.files(name)) for name in before} == before
    assert f.objects(f.exchange) == exchanged


def _alignment(run: Run) -> Alignment:
    files = run.at("psi").path("psi/aligned/part-{part:05d}.parquet")
    return Alignment("people", 3, 2, 60, 60, {"guest": 60, "host": 60}, files)


# ---- faults ----------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here."""


def kill_once_at(patch: pytest.MonkeyPatch, method: str) -> set[str]:
    """Every address that reaches ``method`` of a mailbox for the first time ends the process before that is done."""
    killed: set[str] = set()
    real = getattr(Mailbox, method)

    def dying(mailbox: Mailbox, address: Address, *rest: Any, **named: Any) -> Any:
        if address.path not in killed:
            killed.add(address.path)
            raise Killed
        return real(mailbox, address, *rest, **named)

    patch.setattr(Mailbox, method, dying)
    return killed


def restarted(f: Federation, half: Callable[[Run], Trained]) -> Callable[[Run], Trained]:
    def again_and_again(run: Run) -> Trained:
        while True:
            try:
                return half(run)
            except Killed:
                run = f.run(run.me.name, "train")

    return again_and_again


def left_behind(f: Federation) -> dict[str, dict[str, bytes]]:
    stores = {name: f.objects(f.files(name)) for name in (party.name for party in f.roster)}
    return {**stores, "exchange": f.objects(f.exchange)}


@pytest.mark.parametrize("method", ["receive", "commit"])
def test_killed_at_every_message_and_resumed_leaves_the_same_bytes(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    table, chosen = people(60, WIDTHS[1], seed=5), options(max_rounds=1)
    calm = federation(1)
    calm.play("train", halves(calm, align(calm, table), chosen))

    shaken = federation(1)
    roles = halves(shaken, align(shaken, table), chosen)
    killed = kill_once_at(monkeypatch, method)
    shaken.play("train", {name: restarted(shaken, half) for name, half in roles.items()})
    assert len(killed) == len({name.rpartition("/")[0] for name in shaken.objects(shaken.exchange)})
    assert left_behind(shaken) == left_behind(calm)


def test_tasks_that_run_twice_leave_the_same_bytes() -> None:
    table, chosen, left = people(60, WIDTHS[2], seed=5), options(max_rounds=1), []
    for settings in ({}, {"runner": Twice}):
        f = federation(2, **settings)
        f.play("train", halves(f, align(f, table), chosen))
        left.append(left_behind(f))
    assert left[0] == left[1]


def test_a_party_without_its_peers_says_that_it_is_not_ready() -> None:
    f = federation(1)
    alignments = align(f, people(60, WIDTHS[1]))
    with pytest.raises(NotReady):
        train(f.run("host", "train", patience=0.0), alignments["host"], options())


@pytest.mark.spark
def test_spark_tasks_leave_the_same_bytes_as_tasks_in_process(spark: Any, tmp_path: Any) -> None:
    table, chosen, left = people(60, WIDTHS[1], seed=3), options(max_rounds=1), []
    for name, settings in (("plain", {}), ("spark", {"runner": lambda: SparkRunner(lambda: spark)})):
        f = federation(1, base=str(tmp_path / name), **settings)
        f.play("train", halves(f, align(f, table, parts=2), chosen))
        left.append(left_behind(f))
    assert left[0] == left[1]


# ---- peers that say something else -----------------------------------------------------------------------------------


def test_parties_that_align_other_people_are_told_so() -> None:
    f = federation(1)
    alignments = align(f, people(60, WIDTHS[1]))
    other = federation(1)
    shifted = people(60, WIDTHS[1])
    moved = People({"host": shifted.features["host"][:-1]}, shifted.label[:-1])
    files = align(other, moved)["host"]
    for part in range(files.parts):
        data = other.run("host").workspace.read(files.path(part))
        f.run("host").workspace.create(files.path(part).replace("aligned", "other"), data)
    wrong = Alignment(**{**files.to_json(), "files": files.files.replace("aligned", "other")})
    _, errors = f.play_out("train", halves(f, {"guest": alignments["guest"], "host": wrong}, options()))
    assert errors
    assert all(isinstance(error, Mismatch) and "different people" in error.message for error in errors.values())


def test_a_party_whose_parts_hold_other_rows_than_were_agreed_encrypts_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    f, agreed = federation(1), side.agree

    def fewer(run: Run, chosen: TrainOptions, facts: dict[str, Facts]) -> Encoding:
        rows = agreed(run, chosen, facts).layout.rows
        return Encoding.agree(2048, rows - 1, 2)

    monkeypatch.setattr(side, "agree", fewer)
    _, errors = f.play_out("train", halves(f, align(f, people(60, WIDTHS[1])), options()))
    assert set(errors) <= {"guest", "host"}
    assert errors
    for error in errors.values():
        assert isinstance(error, Mismatch)
        assert re.search(r"3 parts of this party hold (\d+) training rows, and sums over (\d+)", error.message)
    assert not [name for name in f.objects(f.exchange) if "/train/0000/u." in name]


def test_a_message_with_too_few_ciphertexts_is_refused(one_host: Played) -> None:
    run, public = one_host.run("guest"), one_host.public()
    data = run.receive("u", run.roster["host"], round=0).read(0)
    with pytest.raises(Mismatch, match="rows"):
        from_message(data, "host", public, (1, 34))


def test_a_ciphertext_out_of_range_is_refused_as_the_senders_fault(one_host: Played) -> None:
    public = one_host.public()
    data = pack_values("c", np.zeros((2, public.width), np.uint8))
    with pytest.raises(Mismatch, match="from host is refused"):
        from_message(data, "host", public, (2, 34))
    assert Ciphertexts.from_bytes(public, b"", 34).to_bytes() == b""
