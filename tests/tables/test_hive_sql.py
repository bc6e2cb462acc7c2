"""The SQL for Hive as text, and Hive's own answers where the server of the tests gives others."""

from __future__ import annotations

from typing import Any

import pytest

from fedspark.conf.tables import HiveServer2Table
from fedspark.errors import TableError
from fedspark.tables.hive import slices, sql
from fedspark.tables.hive.names import literal, quoted
from fedspark.tables.hive.server import _line
from fedspark.tables.hive.sql import Partition, Query
from fedspark.tables.roles import Column, Kind

CONF = HiveServer2Table(host="h", user="u", database="d", table="t", id=["id"])


class Answers:
    """A session that gives rows by the beginning of a statement."""

    def __init__(self, **rows: list[tuple[Any, ...]]) -> None:
        self.rows_of = rows
        self.asked: list[str] = []

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        self.asked.append(statement)
        return next(rows for begin, rows in self.rows_of.items() if statement.startswith(begin.replace("_", " ")))


def test_hive_s_own_description_of_a_table_is_understood() -> None:
    described = [
        ("id                  ", "bigint              ", "                    "),
        ("m", "map<string,int>", "of all"),
        ("dt", "string", None),
        ("", None, None),
        ("# Partition Information", None, None),
        ("# col_name            ", "data_type           ", "comment             "),
        ("", None, None),
        ("dt", "string", None),
    ]
    found = slices._described(Answers(DESCRIBE=described), "t", CONF)  # type: ignore[arg-type]
    assert found == ([("id", "bigint"), ("m", "map<string,int>"), ("dt", "string")], ["dt"])


def test_a_table_without_partitions_has_none() -> None:
    found = slices._described(Answers(DESCRIBE=[("id", "int", "")]), "t", CONF)  # type: ignore[arg-type]
    assert found == ([("id", "int")], [])


def test_queries_ask_for_whole_partitions_and_for_all_of_them_once() -> None:
    session = Answers(SELECT=[("2026-11-20", 5), ("2026-11-21", 7), (None, 1)])
    table = CONF.model_copy(update={"where": "x > 1 -- only these"})
    found = slices._queries(session, table, {"dt": "string"}, ["dt"], 2)  # type: ignore[arg-type]
    assert session.asked == [
        "SELECT CAST(`dt` AS STRING), COUNT(*) FROM `d`.`t` WHERE (x > 1 -- only these\n) GROUP BY CAST(`dt` AS STRING)"
    ]
    assert found == (
        (Query("((`dt` = '2026-11-21')\n) AND ((x > 1 -- only these\n)\n)", 7),),
        (Query("((`dt` = '2026-11-20') OR (`dt` IS NULL)\n) AND ((x > 1 -- only these\n)\n)", 6),),
    )


@pytest.mark.parametrize("partitioned", [["dt"], []])
def test_slices_are_the_same_in_whatever_order_the_server_answers(partitioned: list[str]) -> None:
    partitions = [("2026-11-20", 5), ("2026-11-21", 5), (None, 5), ("2026-11-19", 7)]
    rows = partitions if partitioned else [(0, 5), (2, 5), (1, 7)]
    first, second = (
        slices._queries(Answers(SELECT=answer), CONF, {"dt": "string"}, partitioned, 3)  # type: ignore[arg-type]
        for answer in (rows, rows[::-1])
    )
    assert first == second
    assert sum(query.rows for queries in first for query in queries) == sum(count for _, count in rows)


def test_many_partitions_are_several_queries_of_a_slice() -> None:
    ((*queries,),) = sql.dealt([(f"p = {k}", 1) for k in range(120)], 1, "")
    assert [query.rows for query in queries] == [50, 50, 20]
    asked = " ".join(query.condition for query in queries)
    assert all(f"(p = {k})" in asked for k in range(120))


@pytest.mark.parametrize(
    ("type_name", "value", "condition"),
    [
        ("string", "it's", "`p` = 'it\\047s'"),
        ("string", "__HIVE_DEFAULT_PARTITION__", "`p` IS NULL"),
        ("int", "7", "`p` = 7"),
        ("bigint", "7 OR 1=1", "CAST(`p` AS STRING) = '7 OR 1=1'"),
        ("date", "1969-12-31", "`p` = CAST('1969-12-31' AS DATE)"),
        ("decimal(5,1)", "-1.5", "CAST(`p` AS STRING) = '-1.5'"),
    ],
)
def test_a_partition_is_asked_for_in_its_own_type(type_name: str, value: str, condition: str) -> None:
    assert sql.has("p", type_name, value) == condition


def test_names_and_texts_cannot_leave_their_quotes() -> None:
    assert quoted("a`b\\'") == "`a``b\\'`"
    assert literal("a'b\\\"\n") == "'a\\047b\\134\\042\\012'"
    assert literal("${hiveconf:x}") == "'\\044{hiveconf:x}'"
    with pytest.raises(TableError, match="can be called"):
        quoted("a\nb")
    with pytest.raises(TableError, match="see a variable in the name"):
        quoted("a${env:HOME}")


def test_partitions_are_read_as_hive_prints_them() -> None:
    printed = "Dt=2026-11-20 10%3A00/s=a%2Fb%3D%25/n=__HIVE_DEFAULT_PARTITION__"
    assert dict(Partition.of(printed).values) == {
        "dt": "2026-11-20 10:00", "s": "a/b=%", "n": "__HIVE_DEFAULT_PARTITION__"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("type_name", "kind", "as_id", "value"),
    [
        ("decimal(20,0)", Kind.INTEGER, "CAST(`c` AS STRING)", "CAST(`c` AS DOUBLE)"),
        ("decimal(9,2)", Kind.DECIMAL, "CAST(`c` AS STRING)", "CAST(`c` AS DOUBLE)"),
        ("bigint", Kind.INTEGER, "`c`", "`c`"),
        ("float", Kind.REAL, "CAST(`c` AS DOUBLE)", "CAST(`c` AS DOUBLE)"),
        ("char(3)", Kind.TEXT, "`c`", "`c`"),
        ("timestamp", Kind.TIMESTAMP, "CAST(`c` AS STRING)", "CAST(`c` AS STRING)"),
        ("array<int>", Kind.OTHER, "CAST(`c` AS STRING)", "CAST(`c` AS STRING)"),
    ],
)
def test_columns_are_read_by_their_types(type_name: str, kind: Kind, as_id: str, value: str) -> None:
    assert sql.kind_of(type_name) is kind
    column = Column(0, "c", type_name, kind)
    assert sql.value_of(column, as_id=True).expression == as_id
    assert sql.value_of(column, as_id=False).expression == value


def test_what_hive_says_comes_in_one_line_without_its_java() -> None:
    hive = (
        "Error while compiling statement: FAILED: SemanticException [Error 10004]: Line 1:7 Invalid table alias 'x'\n"
        "\tat org.apache.hive.service.cli.operation.Operation.toSQLException(Operation.java:400)"
    )
    assert _line(hive) == "FAILED: SemanticException [Error 10004]: Line 1:7 Invalid table alias 'x'"
    spark = "org.apache.hive.service.cli.HiveSQLException: Error running query: [A.B] org.apache.spark.sql.AnalysisException: [A.B] No `x`.\n\tat x"  # noqa: E501
    assert _line(spark) == "[A.B] No `x`"
