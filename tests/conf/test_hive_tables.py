"""Conf of Hive tables and sinks: partitions as YAML has them, and what is refused."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

import fedspark.conf.tables.hive
from fedspark.conf import party_from
from fedspark.conf.party_file import PartyConf
from fedspark.errors import ConfigError

PARTY = {"party": "g", "identity": "env:X", "workspace": {"files": "w"}, "exchange": {"url": "e"}, "peers": {}}
METASTORE = {"kind": "hive", "metastore": "thrift://m:9083", "database": "crm", "table": "t"}
SERVER = {"kind": "hiveserver2", "host": "h", "user": "fed", "database": "crm", "table": "t"}


def party(table: dict[str, Any] | None = None, **more: Any) -> PartyConf:
    tables = {} if table is None else {"t": {"id": "id", **table}}
    return party_from({**PARTY, "tables": tables, **more}, Path("/conf"))


def test_the_snippet_of_the_documentation_is_valid() -> None:
    text = (fedspark.conf.tables.hive.__doc__ or "").partition("\n\n")[2]
    tables = yaml.safe_load(text)["tables"]
    conf = party_from({**PARTY, "tables": tables}, Path("/conf"))
    assert [table.kind for table in conf.tables.values()] == ["hive", "hiveserver2"]
    assert conf.tables["customers"].partitions == {"dt": ["2026-11-20"]}


@pytest.mark.parametrize("base", [METASTORE, SERVER])
@pytest.mark.parametrize(
    ("written", "texts"),
    [
        ("2026-11-20", ["2026-11-20"]),
        (datetime.date(2026, 11, 20), ["2026-11-20"]),
        (7, ["7"]),
        (True, ["true"]),
        ([19, datetime.date(1969, 12, 31), "x"], ["19", "1969-12-31", "x"]),
    ],
)
def test_values_of_partitions_are_texts_whatever_yaml_takes_them_for(
    base: dict[str, Any], written: Any, texts: list[str]
) -> None:
    assert party({**base, "partitions": {"dt": written}}).tables["t"].partitions == {"dt": texts}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({**METASTORE, "metastore": "m:9083"}, "must be thrift://host:port"),
        ({**METASTORE, "metastore": "thrift://m"}, "must be thrift://host:port"),
        ({**METASTORE, "metastore": "thrift://u:pw@m:9083"}, "must be thrift://host:port"),
        ({**METASTORE, "partitions": {"dt": []}}, "at least 1"),
        ({**METASTORE, "partitions": {"dt": 1.5}}, "partitions"),
        ({**METASTORE, "password": "env:X"}, "unknown key"),
        ({**SERVER, "auth": "kerberos"}, "must be 'none', 'nosasl', 'ldap' or 'custom'"),
        ({**SERVER, "auth": "ldap"}, "is required with `auth: ldap`"),
        ({**SERVER, "password": "env:X"}, "none sends no password, and there is one"),
        ({**SERVER, "auth": "ldap", "password": "swordfish"}, "must be a reference"),
        ({**SERVER, "slices": 0}, "slices"),
        ({**SERVER, "label": "id"}, "names column 'id', which `id` names too"),
    ],
)
def test_what_is_wrong_is_named_where_it_stands(table: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        party(table)
    assert words in str(caught.value)
    assert "tables.t" in str(caught.value)
    assert "swordfish" not in str(caught.value)


def test_several_metastores_may_stand_for_one() -> None:
    uris = "thrift://m1:9083,thrift://m2:9083"
    assert party({**METASTORE, "metastore": uris}).tables["t"].metastore == uris  # type: ignore[union-attr]


def test_a_certificate_lies_where_the_party_file_does() -> None:
    assert party({**SERVER, "ca": "keys/ca.pem"}).tables["t"].ca == "/conf/keys/ca.pem"  # type: ignore[union-attr]


def test_sinks_of_several_partitions_of_one_table_are_several_places() -> None:
    monday, tuesday = ({**METASTORE, "partition": {"dt": datetime.date(2026, 11, day)}} for day in (23, 24))
    places = [sink.place for sink in party(scores={"predict": [monday, tuesday]}).scores["predict"]]
    assert places == [f"hive://m:9083/crm/t/dt=2026-11-{day}" for day in (23, 24)]
    with pytest.raises(ConfigError, match="names a table that scores"):
        party(scores={"predict": [monday, monday]})


def test_the_partition_of_a_run_is_not_for_the_party_file_to_say() -> None:
    with pytest.raises(ConfigError, match="gets the name of the run with `if_exists: append`"):
        party(scores={"predict": {**METASTORE, "if_exists": "append", "partition": {"run": "x"}}})
