"""Dumps without Spark: which statements count, what types mean, how values are written, and what is refused."""

from __future__ import annotations

import datetime
import decimal
import pickle

import pyarrow as pa
import pytest

pytest.importorskip("sqlglot")

from fedspark.errors import TableError
from fedspark.tables.roles import Kind
from fedspark.tables.sqlscript.dump import DumpTable
from fedspark.tables.sqlscript.statements import statements

LIMIT = 1 << 26


def table(name="people", database=None, limit=LIMIT):
    return DumpTable("Table 't' (t.sql)", name, database, limit)


def read(text, **of):
    """Rows as tuples, and how many zero dates there were."""
    dump = table(**of)
    columns = dump.columns(dump.definition([text.split("\n")]))
    rows, zeros = [], 0
    for arrays, found in dump.rows(text.split("\n"), columns):
        rows += zip(*(array.to_pylist() for array in arrays), strict=True)
        zeros += found
    return rows, zeros


def typed(definition):
    (column,) = table().columns(f"CREATE TABLE `people` (`c` {definition})")
    return column.kind, column.arrow


def value(definition, literal):
    (((found,),), _) = read(f"CREATE TABLE people (c {definition});\nINSERT INTO people VALUES ({literal});\n")
    return found


def refused(text, **of):
    with pytest.raises(TableError) as caught:
        read(text, **of)
    assert "secret" not in str(caught.value)
    return str(caught.value)


CREATE = "CREATE TABLE `people` (`id` int NOT NULL, `name` varchar(9) DEFAULT NULL, PRIMARY KEY (`id`));\n"


def test_what_mysqldump_writes_around_the_rows_is_passed_over():
    text = (
        "-- MySQL dump 10.13  Distrib 8.0.36; it's; a comment\n"
        "/*!40101 SET NAMES utf8 */;\n# another; one's\n"
        "DROP TABLE IF EXISTS `people`;\n" + CREATE + "LOCK TABLES `people` WRITE;\n"
        "/*!40000 ALTER TABLE `people` DISABLE KEYS */;\n"
        "INSERT INTO `people` VALUES (1,'Ann'),(2,NULL);\n\n"
        "INSERT INTO `people` VALUES\n(3,'a;\nb;'),\n(4,'c');\n"
        "/*!40000 ALTER TABLE `people` ENABLE KEYS */;\nUNLOCK TABLES;\n"
    )
    assert read(text)[0] == [(1, "Ann"), (2, None), (3, "a;\nb;"), (4, "c")]


def test_escapes_quotes_and_neighbouring_literals_are_what_mysql_takes_them_for():
    assert value("text", r"'a\'b''c\"d\\e\nf\tg\0h\Zi\%'") == "a'b'c\"d\\e\nf\tg\0h\x1ai\\%"
    assert value("text", '"double ""quotes"""') == 'double "quotes"'
    assert value("text", "_utf8mb4'Größe'") == "Größe"
    assert value("text", "'a' 'b'") == "ab"
    assert value("int", "-5") == -5
    assert value("double", "-1.5e-05") == -1.5e-05
    assert value("tinyint(1)", "TRUE") == 1
    assert value("bit(3)", "b'101'") == value("bit(3)", "'\5'") == value("bit(3)", "_binary '\5'") == 5
    assert value("bigint unsigned", "0xFF") == 255
    assert value("varchar(9)", "x'6162'") == "ab"


def test_types_keep_their_values_exactly():
    assert value("bigint(20) unsigned", "18446744073709551615") == decimal.Decimal(2**64 - 1)
    assert value("bigint", "-9223372036854775808") == -(2**63)
    assert value("decimal(38,4)", "1234567890123456789012345678901234.5678") == decimal.Decimal(
        "1234567890123456789012345678901234.5678"
    )
    assert value("decimal(65,30)", "1.000000000000000000000000000001") == "1.000000000000000000000000000001"
    assert value("date", "'1931-05-07'") == datetime.date(1931, 5, 7)
    assert value("datetime(6)", "'2020-02-29 12:00:00.000123'") == datetime.datetime(2020, 2, 29, 12, 0, 0, 123)
    assert len(value("longtext", "'" + "x" * (1 << 20) + "'")) == 1 << 20


