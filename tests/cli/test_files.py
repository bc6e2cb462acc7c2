"""Commands that need no run: keygen, check, schema, and how wrong usage ends."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from fedspark.cli import commands
from fedspark.crypto.identity import parse_private, public_bytes
from fedspark.party import parse_identity
from tests.example import CONF, Example, fedspark


@pytest.fixture
def example(tmp_path: Path) -> Example:
    return Example.make(tmp_path / "example", tables={})


# ---- keygen ----------------------------------------------------------------------------------------------------------


def test_keygen_makes_a_private_key_for_the_owner_alone_and_the_public_key_beside_it(tmp_path):
    outcome = fedspark("keygen", "bank", "--out", str(tmp_path / "new" / "keys"))
    private, public = tmp_path / "new/keys/bank.key", tmp_path / "new/keys/bank.pub"
    assert outcome.code == 0
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    text = public.read_text().strip()
    assert parse_identity(text) == public_bytes(parse_private(private.read_bytes(), "file:bank.key"))
    assert text in outcome.out
    assert private.read_text().strip() not in outcome.out


@pytest.mark.parametrize("there", ["bank.key", "bank.pub"])
def test_keygen_never_overwrites_a_key(tmp_path, there):
    (tmp_path / there).write_text("mine")
    outcome = fedspark("keygen", "bank", "--out", str(tmp_path))
    assert outcome.code == 78
    assert f"{there} is there already" in outcome.said
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "mine"


def test_keygen_says_why_it_cannot_write(tmp_path):
    (tmp_path / "file").write_text("")
    outcome = fedspark("keygen", "bank", "--out", str(tmp_path / "file"))
    assert outcome.code == 78
    assert "ConfigError: The key of bank cannot be written" in outcome.said


def test_keygen_leaves_no_private_key_without_its_public_one(tmp_path, monkeypatch):
    create = commands._create

    def full(path: Path, text: str, mode: int) -> None:
        if path.suffix == ".pub":
            raise OSError(28, "No space left on device")
        create(path, text, mode)

    monkeypatch.setattr(commands, "_create", full)
    outcome = fedspark("keygen", "bank", "--out", str(tmp_path))
    assert outcome.code == 78
    assert "No space left on device" in outcome.said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../bank", "a/b", "", "Bank!"])
def test_keygen_refuses_a_name_that_no_party_can_have(tmp_path, name):
    outcome = fedspark("keygen", name, "--out", str(tmp_path / "keys"))
    assert outcome.code == 78
    assert "name" in outcome.said
    assert list(tmp_path.iterdir()) == []


# ---- check -----------------------------------------------------------------------------------------------------------


def test_check_accepts_the_example_and_names_the_kind_of_every_file(tmp_path):
    example = Example.make(tmp_path / "example")
    outcome = fedspark("check", *(str(example.file(path.stem)) for path in sorted(CONF.glob("*.yaml"))))
    assert outcome.code == 0, outcome.err
    kinds = [line.rpartition(": a valid ")[2] for line in outcome.out.splitlines() if not line.startswith("note: ")]
    assert sorted(kinds) == ["local file", *3 * ["party file"], *2 * ["pipeline file"]]


def test_check_lists_the_problems_of_all_files_at_once(example):
    example.edit("hospital", polcy={"min_intersection": 3})
    example.edit_steps(train={"max_round": 5})
    outcome = fedspark("check", *(str(example.file(name)) for name in ("hospital", "laboratory", "pipeline")))
    assert outcome.code == 78
    assert "laboratory.yaml: a valid party file" in outcome.out
    words = outcome.said
    assert "polcy" in words
    assert "Did you mean 'policy'" in words or "policy" in words
    assert "max_round" in words
    assert "max_rounds" in words
    assert "Traceback" not in outcome.err


def test_check_compares_parties_with_the_pipelines_given_with_them(example):
    example.edit("hospital", tables={"patients": None}, role="host")
    content = example.file("hospital").read_text().replace("  patients: null\n", "")
    example.file("hospital").write_text(content)
    assert fedspark("check", str(example.file("hospital"))).code == 0
    outcome = fedspark("check", str(example.file("pipeline")), str(example.file("hospital")))
    assert outcome.code == 78
    words = outcome.said
    assert "tables.patients" in words
    assert "role" in words


@pytest.mark.parametrize(("name", "content"), [("missing", None), ("list", "- a\n"), ("broken", "a: [\n"), ("nul", "")])
def test_check_refuses_what_is_no_configuration(tmp_path, name, content):
    path = tmp_path / f"{name}.yaml"
    if content is not None:
        path.write_text(content)
    outcome = fedspark("check", str(path))
    assert outcome.code == 78
    assert path.name in outcome.said
    assert "Traceback" not in outcome.err


def test_check_needs_no_key_and_reads_no_table(example):
    (example.directory / "keys/hospital.key").unlink()
    assert fedspark("check", str(example.file("hospital"))).code == 0


def test_a_local_file_that_names_a_missing_party_is_refused(example):
    example.file("authority").unlink()
    outcome = fedspark("check", str(example.file("local")))
    assert outcome.code == 78
    assert "authority.yaml" in outcome.said


# ---- schema and usage ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "key"), [("party", "workspace"), ("pipeline", "steps")])
def test_schema_prints_a_json_schema(kind, key):
    outcome = fedspark("schema", kind)
    assert outcome.code == 0
    assert key in json.loads(outcome.out)["properties"]


@pytest.mark.parametrize("words", [["schema", "table"], ["run"], ["nonsense"], ["check"]])
def test_wrong_usage_ends_with_status_2_and_without_a_traceback(words):
    outcome = fedspark(*words)
    assert outcome.code == 2
    assert "Usage" in outcome.err
    assert "Traceback" not in outcome.err


def test_help_names_every_command():
    outcome = fedspark("--help")
    assert outcome.code == 0
    for command in ("keygen", "check", "schema", "run", "local", "status", "inbox", "outbox"):
        assert command in outcome.out


def test_a_list_of_problems_ends_in_a_line_of_its_own_that_says_what_to_do(example):
    example.edit("pipeline", project="Not A Name", colour="blue")
    *_, last = fedspark("check", str(example.file("pipeline"))).err.splitlines()
    assert last == "Correct them, then look again with 'fedspark check'."


def test_what_is_wrong_with_an_override_is_not_to_be_checked_in_the_file(example):
    words = example.command("run", "hospital", "--set", "policy.wait_seconds=soon").said
    assert "where --set overrides the file, then run the command again." in words
    assert "fedspark check" not in words
