"""`fedspark check` with the files of several parties: what only shows when they are seen together, and their tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedspark.crypto.identity import new_identity, public_bytes
from fedspark.party import identity_text
from tests.example import Example, Outcome, fedspark, identity

FILES = ("hospital", "laboratory", "authority", "pipeline")


@pytest.fixture
def example(tmp_path: Path) -> Example:
    return Example.make(tmp_path / "example")


def check(example: Example, *names: str) -> Outcome:
    outcome = fedspark("check", *(str(example.file(name)) for name in names or FILES))
    assert "Traceback" not in outcome.err
    return outcome


def hospital_table(example: Example, text: str) -> None:
    (example.directory / "data/hospital_patients.csv").write_text(text)


def test_files_that_fit_together_pass_without_a_note(example):
    outcome = check(example)
    assert outcome.code == 0, outcome.err
    assert "note:" not in outcome.out


# ---- parties ---------------------------------------------------------------------------------------------------------


def test_a_peer_key_that_is_not_that_of_the_peers_own_file_is_named_with_both_files(example):
    wrong = identity_text(public_bytes(new_identity()))
    example.edit("hospital", peers={"laboratory": wrong})
    outcome = check(example, "hospital", "laboratory")
    assert outcome.code == 78
    right = identity_text(public_bytes(identity("laboratory")))
    for word in ("hospital.yaml: peers.laboratory is", "laboratory.yaml", wrong, right, "keygen laboratory"):
        assert word in outcome.said
    assert "ed25519-private" not in outcome.err


def test_a_private_key_that_is_not_here_is_not_missed(example):
    example.edit("hospital", peers={"laboratory": identity_text(public_bytes(new_identity()))})
    (example.directory / "keys/laboratory.key").unlink()
    assert check(example, "hospital", "laboratory").code == 0


def test_different_places_of_exchange_are_a_note_since_mounts_may_differ(example):
    example.edit("laboratory", exchange={"url": "elsewhere"})
    outcome = check(example, "hospital", "laboratory")
    assert outcome.code == 0
    (note,) = [line for line in outcome.out.splitlines() if line.startswith("note: ")]
    for word in ("hospital.yaml", "laboratory.yaml", "example/exchange", "example/elsewhere"):
        assert word in note


# ---- tables ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["data/nothing.csv", "data/nothing-*.csv", "nowhere/*/nothing.csv"])
def test_a_table_that_is_not_there_is_named_with_its_file(example, path):
    text = example.file("hospital").read_text().replace("data/hospital_patients.csv", path)
    example.file("hospital").write_text(text)
    outcome = check(example, "hospital", "pipeline")
    assert outcome.code == 78
    assert "hospital.yaml: Table 'patients'" in outcome.said
    assert "there is no such file" in outcome.said


def test_columns_that_the_header_does_not_have_are_named_with_the_nearest(example):
    hospital_table(example, "Patient_ID,malignent,marker\n1,0,2\n")
    outcome = check(example, "hospital", "pipeline")
    assert outcome.code == 78
    assert "Did you mean 'Patient_ID'?" in outcome.said
    assert "Did you mean 'malignent'?" in outcome.said


@pytest.mark.parametrize(("mark", "written"), [(";", '";"'), ("\t", '"\\t"'), ("|", '"|"')])
def test_another_delimiter_is_recognised(example, mark, written):
    hospital_table(example, f"patient_id{mark}malignant{mark}marker\n")
    outcome = check(example, "hospital", "pipeline")
    assert outcome.code == 78
    assert f"Set `delimiter: {written}`." in outcome.said
    assert "Did you mean" not in outcome.said


def test_a_column_that_the_parquet_file_does_not_have_is_named(example):
    example.write_table("laboratory_patients", {"patient": ["a"], "iron": [1.0]})
    outcome = check(example, "laboratory", "pipeline")
    assert outcome.code == 78
    assert "laboratory.yaml: Table 'patients'" in outcome.said
    assert "`id` names column 'patient_id'" in outcome.said
    assert "Did you mean 'patient'?" in outcome.said


def test_a_table_of_two_pipelines_is_reported_once(example):
    (example.directory / "data/hospital_newcomers.csv").unlink()
    outcome = check(example, "hospital", "pipeline", "scoring")
    assert outcome.code == 78
    assert outcome.said.count("there is no such file") == 1


# ---- models ----------------------------------------------------------------------------------------------------------


def test_a_model_of_an_earlier_run_that_is_not_there_is_a_note(example):
    outcome = check(example, "hospital", "scoring")
    assert outcome.code == 0, outcome.err
    assert "needs the model of run 1 of pipeline demo" in outcome.out
    path = example.directory / "work/hospital/runs/breast-cancer/demo/1/steps/train/model.json"
    assert str(path) in outcome.out
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    assert "note:" not in check(example, "hospital", "scoring").out