@pytest.mark.parametrize(
    ("definition", "kind", "arrow"),
    [
        ("tinyint(1) NOT NULL", Kind.INTEGER, pa.int64()),
        ("tinyint(3) unsigned zerofill DEFAULT '000'", Kind.INTEGER, pa.int64()),
        ("int unsigned", Kind.INTEGER, pa.int64()),
        ("bigint unsigned", Kind.INTEGER, pa.decimal128(20, 0)),
        ("decimal(8,2) unsigned", Kind.DECIMAL, pa.decimal128(8, 2)),
        ("numeric", Kind.INTEGER, pa.decimal128(10, 0)),
        ("year(4)", Kind.INTEGER, pa.int64()),
        ("double(8,3)", Kind.REAL, pa.float64()),
        (
            "timestamp NULL DEFAULT current_timestamp() ON UPDATE current_timestamp()",
            Kind.TIMESTAMP,
            pa.timestamp("us"),
        ),
        ("enum('a','b;,)') CHARACTER SET latin1 COLLATE latin1_bin", Kind.TEXT, pa.string()),
        ("longtext CHECK (json_valid(`c`))", Kind.TEXT, pa.string()),
        ("int /*!50606 STORAGE DISK */ DEFAULT NULL COMMENT 'it''s, (this)'", Kind.INTEGER, pa.int64()),
        ("point NOT NULL", Kind.OTHER, pa.null()),
        ("varbinary(16)", Kind.OTHER, pa.null()),
        ("int GENERATED ALWAYS AS (`a` + 1) VIRTUAL", Kind.OTHER, pa.null()),
    ],
)
def test_a_type_of_mysql_is_known_for_what_it_is(definition, kind, arrow):
    assert typed(definition) == (kind, arrow)


def test_keys_and_constraints_are_no_columns_and_odd_names_stay_what_they_are():
    columns = table().columns(
        "CREATE TABLE `people` (`key` int, `a``b; --` int, `Größe` int, `a b` int, PRIMARY KEY (`key`),"
        " UNIQUE KEY `u` (`a b`), KEY `k` (`Größe`(10)) USING BTREE, FULLTEXT KEY `f` (`a b`),"
        " CONSTRAINT `c` FOREIGN KEY (`key`) REFERENCES `o` (`p`) ON DELETE CASCADE, CHECK (`key` > 0)"
        ") ENGINE=InnoDB AUTO_INCREMENT=77 DEFAULT CHARSET=utf8mb4 PAGE_CHECKSUM=1"
    )
    assert [column.name for column in columns] == ["key", "a`b; --", "Größe", "a b"]
    assert pickle.loads(pickle.dumps(columns)) == columns


def test_two_thousand_columns_are_read():
    names = ", ".join(f"`x{k}` int" for k in range(2000))
    text = f"CREATE TABLE people ({names});\nINSERT INTO people VALUES ({','.join(map(str, range(2000)))});\n"
    assert read(text) == ([tuple(range(2000))], 0)


def test_zero_dates_become_nulls_and_are_counted():
    text = "CREATE TABLE people (d date, t datetime);\nINSERT INTO people VALUES ('0000-00-00','2020-00-10 00:00:00'),"
    rows, zeros = read(text + "('1969-12-31','1969-12-31 23:59:59'),(NULL,NULL);\n")
    assert zeros == 2
    assert rows == [
        (None, None),
        (datetime.date(1969, 12, 31), datetime.datetime(1969, 12, 31, 23, 59, 59)),
        (None, None),
    ]


def test_values_that_nobody_reads_may_be_anything():
    text = (
        "CREATE TABLE people (id int, b blob, g geometry);\n"
        "INSERT INTO people VALUES (1,_binary 'a\\0\ufffd',ST_GeomFromText('POINT(1 1)'));\n"
    )
    assert read(text)[0] == [(1, None, None)]


def test_columns_named_by_the_insert_may_come_in_another_order_or_be_left_out():
    assert read(CREATE + "INSERT INTO people (NAME, id) VALUES ('a', 1);\n")[0] == [(1, "a")]
    assert read(CREATE + "INSERT IGNORE INTO people (id) VALUES (1);\n")[0] == [(1, None)]
    text = "CREATE TABLE people (id int, n int DEFAULT 5, g int GENERATED ALWAYS AS (id+1) STORED);\n"
    assert read(text + "INSERT INTO people (id, n) VALUES (1, 2);\n")[0] == [(1, 2, None)]
    assert "leaves out column 'n', which has a default" in refused(text + "INSERT INTO people (id) VALUES (1);\n")


def test_only_the_rows_of_the_table_that_is_asked_for_are_read():
    other = CREATE.replace("people", "pets") + "INSERT INTO `pets` VALUES (9,'Rex');\n"
    text = other + CREATE + "INSERT INTO `people` VALUES (1,'Ann');\n"
    assert read(text)[0] == [(1, "Ann")]
    assert read(text, name="pets")[0] == [(9, "Rex")]
    message = refused(text, name="peple")
    assert "there is no CREATE TABLE of 'peple' in the dump, which has 'pets', 'people'" in message
    assert "Did you mean 'people'?" in message


def test_a_table_of_two_databases_is_read_from_the_one_that_is_named():
    piece = CREATE + "INSERT INTO `people` VALUES ({n},'a');\n"
    text = "USE `east`;\n" + piece.replace("{n}", "1") + "USE `west`;\n" + piece.replace("{n}", "2")
    assert read(text, database="west")[0] == [(2, "a")]
    assert "it is in databases 'east', 'west' of one dump" in refused(text)
    assert read(text.replace("`people`", "`east`.`people`", 2), database="east")[0] == [(1, "a")]


