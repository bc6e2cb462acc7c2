"""What a run computes once, and messages that part tasks write: exactly once, whatever dies in between."""

from __future__ import annotations

from typing import Any

import pytest

from fedspark.buckets import InProcessRunner
from fedspark.errors import Removed
from fedspark.exchange.mailbox import Mailbox, Outgoing, Receipt
from fedspark.exchange.store import Missing
from fedspark.run import Run
from tests.federation import Federation


class Killed(BaseException):
    """The process is gone."""


class CountingRunner(InProcessRunner):
    """Counts how often parts were run."""

    def __init__(self) -> None:
        self.parts = 0

    def run(self, *arguments: Any) -> list[Any]:
        self.parts += len(arguments[1])
        return super().run(*arguments)


def double(context: int, part: int) -> int:
    return context * part


def write(context: str, outgoing: Outgoing, part: int) -> tuple[Receipt, dict[str, int]]:
    return outgoing.write(part, f"{context} {part}".encode()), {"rows": 10 * part}


@pytest.fixture
def runner() -> CountingRunner:
    return CountingRunner()


@pytest.fixture
def federation(runner: CountingRunner) -> Federation:
    return Federation(runner=lambda: runner)


def send(run: Run) -> list[Any]:
    return run.send_parts("rows", run.roster["host"], "rows", write, 3, "part")


def test_a_value_is_computed_once_and_read_back_by_a_restarted_process(federation):
    assert federation.run("guest", "psi").once("mean", lambda: {"mean": 0.1 + 0.2}) == {"mean": 0.1 + 0.2}
    again = federation.run("guest", "psi").once("mean", lambda: pytest.fail("computed again"))
    assert again == {"mean": 0.1 + 0.2}


def test_a_computation_that_fails_leaves_nothing_and_is_tried_again(federation):
    run = federation.run("guest", "psi")
    with pytest.raises(ZeroDivisionError):
        run.once("ratio", lambda: 1 / 0)
    assert federation.objects(federation.files("guest")) == {}
    assert run.once("ratio", lambda: 2) == 2


def test_of_two_processes_that_compute_the_same_the_first_result_counts_for_both(federation):
    first, second = federation.run("guest", "psi"), federation.run("guest", "psi")
    assert first.once("seed", lambda: second.once("seed", lambda: "second was faster")) == "second was faster"


def test_each_step_has_its_own_values_streams_and_addresses(federation):
    psi, train = federation.run("guest", "psi"), federation.run("guest", "psi").at("train")
    assert (psi.once("x", lambda: 1), train.once("x", lambda: 2)) == (1, 2)
    assert psi.subkey("mask") != train.subkey("mask")
    assert psi.stream("mask").bytes(16) == federation.run("guest", "psi").stream("mask").bytes(16)
    assert psi.address("u", receiver=psi.roster["host"]).path == "psi/0000/u.0/guest.host"
    assert train.address("u", sender=psi.roster["host"], round=3).path == "train/0003/u.0/host.guest"


def test_a_value_that_no_json_can_hold_is_refused_before_anything_is_stored(federation):
    with pytest.raises(ValueError, match="not JSON compliant"):
        federation.run("guest", "psi").once("x", lambda: float("nan"))
    assert federation.objects(federation.files("guest")) == {}


def test_results_of_parts_come_in_part_order(federation):
    assert federation.run("guest", "psi").parts("double", double, 4, 2) == [0, 2, 4, 6]


def test_a_message_of_parts_arrives_and_the_results_stay_here(federation):
    run = federation.run("guest", "psi")
    assert send(run) == [{"rows": 0}, {"rows": 10}, {"rows": 20}]
    incoming = federation.run("host", "psi").receive("rows", run.roster["guest"])
    assert [incoming.read(part) for part in range(incoming.parts)] == [b"part 0", b"part 1", b"part 2"]


def test_a_message_of_parts_that_was_sent_is_not_computed_again(federation, runner):
    before = send(federation.run("guest", "psi")), federation.objects(federation.exchange)
    assert (send(federation.run("guest", "psi")), federation.objects(federation.exchange)) == before
    assert runner.parts == 3


def test_a_process_that_dies_before_the_manifest_commits_the_stored_receipts_later(federation, runner, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Mailbox, "commit", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            send(federation.run("guest", "psi"))
    assert not any(name.endswith("manifest") for name in federation.objects(federation.exchange))
    assert send(federation.run("guest", "psi")) == [{"rows": 0}, {"rows": 10}, {"rows": 20}]
    assert runner.parts == 3
    assert federation.run("host", "psi").receive("rows", federation.roster["guest"]).parts == 3


def test_a_process_that_dies_between_two_parts_writes_the_same_objects_later(federation, monkeypatch):
    calm = Federation()
    send(calm.run("guest", "psi"))
    keep, left = Outgoing.write, [2]

    def dying(outgoing: Outgoing, part: int, plaintext: bytes) -> Receipt:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return keep(outgoing, part, plaintext)

    with monkeypatch.context() as patch:
        patch.setattr(Outgoing, "write", dying)
        with pytest.raises(Killed):
            send(federation.run("guest", "psi"))
    halfway = federation.objects(federation.exchange)
    assert len(halfway) == 2
    send(federation.run("guest", "psi"))
    assert federation.objects(federation.exchange) == calm.objects(calm.exchange)
    assert halfway.items() <= federation.objects(federation.exchange).items()


def test_a_small_message_is_sent_once(federation):
    run, host = federation.run("guest", "psi"), federation.roster["host"]
    run.send("size", host, {"rows": 7})
    before = federation.objects(federation.exchange)
    federation.run("guest", "psi").send("size", host, {"rows": 8})
    assert federation.objects(federation.exchange) == before
    assert federation.run("host", "psi").receive("size", run.roster["guest"]).json() == {"rows": 7}


def test_nothing_of_the_seed_or_the_keys_shows_in_the_text_of_a_run(federation):
    run = federation.run("guest", "psi")
    shown = repr(run) + repr(run.mailbox.outgoing(run.address("u", receiver=run.roster["host"])))
    for hidden in (federation._secret("seed", "guest"), federation._secret("identity", "guest"), run.subkey("x")):
        assert hidden.hex() not in shown
        assert repr(hidden)[2:-1] not in shown
    assert "_seed" not in shown


def test_a_record_of_a_step_is_written_once_and_read_by_its_step(federation):
    run = federation.run("guest", "psi")
    assert run.read_record("psi") is None
    run.write_record({"title": "first", "facts": {"rows": 1, "bytes": 2}})
    run.write_record({"title": "second"})
    record = federation.run("guest").read_record("psi")
    assert record == {"title": "first", "facts": {"rows": 1, "bytes": 2}}
    assert list(record["facts"]) == ["rows", "bytes"]  # as people read them


@pytest.mark.parametrize("gone", [Missing("files"), Removed("a message")])
def test_what_another_process_of_this_party_has_made_and_cleared_up_after_is_read(
    federation: Federation, gone: Exception
):
    run = federation.run("guest", "psi")

    def slower() -> int:
        run.once("made", lambda: 7)  # the other process, to its end
        raise gone

    assert run.once("made", slower) == 7
    with pytest.raises(type(gone)):
        run.once("never made", lambda: raise_(gone))


def raise_(error: Exception) -> int:
    raise error
