"""``fedspark status``, ``inbox`` and ``outbox``: where a run stands, what was sent; looking changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.example import Example


@pytest.fixture
def example(tmp_path: Path) -> Example:
    return Example.make(tmp_path / "example", tables={})


def test_status_of_a_run_that_has_not_begun_writes_nothing(example):
    before = example.paths("")
    shown = json.loads(example.command("status", "hospital", "--run", "none", "--json").out)
    assert (shown["run"], shown["party"]) == ("none", "hospital")
    assert {step["state"] for step in shown["steps"]} == {"not begun"}
    assert "Run 1 of breast-cancer/demo is not begun at hospital." in example.command("status", "hospital").out
    assert [path for path in example.paths("") if path not in before] == []


def test_status_of_a_label_that_there_is_not_lists_those_that_there_are(example):
    for label in ("b", "a"):
        example.command("run", "hospital", "--run", label, "--wait", "0")
    shown = example.command("status", "hospital", "--run", "c").out
    assert shown == "Run c of breast-cancer/demo is not begun at hospital. Runs of it here: a, b.\n"


def test_status_shows_a_wait_inside_a_running_process_and_cuts_nothing(example):
    board = example.place("hospital").status
    board.note_wait("train", "u (round 3) of laboratory", 0.0)
    board.put("psi", "failed", message="word " * 60 + "end")
    shown = example.command("status", "hospital").out
    assert "detail" in shown
    assert "waits for u (round 3) of laboratory since 1970-01-01 00:00:00; last sign of life" in shown
    assert shown.count("word") == 60
    assert "end" in shown


def test_status_shows_what_is_awaited(example):
    example.command("run", "hospital", "--wait", "0")
    steps = json.loads(example.command("status", "hospital", "--json").out)["steps"]
    assert steps[0]["awaited"].endswith("hello/laboratory.json")
    assert "waiting" in example.command("status", "hospital").out


def test_inbox_and_outbox_list_messages_and_name_what_is_wrong_with_one(example):
    example.greet()

    def send(name: str, receiver: str, tag: str) -> None:
        from fedspark.run import Progress, open_run

        run = open_run(example.party(name), example.pipeline(), "1", wait_seconds=0.0, progress=Progress(quiet=True))
        run.at("psi").send(tag, run.roster[receiver], {"rows": 3})

    send("hospital", "laboratory", "size")
    send("laboratory", "hospital", "key")
    sent, received = (example.command(command, "hospital").out for command in ("outbox", "inbox"))
    assert "size" in sent
    assert "key" not in sent
    assert "1 messages" in sent
    assert "key" in received
    assert "size" not in received
    assert "verified" in received

    (path,) = [path for path in example.paths("exchange") if path.endswith("laboratory.hospital/manifest")]
    file = example.directory / "exchange" / path
    file.write_bytes(file.read_bytes().replace(b"psi", b"pso"))
    assert "refused" in example.command("inbox", "hospital").out


def test_messages_are_listed_in_the_order_of_the_steps(example):
    from fedspark.run import Progress, open_run

    example.greet()
    run = open_run(example.party("hospital"), example.pipeline(), "1", wait_seconds=0.0, progress=Progress(quiet=True))
    for step, round, tag in (("evaluate", 0, "one"), ("train", 2, "two"), ("train", 1, "three"), ("psi", 0, "four")):
        run.at(step).send(tag, run.roster["laboratory"], {}, round=round)
    lines = example.command("outbox", "hospital").out.splitlines()
    tags = [tag for line in lines for tag in ("one", "two", "three", "four") if f" {tag} " in line]
    assert tags == ["four", "three", "two", "one"]


def test_commands_that_look_need_no_private_message_key_and_change_nothing(example):
    example.greet()
    before = example.files("")
    for command in ("status", "inbox", "outbox"):
        assert example.command(command, "hospital").code == 0
    assert example.files("") == before
