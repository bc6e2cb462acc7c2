"""A party file for imports, with or without what is for other parties."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedspark.cli import main
from fedspark.conf import PartyConf
from fedspark.conf.own_file import load_own
from fedspark.errors import ConfigError

OWN = """
party: clinic
workspace: {files: workspace}
tables:
  people: {kind: parquet, path: people, id: person_id}
imports:
  people:
    from: people
    to: {kind: clickhouse, host: warehouse.example, user: fed, password: env:CLICKHOUSE_PASSWORD, table: people}
"""


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "clinic.yaml"
        path.write_text(text)
        return path

    return write


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as error:
        load_own(path)
    return str(error.value)


def test_a_file_without_peers_has_all_that_an_import_needs(write, tmp_path):
    conf = load_own(write(OWN), {"imports.people.slices": "7"})
    assert (conf.imports["people"].slices, conf.imports["people"].to.if_exists) == (7, "refuse")
    assert (conf.party, conf.directory, conf.table("people").id) == ("clinic", tmp_path, ["person_id"])
    assert not isinstance(conf, PartyConf)


def test_a_file_that_speaks_of_peers_is_a_whole_party_file(write):
    said = refused(write(OWN + "peers: {}\n"))
    assert "identity: is required and missing" in said
    assert "exchange: is required and missing" in said


def test_a_file_for_imports_alone_passes_the_check(write, capsys):
    path = write(OWN)
    main(["check", str(path)])
    assert f"{path}: a valid party file" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("from: people", "from: persons", "imports.people.from: is none of `tables`: people"),
        ("password: env:CLICKHOUSE_PASSWORD", "password: hunter2", "imports.people.to.password: must be a reference"),
        ("kind: clickhouse", "kind: clickhouse, if_exists: append", "imports.people.to.if_exists"),
        ("from: people", "from: people\n    slice: 3", "imports.people.slice: unknown key"),
        (
            "imports:",
            "imports:\n  again:\n    from: people\n    to: {kind: clickhouse, host: warehouse.example, table: people}",
            "imports.people.to: names the table that imports.again names too",
        ),
        (
            "imports:",
            "imports:\n  again:\n    from: people\n"
            "    to: {host: WAREHOUSE.example, port: 9000, database: default, table: people}",
            "imports.people.to: names the table that imports.again names too",
        ),
    ],
)
def test_a_broken_rule_is_named_with_its_key_path(write, old, new, said):
    message = refused(write(OWN.replace(old, new, 1)))
    assert said in message
    assert "hunter2" not in message