def test_statements_inside_routines_are_no_rows():
    routine = "DELIMITER ;;\nCREATE PROCEDURE p() BEGIN INSERT INTO people VALUES (7,'x'); END ;;\nDELIMITER ;\n"
    dollars = (
        "DELIMITER $$\nCREATE TRIGGER t BEFORE INSERT ON people FOR EACH ROW BEGIN SET @a = 1; END$$\nDELIMITER ;\n"
    )
    text = CREATE + routine + dollars + "INSERT INTO people VALUES (1,'a');\n"
    assert read(text)[0] == [(1, "a")]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM `people` WHERE id = 1",
        "UPDATE people SET name = 'secret'",
        "REPLACE INTO people VALUES (1,'secret')",
        "DROP TABLE people",
        "TRUNCATE TABLE people",
        "LOAD DATA INFILE 'x' INTO TABLE people",
    ],
)
def test_a_dump_that_changes_its_rows_again_is_refused(statement):
    message = refused(CREATE + f"INSERT INTO people VALUES (1,'a');\n{statement};\n")
    assert f"{statement.split()[0]} at line 3 of the dump changes the table" in message


@pytest.mark.parametrize(
    ("insert", "problem"),
    [
        ("(1,'secret',3)", "has a row of 3 values for 2 columns"),
        ("(1,CURRENT_DATE + 1)", "has an expression where column 'name' needs a value"),
        ("(1,NOW())", "has an expression where column 'name' needs a value"),
        ("('secret','a')", "has a value in column 'id' that is no INT"),
        ("(99999999999999999999,'a')", "has a value in column 'id' that is no INT"),
        ("(1,'secret'", "is none with plain values"),
        ("(1,'secret') ON DUPLICATE KEY UPDATE id = 2", "is none with plain values"),
    ],
)
def test_an_insert_that_does_not_fit_is_named_by_its_line_and_never_quoted(insert, problem):
    message = refused(CREATE + f"\n\nINSERT INTO people VALUES {insert};\n")
    assert f"the INSERT at line 4 of the dump {problem}" in message


class Broken:
    """A parser with a fault of its own."""

    def parser(self):
        return self

    def parse(self, *_):
        raise AttributeError("a fault")


@pytest.mark.parametrize("statement", ["CREATE TABLE people (id int);\n", "INSERT INTO people VALUES (1,'secret');\n"])
def test_a_fault_of_the_parser_is_not_taken_for_one_of_the_dump(monkeypatch, statement):
    dump = table()
    columns = dump.columns(CREATE)
    monkeypatch.setattr("fedspark.tables.sqlscript.columns.dialect", Broken)
    with pytest.raises(AttributeError, match="a fault"):
        dump.columns(statement) if statement.startswith("CREATE") else list(dump.rows([statement], columns))


def test_changes_of_other_tables_and_of_no_rows_are_passed_over():
    text = CREATE + "REPLACE INTO pets VALUES (1,'people');\nALTER TABLE `people` ADD KEY `k` (`name`);\n"
    assert read(text + "INSERT INTO people VALUES (1,'a');\n")[0] == [(1, "a")]


def test_bits_that_are_no_text_are_refused_with_the_option_that_writes_them_as_numbers():
    text = "CREATE TABLE people (b bit(8));\nINSERT INTO people VALUES (_binary '\ufffd');\n"
    assert "Write the dump again with --hex-blob." in refused(text)


def test_an_insert_from_a_query_and_a_text_that_does_not_end_are_refused():
    assert "is none with plain values" in refused(CREATE + "INSERT INTO people SELECT 1, 'secret';\n")
    message = refused(CREATE + "INSERT INTO people VALUES (1,'secret);\nINSERT INTO people VALUES (2,NULL);\n")
    assert "not readable as SQL after line 1: a text or comment does not end" in message


def test_a_table_that_is_created_twice_is_refused():
    assert "it is created twice of one dump (line 2)" in refused(CREATE + CREATE)


def test_statements_of_a_large_dump_come_whole_wherever_its_pieces_are_cut():
    row = "'a;\n it\\'s " + "x" * 90_000 + ";'"
    text = "".join(f"INSERT INTO people VALUES ({n},{row});\n" for n in range(40))
    found = list(statements("t", text.split("\n"), LIMIT))
    assert [statement.line for statement in found] == list(range(1, 81, 2))
    assert read(CREATE.replace("varchar(9)", "text") + text)[0][-1][0] == 39


def test_a_dump_above_the_limit_is_refused_with_the_proper_source():
    message = refused(CREATE + "INSERT INTO people VALUES (1,'a');\n" * 40_000, limit=1 << 20)
    assert "the dump is larger than 1 MB" in message
    assert "kind: mysql" in message
