"""The example files are real: they load, fit together, and say what the code's defaults say."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from fedspark.conf import CsvTable, PolicyConf, check_together, load_party, load_pipeline
from fedspark.errors import ConfigError
from fedspark.party import Role, identity_text

EXAMPLE = Path(__file__).resolve().parents[2] / "conf" / "example"
PARTIES = {"hospital": Role.GUEST, "laboratory": Role.HOST, "authority": Role.ARBITER}


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """A copy of the examples, with the public keys that an installation would have exchanged."""
    place = tmp_path / "example"
    shutil.copytree(EXAMPLE, place)
    (place / "keys").mkdir(exist_ok=True)
    for number, name in enumerate(PARTIES):
        (place / "keys" / f"{name}.pub").write_text(identity_text(bytes([number] * 32)) + "\n")
    return place


@pytest.mark.parametrize("name", PARTIES)
def test_every_party_file_serves_the_pipeline(example, name):
    pipeline = load_pipeline(example / "pipeline.yaml")
    party = load_party(example / f"{name}.yaml")
    check_together(party, pipeline)
    assert party.party == name
    assert pipeline.roster()[name].role is PARTIES[name]


def test_the_pipeline_has_all_five_kinds_of_step():
    pipeline = load_pipeline(EXAMPLE / "pipeline.yaml")
    assert [step.step for step in pipeline.steps] == ["load", "psi", "train", "evaluate", "predict"]
    assert (pipeline.project, pipeline.pipeline) == ("breast-cancer", "demo")


def test_the_guest_has_a_label_for_training_and_none_for_scoring(example):
    tables = load_party(example / "hospital.yaml").tables
    assert tables["patients"].label == "malignant"
    assert tables["newcomers"].label is None


def test_the_arbiter_has_no_tables(example):
    assert load_party(example / "authority.yaml").tables == {}


def test_lines_that_are_commented_out_are_valid_too(example):
    path = example / "hospital.yaml"
    text = re.sub(r"^( *)# ( *(?:- )?[a-z_]+:(?: |$))", r"\1\2", path.read_text(), flags=re.MULTILINE)
    path.write_text(text)
    party = load_party(path)
    assert party.exchange.options["secret_access_key"] == "env:EXCHANGE_SECRET"
    table = party.tables["patients"]
    assert isinstance(table, CsvTable)
    assert set(CsvTable.model_fields) == table.model_fields_set
    assert set(PolicyConf.model_fields) == party.policy.model_fields_set
    assert [sink.place for sink in party.scores["predict"]] == [
        "clickhouse://warehouse.hospital.example:9000/marts/scores"
    ]


def test_a_role_that_the_pipeline_does_not_give_is_refused(example):
    text = (example / "hospital.yaml").read_text().replace("role: guest", "role: host")
    (example / "hospital.yaml").write_text(text)
    with pytest.raises(ConfigError, match="role: is not what pipeline demo says: guest"):
        check_together(load_party(example / "hospital.yaml"), load_pipeline(example / "pipeline.yaml"))
