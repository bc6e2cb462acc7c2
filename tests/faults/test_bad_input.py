"""What users get wrong, as they meet it: one paragraph that names the thing, the right status, nothing half-written."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import obstore
import pytest

from fedspark.buckets import InProcessRunner
from fedspark.crypto.identity import new_identity, private_text, public_bytes
from fedspark.party import identity_text
from tests.example import PARTIES, Columns, Example, Outcome, identity, small_tables

Change = Callable[[Columns], None]


def assert_refused(outcome: Outcome, kind: str, code: int, *words: str) -> None:
    """One paragraph of that kind, that status, these words in it, and the command to go on where it can help."""
    assert outcome.code == code, outcome.err
    assert f"fedspark: {kind}: " in outcome.said
    assert "Traceback" not in outcome.err
    for word in words:
        assert word in outcome.said
    goes_on = re.match(r"To go on.*: fedspark run --party ", outcome.err.splitlines()[-1])
    assert bool(goes_on) is (kind not in ("ConfigError", "Mismatch"))


def hospital_table(example: Example, change: Change) -> None:
    columns = small_tables()["hospital_patients"]
    change(columns)
    example.write_table("hospital_patients", columns)


# ---- tables ----------------------------------------------------------------------------------------------------------


def put(column: str, value: Any, rows: slice = slice(3, 5)) -> Change:
    def change(columns: Columns) -> None:
        columns[column][rows] = [value] * len(columns[column][rows])

    return change


def repeat_an_id(columns: Columns) -> None:
    columns["patient_id"][7] = columns["patient_id"][8]


def repeat_an_id_and_spoil_a_value(columns: Columns) -> None:
    repeat_an_id(columns)
    put("marker", "nan")(columns)


def without(column: str) -> Change:
    return lambda columns: columns.pop(column) and None


BAD_TABLES: list[Any] = [
    pytest.param(without("malignant"), "'malignant'", id="missing label column"),
    pytest.param(without("patient_id"), "'patient_id'", id="missing id column"),
    pytest.param(put("marker", "high"), "'marker' does not read as a number in 2 rows", id="wrong type"),
    pytest.param(put("patient_id", ""), "2 rows with no id", id="null id"),
    pytest.param(repeat_an_id_and_spoil_a_value, "1 row whose key is there already", id="duplicate id, among others"),
    pytest.param(put("malignant", 2), "neither 0 nor 1 but '2'", id="label not 0 or 1"),
    pytest.param(put("malignant", 1, slice(None)), "'malignant' is 1 in all 50 rows", id="one class only"),
    pytest.param(put("marker", 0.5, slice(None)), "'marker' has one value in all 50 rows", id="constant feature"),
    pytest.param(put("marker", "nan"), "'marker' has NaN or infinity in 2 rows", id="NaN"),
    pytest.param(put("marker", "inf"), "'marker' has NaN or infinity in 2 rows", id="infinity"),
    pytest.param(put("marker", ""), "'marker' has no value in 2 rows", id="missing value"),
]


@pytest.mark.spark
@pytest.mark.parametrize(("change", "words"), BAD_TABLES)
def test_a_bad_table_is_refused_and_nothing_of_it_is_staged_or_sent(spark, example, change, words):
    hospital_table(example, change)
    before = example.files("exchange")
    outcome = example.command("run", "hospital", "--step", "load", "--wait", "0")
    assert_refused(outcome, "TableError", 65, "Table 'patients'", "hospital_patients.csv", words)
    assert example.files("exchange") == before
    assert not any("/patients" in path for path in example.paths("work/hospital"))
    record = example.place("hospital").status.get("load")
    assert (record["state"], record["error"]) == ("failed", "TableError")
    assert not any(key in outcome.err for key in small_tables()["hospital_patients"]["patient_id"])


@pytest.mark.spark
def test_the_problems_of_all_tables_are_told_at_once(spark, example):
    hospital_table(example, repeat_an_id_and_spoil_a_value)
    columns = small_tables()["hospital_newcomers"]
    put("marker", "high")(columns)
    example.write_table("hospital_newcomers", columns)
    outcome = example.command("run", "hospital", "--step", "load", "--wait", "0")
    assert_refused(
        outcome,
        "TableError",
        65,
        "Table 'patients'",
        "1 row whose key is there already",
        "Table 'newcomers'",
        "does not read as a number",
    )
    assert not any("/tables/" in path for path in example.paths("work/hospital"))


@pytest.mark.spark
def test_a_corrected_table_is_loaded_by_the_same_command(spark, example):
    hospital_table(example, put("marker", "high"))
    assert example.command("run", "hospital", "--step", "load", "--wait", "0").code == 65
    hospital_table(example, lambda columns: None)
    assert example.command("run", "hospital", "--step", "load", "--wait", "0").code == 0
    assert example.place("hospital").status.get("load")["state"] == "done"


@pytest.mark.spark
@pytest.mark.parametrize("name", ["hospital", "laboratory"])
def test_a_missing_file_is_named_with_the_key_to_correct(spark, example, name):
    for path in (example.directory / "data").glob(f"{name}_patients.*"):
        path.unlink()
    outcome = example.command("run", name, "--step", "load", "--wait", "0")
    assert_refused(outcome, "TableError", 65, "there is no such file", f"{name}_patients", "`path`")


@pytest.mark.spark
def test_a_hosts_table_with_nan_is_refused_at_the_host(spark, example):
    columns = small_tables()["laboratory_newcomers"]
    columns["zinc"][0] = float("nan")
    example.write_table("laboratory_newcomers", columns)
    outcome = example.command("run", "laboratory", "--step", "load", "--wait", "0")
    assert_refused(outcome, "TableError", 65, "Table 'newcomers'", "'zinc' has NaN or infinity in 1 row")


def intersected(example: Example) -> None:
    """Load and psi at both data parties."""
    for name in ("hospital", "laboratory"):
        example.run(name, step="load")
    errors = example.play(lambda name: example.run(name, step="psi"), names=("hospital", "laboratory"))
    assert errors == {}


@pytest.mark.spark
@pytest.mark.slow
def test_more_features_than_training_rows_are_refused_before_anything_about_them_is_sent(spark, example):
    common = small_tables()["hospital_patients"]["patient_id"][:9]
    columns = {"patient_id": common, "iron": [float(row) for row in range(9)]}
    example.write_table("laboratory_patients", columns)
    hospital_table(
        example,
        lambda columns: columns.update({f"x{n}": [(row * 31.0 + n * 17) % 101 for row in range(50)] for n in range(7)}),
    )
    intersected(example)
    outcome = example.command("run", "hospital", "--step", "train", "--wait", "0")
    assert_refused(outcome, "TableError", 65, "9 features", "training rows; more rows are needed")
    assert not any("/train/" in path for path in example.paths("exchange"))


@pytest.mark.spark
def test_common_people_of_one_class_only_are_refused_before_anything_about_them_is_sent(spark, example):
    common = set(small_tables()["laboratory_patients"]["patient_id"])
    columns = small_tables()["hospital_patients"]
    columns["malignant"] = [int(key in common) for key in columns["patient_id"]]
    example.write_table("hospital_patients", columns)
    intersected(example)
    outcome = example.command("run", "hospital", "--step", "train", "--wait", "0")
    assert_refused(outcome, "TableError", 65, "training rows have label 1; both classes are needed")
    assert not any("/train/" in path for path in example.paths("exchange"))


# ---- configuration and keys ------------------------------------------------------------------------------------------


def test_an_unknown_key_is_refused_with_the_nearest_one(example):
    example.edit("hospital", workspce={"files": "x"})
    outcome = example.command("run", "hospital", "--wait", "0")
    assert_refused(outcome, "ConfigError", 78, "hospital.yaml", "workspce", "workspace")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (identity_text(public_bytes(identity("hospital"))), "is not a private identity key"),
        (private_text(new_identity()), "does not open with our identity key"),
    ],
    ids=["the public key", "another private key"],
)
def test_a_wrong_key_file_is_our_own_configuration_error(example, text, words):
    (example.directory / "keys/hospital.key").write_text(text + "\n")
    before = example.files("exchange")
    outcome = example.command("run", "hospital", "--wait", "0")
    assert_refused(outcome, "ConfigError", 78, words)
    assert text not in outcome.err
    assert example.files("exchange") == before


def test_a_wrong_peer_key_is_named_at_one_party_and_told_to_the_others(tmp_path):
    example = Example.make(tmp_path / "example", tables={})
    wrong = identity_text(public_bytes(new_identity()))
    example.edit("hospital", peers={"laboratory": wrong})
    assert example.command("run", "laboratory", "--wait", "0").code == 75
    right = identity_text(public_bytes(identity("laboratory")))
    outcome = example.command("run", "hospital", "--wait", "0")
    assert_refused(outcome, "Mismatch", 76, wrong, right, "laboratory")
    outcome = example.command("run", "laboratory", "--wait", "0")
    assert_refused(outcome, "Stopped", 76, "hospital refused the handshake: Mismatch about laboratory")

    example.edit("hospital", peers={"laboratory": right})
    example.greet()
    assert not any("refused" in path for path in example.paths("exchange"))


def test_pipelines_that_differ_stop_every_party_and_each_names_the_key_with_both_values(tmp_path):
    example = Example.make(tmp_path / "example", tables={})

    def run(name: str, l2: float) -> Outcome:
        example.edit_steps(train={"l2": l2})
        return example.command("run", name, "--wait", "0")

    assert run("laboratory", 0.5).code == 75
    assert_refused(
        run("hospital", 0.25), "Mismatch", 76, "pipeline.steps.train.l2 is '0.25' here and '0.5' at laboratory"
    )
    assert_refused(
        run("laboratory", 0.5), "Mismatch", 76, "pipeline.steps.train.l2 is '0.5' here and '0.25' at hospital"
    )
    assert_refused(run("authority", 0.5), "Mismatch", 76, "'0.5' here and '0.25' at hospital")
    assert not any("ack" in path for path in example.paths("exchange"))
    assert "Start a new run label" in run("hospital", 0.25).said


# ---- peers and stores ------------------------------------------------------------------------------------------------


def test_a_peer_that_never_comes_ends_the_run_at_the_deadline(tmp_path):
    example = Example.make(tmp_path / "example", tables={})
    example.edit("hospital", policy={"deadline_hours": 1e-9})
    outcome = example.command("run", "hospital")
    assert_refused(outcome, "Absent", 76, "hello of laboratory never came", "policy.deadline_hours")
    assert example.place("hospital").status.get("handshake")["error"] == "Absent"


@pytest.mark.parametrize("key", ["exchange", "workspace"])
def test_a_store_under_a_file_is_refused(tmp_path, key):
    example = Example.make(tmp_path / "example", tables={})
    (example.directory / "occupied").write_text("I am a file")
    change = {"url": "occupied/x"} if key == "exchange" else {"files": "occupied/x"}
    example.edit("authority", **{key: change})
    outcome = example.command("run", "authority", "--wait", "0")
    assert_refused(outcome, "StoreError", 74, "occupied/x")
    assert (example.directory / "occupied").read_text() == "I am a file"


@pytest.mark.spark
def test_a_place_for_tables_that_cannot_be_written_is_refused(spark, example):
    workspace = example.place("hospital").workspace
    workspace.create("tables", b"I am a file")
    outcome = example.command("run", "hospital", "--step", "load", "--wait", "0")
    assert_refused(outcome, "StoreError", 74, workspace.name("tables/patients"))
    assert not any("/steps/" in path for path in example.paths("work/hospital"))


@pytest.mark.parametrize("room", range(0, 40, 4))
def test_a_disk_that_fills_up_ends_with_its_remedy_and_the_run_goes_on_when_there_is_room(example, monkeypatch, room):
    """The authority's load step and its wait in train need about 12 objects; the disk has room for ``room``."""
    original, left = obstore.put, [room]

    def put(*arguments: Any, **more: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device (os error 28)")
        return original(*arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr("fedspark.exchange.store.obstore.put", put)
        outcome = example.command("run", "authority", "--wait", "0")
    if left[0] < 0:
        assert_refused(outcome, "StoreError", 74, "No space left on device", "Writing")
    else:
        assert outcome.code == 75
    assert example.command("run", "authority", "--wait", "0").code == 75
    assert not any("#" in path or ".probe" in path for path in example.paths(""))


# ---- messages --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def at_psi(spark: Any, greeted: Example, tmp_path_factory: pytest.TempPathFactory) -> Example:
    """Both data parties have loaded their tables, and the laboratory has sent its first message."""
    example = greeted.copy(tmp_path_factory.mktemp("at_psi") / "example")
    for name in ("hospital", "laboratory"):
        example.run(name, step="load")
    assert example.command("run", "laboratory", "--wait", "0").code == 75
    return example


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


ATTACKS: list[Any] = [
    pytest.param(flipped, "part-00000-000", "Tampered", id="tampered part"),
    pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-1]), "part-00000-000", "Tampered", id="truncated"),
    pytest.param(lambda path: path.write_bytes(bytes(2**20)), "part-00000-000", None, id="oversized"),
    pytest.param(lambda path: path.unlink(), "part-00000-000", "Removed", id="missing"),
    pytest.param(flipped, "manifest", "Tampered", id="tampered manifest"),
    pytest.param(lambda path: (path.parent / "part-00001-000").write_bytes(b"x"), "manifest", None, id="foreign part"),
    pytest.param(lambda path: path.write_bytes(bytes(2**26)), "manifest", "Oversized", id="oversized manifest"),
]


