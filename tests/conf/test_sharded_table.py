"""Conf of sharded tables: ranges, and what is refused without showing a password."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from fedspark.conf.tables.sharded import ShardedTable, expanded

PLACE = {"kind": "mysql", "host": "db.example", "user": "fed", "password": "env:PW", "database": "db", "table": "t"}


def sharded(*shards: Any, **more: Any) -> ShardedTable:
    return ShardedTable.model_validate(
        {"id": "id", "shards": list(shards), **more}, context={"directory": Path("/conf")}
    )


def test_ranges_count_through_the_last_one_fastest():
    found = list(expanded({"kind": "x", "database": "db_{0..2}", "table": "user_{08..11}_{0..0}", "port": 1}))
    assert [(shard["database"], shard["table"]) for shard in found] == [
        (f"db_{d}", f"user_{t:02d}_0") for d in range(3) for t in range(8, 12)
    ]
    assert all(shard["port"] == 1 for shard in found)


def test_conditions_and_passwords_are_left_as_they_are():
    conf = sharded({**PLACE, "where": "x REGEXP 'a{1..2}'", "password": "file:{0..1}", "table": "t{1..2}"})
    assert [(shard.table, shard.where, shard.password) for shard in conf.shards] == [
        (table, "x REGEXP 'a{1..2}'", "file:{0..1}") for table in ("t1", "t2")
    ]


def test_shards_have_the_columns_of_the_whole_and_paths_from_the_party_file():
    conf = sharded({"kind": "csv", "path": "users-{0..1}.csv"}, id=["a", "b"], label="y", duplicates="drop")
    assert [(shard.path, shard.id, shard.label, shard.duplicates) for shard in conf.shards] == [
        (f"/conf/users-{n}.csv", ["a", "b"], "y", "drop") for n in range(2)
    ]


def test_several_patterns_make_one_table():
    conf = sharded(*({**PLACE, "database": f"db_{n}", "table": f"user_{{{4 * n}..{4 * n + 3}}}"} for n in range(2)))
    assert [f"{shard.database}.{shard.table}" for shard in conf.shards] == [f"db_{n // 4}.user_{n}" for n in range(8)]


@pytest.mark.parametrize(
    ("shards", "message"),
    [
        ([], "must be a list of tables of another kind"),
        (["db"], "must be a list of tables of another kind"),
        ([{**PLACE, "table": "t{5..1}"}], "the smaller number first"),
        ([{**PLACE, "table": "t{0..9999}"}], "must stand for 1 to 4096 tables"),
        ([PLACE, {"kind": "csv", "path": "x"}], r"must all have one `kind`, a table's own; \[1\] does not"),
        ([{"kind": "sharded"}], "must all have one `kind`"),
        ([{"kind": "nosuch"}], "must all have one `kind`"),
        ([{**PLACE, "id": "x"}], r"take `id` from the whole table; \[0\] has its own"),
        ([{**PLACE, "tabel": "x"}], r"\[0\]: `tabel`: Extra inputs"),
        ([{**PLACE, "password": "hunter2"}], r"\[0\]: `password`: must be a reference"),
        ([PLACE, PLACE], "name one table twice"),
    ],
)
def test_what_does_not_fit_is_refused(shards, message):
    with pytest.raises(ValidationError, match=message) as caught:
        sharded(*shards)
    assert "hunter2" not in str(caught.value.errors(include_input=False))
    assert {error["type"] for error in caught.value.errors()} == {"clear_secret"}  # its input is never shown
