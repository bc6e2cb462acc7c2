"""The key `scores` of a party file."""

from __future__ import annotations

from typing import Any

import pytest

from fedspark.conf import party_from, party_schema
from fedspark.conf.party_file import PartyConf
from fedspark.conf.tables import SINK_KINDS
from fedspark.errors import ConfigError
from fedspark.tables.sinks import WRITERS

PARTY = {"party": "g", "identity": "env:X", "workspace": {"files": "w"}, "exchange": {"url": "e"}, "peers": {}}
SINK = {"kind": "mysql", "host": "h", "user": "u", "password": "env:P", "database": "d", "table": "t"}
CLICKHOUSE = {"kind": "clickhouse", "host": "h", "table": "t"}


def party(scores: Any, **more: Any) -> PartyConf:
    return party_from({**PARTY, "scores": scores, **more}, "/")


def test_a_step_has_one_sink_or_a_list_of_them() -> None:
    conf = party({"predict": SINK, "weekly": [{**SINK, "table": "u"}, CLICKHOUSE]})
    assert [sink.place for sink in conf.scores["predict"]] == ["mysql://h:3306/d/t"]
    assert [sink.place for sink in conf.scores["weekly"]] == ["mysql://h:3306/d/u", "clickhouse://h:9000/default/t"]
    assert {sink.if_exists for sinks in conf.scores.values() for sink in sinks} == {"refuse"}


def test_every_kind_of_sink_has_a_writer() -> None:
    assert SINK_KINDS.keys() == WRITERS.keys()


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ({"predict": {**SINK, "prt": 3}}, "scores.predict.prt: unknown key; valid here: kind, if_exists, host"),
        ({"predict": [CLICKHOUSE, {**SINK, "port": "x"}]}, r"scores.predict\[1\].port: must be a whole number"),
        ({"predict": {**SINK, "kind": "mysqll"}}, "scores.predict.kind: unknown kind; .*Did you mean 'mysql'?"),
        ({"predict": {"table": "t"}}, "scores.predict.kind: is required and missing; valid: mysql, clickhouse, hive"),
        ({"predict": {**SINK, "password": "swordfish"}}, "scores.predict.password: must be a reference"),
        ({"predict": {**SINK, "if_exists": "overwrite"}}, "scores.predict.if_exists: must be 'refuse', 'replace' or"),
        ({"predict": SINK, "b": [SINK]}, "scores.b: names a table that scores.predict names too"),
        ({"predict": [CLICKHOUSE, CLICKHOUSE]}, "scores.predict: names a table that scores.predict names too"),
        ({"predict": []}, "scores.predict: .*at least 1"),
        ({"predict": 3}, "scores.predict: must be a list"),
        ({"Predict": SINK}, "scores.Predict: must be lower-case letters"),
    ],
)
def test_what_is_wrong_is_named_where_it_stands(scores: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        party(scores)
    assert "swordfish" not in str(caught.value)
    assert "problems" not in str(caught.value)  # it is one


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (SINK, {**SINK, "port": 3306, "user": "v"}),
        (SINK, {**SINK, "host": "H"}),
        (CLICKHOUSE, {**CLICKHOUSE, "database": "default", "port": 9000}),
        ({"kind": "hive", "table": "t"}, {"kind": "hive", "table": "T", "database": "Default"}),
        (
            {"kind": "hive", "table": "t", "partition": {"day": 7, "hour": 1}},
            {"kind": "hive", "table": "t", "partition": {"HOUR": "1", "day": "7"}},
        ),
    ],
)
def test_one_table_is_found_however_it_is_spelled(one: dict[str, Any], other: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"scores\.b: names a table that scores\.a names too: one would undo"):
        party({"a": one, "b": other})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (SINK, {**SINK, "port": 3307}),
        (SINK, {**SINK, "table": "T"}),
        (CLICKHOUSE, {**CLICKHOUSE, "database": "d"}),
        ({"kind": "hive", "table": "t"}, {"kind": "hive", "table": "t", "metastore": "thrift://m:9083"}),
        (SINK, {"kind": "clickhouse", "host": "h", "port": 3306, "database": "d", "table": "t"}),
    ],
)
def test_tables_of_other_places_are_others(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert len(party({"a": one, "b": other}).scores) == 2


def test_scores_do_not_go_where_an_import_goes() -> None:
    more = {
        "tables": {"people": {"kind": "parquet", "path": "p", "id": "id"}},
        "imports": {"people": {"from": "people", "to": {**CLICKHOUSE, "database": "default"}}},
    }
    with pytest.raises(ConfigError, match=r"scores\.a: names a table that imports\.people names too"):
        party({"a": CLICKHOUSE}, **more)
    assert party({"a": {**CLICKHOUSE, "table": "u"}}, **more).imports.keys() == {"people"}


def test_who_is_no_guest_has_no_scores() -> None:
    with pytest.raises(ConfigError, match="scores: is for the guest, who gets the scores, and `role` is host"):
        party({"predict": SINK}, role="host")


def test_the_schema_takes_both_forms() -> None:
    (shape,) = party_schema()["properties"]["scores"]["patternProperties"].values()
    assert [choice.get("type") for choice in shape["anyOf"]] == [None, "array"]