@pytest.mark.spark
@pytest.mark.parametrize(("attack", "name", "kind"), ATTACKS)
def test_an_attacked_message_stops_the_run_with_its_name_and_a_restored_one_lets_it_go_on(
    at_psi, tmp_path, attack, name, kind
):
    example = at_psi.copy(tmp_path / "example")
    (path,) = (example.directory / "exchange").rglob(f"size.0/laboratory.hospital/{name}")
    held = {file: file.read_bytes() for file in path.parent.iterdir()}
    attack(path)
    outcome = example.command("run", "hospital", "--wait", "0")
    assert outcome.code == 76, outcome.err
    kinds = [kind] if kind else ["Tampered", "Oversized", "Replayed", "Mismatch"]
    assert any(f"fedspark: {error}: " in outcome.said for error in kinds)
    assert "size.0/laboratory.hospital" in outcome.err.replace("\n", " ")
    assert any("/stop/hospital.json" in path for path in example.paths("exchange"))
    assert not any("nonce.0/hospital" in path for path in example.paths("exchange"))

    for file in path.parent.iterdir():
        file.unlink()
    for file, data in held.items():
        file.write_bytes(data)
    assert example.command("run", "hospital", "--wait", "0").code == 75
    assert not any("/stop/" in path for path in example.paths("exchange"))


