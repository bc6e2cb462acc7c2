"""``fedspark run``: one paragraph, the right exit status, the command that goes on."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path

import pytest

from fedspark.cli import commands
from fedspark.errors import (
    Absent,
    ConfigError,
    CryptoError,
    FedsparkError,
    Mismatch,
    NotReady,
    PolicyRefused,
    Stopped,
    StoreError,
    TableError,
    Tampered,
)
from fedspark.steps import registry
from tests.example import Example, Outcome, fedspark


@pytest.fixture
def example(tmp_path: Path) -> Example:
    return Example.make(tmp_path / "example", tables={})


def assert_paragraph(outcome: Outcome, kind: str, code: int) -> str:
    """One error, without traceback; returns it as one line."""
    assert outcome.code == code, outcome.err
    assert outcome.err.count("fedspark: ") == 1
    assert outcome.err.split("fedspark: ")[1].startswith(f"{kind}:")
    assert "Traceback" not in outcome.err
    return outcome.said


# ---- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (TableError, 65), (StoreError, 74), (PolicyRefused, 77), (CryptoError, 70),
        (NotReady, 75), (Tampered, 76), (Absent, 76), (Stopped, 76),
    ],
)  # fmt: skip
def test_every_kind_of_error_ends_in_one_paragraph_its_status_and_the_command_to_go_on(
    example, monkeypatch, kind, code
):
    def fail(*_: object, **__: object) -> None:
        raise kind("The thing " + "is wrong " * 20 + "here.", remedy="Do something about it.")

    monkeypatch.setattr("fedspark.steps.session.run_party", fail)
    outcome = example.command("run", "hospital", "--run", "second")
    words = assert_paragraph(outcome, kind.__name__, code)
    assert "here. Do something about it." in words
    *text, last = outcome.err.splitlines()
    assert len([line for line in text if "wrong" in line]) == 1
    before = {
        PolicyRefused: "To go on, once the limit or the data are changed",
        Stopped: "To go on, once they have put it right",
    }.get(kind, "To go on")
    assert last == f"{before}: fedspark run {shlex.join(example.arguments('hospital'))} --run second"


@pytest.mark.parametrize("kind", [ConfigError, Mismatch])
def test_a_command_that_cannot_help_as_it_is_is_not_shown_as_the_one_to_go_on(example, monkeypatch, kind):
    def fail(*_: object, **__: object) -> None:
        raise kind("It is wrong.", remedy="Write it right.")

    monkeypatch.setattr("fedspark.steps.session.run_party", fail)
    outcome = example.command("run", "hospital")
    assert outcome.err.endswith(f"fedspark: {kind.__name__}: It is wrong. Write it right.\n")


def test_lines_are_broken_for_terminals_only(example, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise StoreError("The thing " + "is wrong " * 20 + "here.")

    monkeypatch.setattr("fedspark.steps.session.run_party", fail)
    text = StoreError("The thing " + "is wrong " * 20 + "here.")
    assert max(map(len, commands._paragraph(text, [], 100).splitlines())) <= 100
    assert len(commands._paragraph(text, []).splitlines()) == 1
    assert len(example.command("run", "hospital").err.splitlines()) == 2


def test_files_in_each_others_place_are_named_in_one_sentence(example):
    party, pipeline = str(example.file("hospital")), str(example.file("pipeline"))
    words = assert_paragraph(fedspark("run", "--party", pipeline, "--pipeline", party), "ConfigError", 78)
    assert "--party names" in words
    assert "which is a pipeline file. Swap the files of --party and --pipeline." in words
    words = assert_paragraph(fedspark("status", "--party", party, "--pipeline", party), "ConfigError", 78)
    assert "which is a party file. Name a pipeline file there." in words


def test_the_command_to_go_on_can_be_pasted_where_paths_have_spaces(tmp_path):
    example = Example.make(tmp_path / "my example", tables={})
    outcome = example.command("run", "hospital", "--wait", "0")
    words = shlex.split(outcome.err.splitlines()[-1].removeprefix("To go on: "))
    assert words == ["fedspark", "run", *example.arguments("hospital"), "--wait", "0"]


def test_debug_shows_the_traceback_and_the_paragraph_after_it(example):
    (example.directory / "keys/hospital.key").unlink()
    outcome = fedspark("--debug", "run", *example.arguments("hospital"))
    assert outcome.code == 78
    assert outcome.err.startswith("Traceback")
    paragraph = outcome.err.rpartition("fedspark: ConfigError: ")[2]
    assert "keys/hospital.key" in paragraph
    assert "--debug" not in paragraph


def test_a_user_who_interrupts_is_told_how_to_go_on(example, monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fedspark.steps.session.run_party", interrupted)
    outcome = example.command("run", "hospital")
    assert outcome.code == 130
    assert "To go on: fedspark run" in outcome.err


def test_an_error_of_our_own_is_not_dressed_up_as_the_users(example, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise KeyError("bug")

    monkeypatch.setattr("fedspark.steps.session.run_party", broken)
    with pytest.raises(KeyError):
        example.command("run", "hospital")


def test_the_paragraph_keeps_lists_of_problems_on_lines_of_their_own():
    text = commands._paragraph(ConfigError("first\nsecond"), ["check"])
    assert text == "fedspark: ConfigError: first\nsecond"
    assert isinstance(ConfigError("x"), FedsparkError)


# ---- waiting ---------------------------------------------------------------------------------------------------------


def test_a_party_that_is_alone_ends_with_75_and_leaves_what_it_awaits_for_the_scheduler(example):
    outcome = example.command("run", "hospital", "--wait", "0")
    words = assert_paragraph(outcome, "NotReady", 75)
    assert "hello of laboratory" in words
    assert "To go on: fedspark run" in words
    folder = example.directory / "work/hospital/status/breast-cancer/demo/1"
    record = json.loads((folder / "handshake.json").read_text())
    assert record["state"] == "waiting"
    assert record["awaited"] == "breast-cancer/demo/1/hello/laboratory.json"
    assert record["deadline"] == pytest.approx(time.time() + 72 * 3600, abs=60)


def test_the_same_command_again_goes_on_with_the_same_hello(example):
    example.command("run", "hospital", "--wait", "0")
    before = example.files("exchange")
    assert example.command("run", "hospital", "--wait", "0").code == 75
    assert example.files("exchange") == before


def test_a_party_that_waits_in_a_step_names_the_message(example):
    example.greet()
    outcome = example.command("run", "authority", "--wait", "0")
    words = assert_paragraph(outcome, "NotReady", 75)
    assert "facts" in words
    record = example.place("authority").status.get("train")
    assert (record["state"], record["from"]) == ("waiting", "hospital")
    assert record["awaited"].endswith("train/0000/facts.0/hospital.authority/manifest")
    assert example.place("authority").status.get("load")["state"] == "idle"


def test_resume_begins_nothing(example):
    outcome = example.command("run", "hospital", "--run", "unknown", "--resume")
    words = assert_paragraph(outcome, "ConfigError", 78)
    assert "Leave out --resume" in words
    assert example.paths("exchange") == []


# ---- steps -----------------------------------------------------------------------------------------------------------


def test_a_step_needs_the_steps_before_it_and_a_name_that_there_is(example):
    example.greet()
    words = assert_paragraph(example.command("run", "hospital", "--step", "train", "--wait", "0"), "ConfigError", 78)
    assert "Step train needs step load" in words
    words = assert_paragraph(example.command("run", "authority", "--step", "trian", "--wait", "0"), "ConfigError", 78)
    assert "Did you mean 'train'?" in words
    assert example.command("run", "authority", "--step", "load", "--wait", "0").code == 0
    states = json.loads(example.command("status", "authority", "--json").out)["steps"]
    assert {step["step"]: step["state"] for step in states} == {
        "handshake": "done", "load": "idle", "psi": "not begun", "train": "not begun",
        "evaluate": "not begun", "predict": "not begun",
    }  # fmt: skip


def test_steps_without_an_arbiter_do_not_keep_it_from_the_one_that_needs_it(example):
    example.greet()
    assert example.command("run", "authority", "--step", "train", "--wait", "0").code == 75
    states = json.loads(example.command("status", "authority", "--json").out)["steps"]
    assert [step["state"] for step in states] == ["done", "idle", "idle", "waiting", "not begun", "not begun"]
    assert example.command("status", "authority").out.count("not ours") == 2


def test_a_step_that_cannot_be_run_is_refused_before_anybody_is_waited_for(example):
    before = example.paths("")
    words = assert_paragraph(example.command("run", "hospital", "--step", "foo", "--wait", "0"), "ConfigError", 78)
    assert "Pipeline demo has no step 'foo'; its steps are load, psi, train, evaluate, predict." in words
    words = assert_paragraph(example.command("run", "hospital", "--step", "predict", "--wait", "0"), "ConfigError", 78)
    assert "Step predict needs step load, which is not done in run 1." in words
    assert example.paths("") == before
    workspace = example.place("hospital").workspace
    for step in ("load", "psi"):
        workspace.create(f"steps/{step}/done.json", b"{}")
    words = assert_paragraph(example.command("run", "hospital", "--step", "predict", "--wait", "0"), "ConfigError", 78)
    assert "needs step train" in words


def test_a_closed_run_refuses_a_step_that_there_is_not(example):
    example.place("hospital").workspace.create("closed.json", b"{}")
    words = assert_paragraph(example.command("run", "hospital", "--step", "trian"), "ConfigError", 78)
    assert "Did you mean 'train'?" in words
    assert example.command("run", "hospital", "--step", "train").code == 0


def test_a_step_that_is_done_is_not_run_again(example, monkeypatch):
    example.greet()
    assert example.command("run", "authority", "--step", "load").code == 0
    monkeypatch.setattr(registry, "_function", lambda kind: pytest.fail(f"{kind} ran again"))
    assert example.command("run", "authority", "--step", "load").code == 0


def test_a_step_that_fails_leaves_its_error_in_the_status(example, monkeypatch):
    def fail(*_: object) -> None:
        raise TableError("The table is wrong.")

    example.greet()
    monkeypatch.setattr(registry, "_function", lambda kind: fail)
    assert_paragraph(example.command("run", "authority", "--wait", "0"), "TableError", 65)
    record = example.place("authority").status.get("load")
    assert (record["state"], record["error"], record["message"]) == ("failed", "TableError", "The table is wrong.")
    assert "The table is wrong." in example.command("status", "authority").out
    assert not any("/stop/" in path for path in example.paths("exchange"))


def test_a_step_that_is_given_up_tells_the_others_and_they_do_not_answer_with_a_stop_of_their_own(example, monkeypatch):
    example.greet()
    original = registry._function

    def refuse(*_: object) -> None:
        raise PolicyRefused("Too few people.")

    with monkeypatch.context() as patch:
        patch.setattr(registry, "_function", lambda kind: refuse)
        assert_paragraph(example.command("run", "hospital", "--wait", "0"), "PolicyRefused", 77)
    stops = [path for path in example.paths("exchange") if "/stop/" in path]
    assert [Path(path).name for path in stops] == ["hospital.json"]

    words = assert_paragraph(example.command("run", "authority", "--wait", "0"), "Stopped", 76)
    assert "hospital stopped the run: PolicyRefused" in words
    assert example.place("authority").status.get("train")["error"] == "Stopped"
    assert [path for path in example.paths("exchange") if "/stop/" in path] == stops

    # The cause is corrected: the hospital goes on first, and is not held up by others' answers.
    monkeypatch.setattr(registry, "_function", lambda kind: (lambda *_: None) if kind == "load" else original(kind))
    assert example.command("run", "hospital", "--step", "load", "--wait", "0").code == 0
    assert not any("/stop/" in path for path in example.paths("exchange"))
    assert_paragraph(example.command("run", "authority", "--wait", "0"), "NotReady", 75)


def test_a_handshake_that_fails_leaves_its_error_in_the_status(example):
    example.edit_steps(train={"max_rounds": 3})
    example.command("run", "laboratory", "--wait", "0")
    example.edit_steps(train={"max_rounds": 4})
    words = assert_paragraph(example.command("run", "hospital", "--wait", "0"), "Mismatch", 76)
    assert "pipeline.steps.train.max_rounds is '4' here and '3' at laboratory" in words
    record = example.place("hospital").status.get("handshake")
    assert (record["state"], record["error"]) == ("failed", "Mismatch")


# ---- settings --------------------------------------------------------------------------------------------------------


def test_settings_override_keys_of_the_party_file(example):
    outcome = example.command("run", "hospital", "--set", "policy.wait_seconds=0")
    assert_paragraph(outcome, "NotReady", 75)
    for setting in ("policy.wait_secs=0", "policy.wait_seconds=soon", "policy.wait_seconds"):
        words = assert_paragraph(example.command("run", "hospital", "--set", setting), "ConfigError", 78)
        assert "wait_sec" in words


# ---- what others are told --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "step", "told"),
    [
        (TableError, "load", False), (TableError, "train", True), (CryptoError, "train", True),
        (PolicyRefused, "train", True), (StoreError, "train", False), (NotReady, "train", False),
    ],
)  # fmt: skip
def test_the_others_are_told_when_a_run_cannot_go_on_and_only_then(example, monkeypatch, kind, step, told):
    def fail(*_: object) -> None:
        raise kind("It is wrong.")

    example.greet()
    monkeypatch.setattr(registry, "_function", lambda name: fail if name == step else lambda *_: None)
    assert example.command("run", "hospital", "--wait", "0").code == kind.exit_code
    assert any("/stop/hospital.json" in path for path in example.paths("exchange")) is told


def test_a_workspace_is_made_for_its_user_alone(example):
    for path in sorted((example.directory / "work").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (example.directory / "work").rmdir()
    example.greet()
    assert (example.directory / "work" / "hospital").stat().st_mode & 0o777 == 0o700
