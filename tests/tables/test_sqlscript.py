"""Dumps on Spark: the snapshot of a dumped table, what the card says of it, and errors as the reader said them."""

from __future__ import annotations

import gzip

import pytest

from fedspark.conf.tables import SqlScriptTable
from fedspark.errors import ConfigError, TableError
from fedspark.steps.load_record import record_of
from fedspark.tables.look import look_at

pytest.importorskip("sqlglot")

DUMP = """-- MySQL dump 10.13  Distrib 8.0.36
/*!40101 SET NAMES utf8 */;
DROP TABLE IF EXISTS `pets`;
CREATE TABLE `pets` (`id` int NOT NULL);
INSERT INTO `pets` VALUES (1);
CREATE TABLE `people` (
  `id` bigint(20) unsigned NOT NULL,
  `Größe` decimal(5,2) DEFAULT NULL,
  `sick` tinyint(1) NOT NULL,
  `born` date DEFAULT NULL,
  `seen` timestamp NULL DEFAULT current_timestamp(),
  `note` text,
  `photo` blob,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
INSERT INTO `people` VALUES (18446744073709551615,1.81,0,'1931-05-07','2020-01-01 00:00:00','it\\'s; fine',
_binary '\\0a'),(7,-0.50,1,'0000-00-00',NULL,NULL,NULL);
INSERT INTO `people` VALUES (8,1.50,1,'1970-01-01','0000-00-00 00:00:00','x',0xFF);
"""


@pytest.fixture
def dumped(bench):
    """The conf of a dump with some text, which a directory or glob may hold too."""

    def write(text=DUMP, name="people.sql", path=None, **conf):
        data = text.encode()
        (bench.directory / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        known = {"path": str(bench.directory / (path or name)), "table": "people", "id": "id", "label": "sick"}
        return SqlScriptTable(**{**known, **conf})

    return write


@pytest.mark.parametrize("name", ["people.sql", "people.sql.gz"])
def test_a_dumped_table_has_the_snapshot_of_the_table(bench, dumped, name):
    before = dict(bench.spark.conf.getAll)
    card = bench.stage_conf(dumped(name=name), needs_label=True)
    assert bench.snapshot() == {
        "key": ["18446744073709551615", "7", "8"],
        "id.id": [None, None, None],
        "label": [0.0, 1.0, 1.0],
        "x.Größe": [1.81, -0.5, 1.5],
    }
    assert card.notes == ("2 zero dates (0000-00-00) became nulls",)
    assert [(column.name, column.type, column.role) for column in card.columns][:4] == [
        ("id", "BIGINT(20) UNSIGNED", "id"),
        ("Größe", "DECIMAL(5, 2)", "feature"),
        ("sick", "TINYINT(1)", "label"),
        ("born", "DATE", "ignored"),
    ]
    assert "2 zero dates (0000-00-00) became nulls" in record_of("load", [card])["tables"][0]["note"]
    assert dict(bench.spark.conf.getAll) == before


def test_several_dumps_of_one_table_are_one_table_and_must_have_its_columns(bench, dumped):
    dumped(name="1.sql")
    second = DUMP.replace("(7,", "(9,").replace("(8,", "(10,").replace("18446744073709551615", "11")
    conf = dumped(second, name="2.sql", path="*.sql")
    assert bench.stage_conf(conf).rows == 6
    (bench.directory / "2.sql").write_text(second.replace("`note` text", "`note` varchar(9)"))
    with pytest.raises(TableError, match="has other columns than the first"):
        bench.stage_conf(conf)


def test_an_empty_dumped_table_passes_and_says_so(bench, dumped):
    assert bench.stage_conf(dumped(DUMP[: DUMP.index("INSERT INTO `people`")])).empty


def test_a_null_id_of_a_dump_is_counted_as_any_other(bench, dumped):
    with pytest.raises(TableError, match="1 row with no id"):
        bench.stage_conf(dumped(id="note"))


def test_what_the_reader_says_in_a_task_is_what_people_read(bench, dumped):
    with pytest.raises(TableError) as caught:
        bench.stage_conf(dumped(DUMP.replace("1.81", "'secret'")))
    where = f"Table 'people' ({bench.directory}/people.sql)"
    problem = "the INSERT at line 16 of the dump has a value in column 'Größe' that is no DECIMAL(5, 2)"
    assert str(caught.value) == f"{where}: {problem}. Correct it at the source and write the dump again."
    with pytest.raises(TableError, match=r"which has 'pets', 'people'\. Did you mean 'people'\?"):
        bench.stage_conf(dumped(table="People"))
    assert not bench.files()


def test_a_dump_that_is_too_large_or_not_there_is_refused(bench, dumped):
    conf = dumped(DUMP + "-- " + "x" * (1 << 20) + "\n", max_megabytes=1)
    with pytest.raises(TableError, match="the dump is larger than 1 MB"):
        bench.stage_conf(conf)
    packed = dumped(DUMP + "-- " + "x" * (1 << 20) + "\n", name="people.sql.gz", max_megabytes=1, table="nothing")
    with pytest.raises(TableError, match="the dump is larger than 1 MB"):
        bench.stage_conf(packed)
    missing = dumped(path="nowhere.sql")
    for attempt in (bench.stage_conf, lambda conf: look_at("people", conf, id_type="string")):
        with pytest.raises(TableError, match="there is no such file"):
            attempt(missing)


def test_a_first_look_at_a_dump_leaves_its_columns_to_the_load_step(dumped):
    look_at("people", dumped(id="nothing"), id_type="string")


def test_the_proper_source_is_named_where_sqlglot_is_not_installed(bench, dumped, monkeypatch):
    from fedspark.tables.sqlscript import reader

    monkeypatch.setattr(reader, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'fedspark\[sqlscript\]'"):
        bench.stage_conf(dumped())