@pytest.mark.spark
def test_a_second_version_of_a_message_that_was_accepted_is_refused(at_psi, greeted, tmp_path):
    """The laboratory signs and seals both, with the same keys: once with 50 rows, once with 49."""
    example, other = at_psi.copy(tmp_path / "example"), greeted.copy(tmp_path / "other")
    other.write_table(
        "laboratory_patients", {name: rows[1:] for name, rows in small_tables()["laboratory_patients"].items()}
    )
    assert other.command("run", "laboratory", "--wait", "0").code == 75
    assert example.command("run", "hospital", "--wait", "0").code == 75

    (message,) = (example.directory / "exchange").rglob("size.0/laboratory.hospital")
    (second,) = (other.directory / "exchange").rglob("size.0/laboratory.hospital")
    assert (message / "part-00000-000").read_bytes() != (second / "part-00000-000").read_bytes()
    shutil.copytree(second, message, dirs_exist_ok=True)
    outcome = example.command("run", "hospital", "--wait", "0")
    assert_refused(outcome, "Replayed", 76, "size.0/laboratory.hospital")


# ---- a stop and a correction -----------------------------------------------------------------------------------------


@pytest.mark.spark
@pytest.mark.slow
def test_a_refusal_stops_all_parties_and_after_its_correction_the_run_goes_on_as_if_nothing_had_been(
    spark, calm, tmp_path
):
    from tests.faults.left import assert_same

    example = Example.make(tmp_path / "example")
    example.edit("hospital", policy={"min_intersection": 46})
    errors = example.play(lambda name: example.run(name, runner=InProcessRunner()))
    assert {name: type(error).__name__ for name, error in errors.items()} == {
        "hospital": "PolicyRefused", "laboratory": "Stopped", "authority": "Stopped",
    }  # fmt: skip
    assert "45 people are common to all parties; this party's limit min_intersection is 46" in str(errors["hospital"])
    outcome = example.command("run", "hospital", "--wait", "0")
    assert_refused(outcome, "PolicyRefused", 77, "min_intersection is 46")
    for name in set(PARTIES) - {"hospital"}:
        outcome = example.command("run", name, "--wait", "0")
        assert_refused(outcome, "Stopped", 76, "hospital stopped the run: PolicyRefused")

    example.edit("hospital", policy={"min_intersection": 8})
    assert example.command("run", "hospital", "--wait", "0").code == 75
    assert example.play() == {}
    assert_same(example, calm)
