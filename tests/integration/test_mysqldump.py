"""Dumps that mysqldump writes of a real server hold, as they are read, what the server's own client reads."""

from __future__ import annotations

import datetime
import subprocess
from collections.abc import Iterator
from decimal import Decimal

import pytest

from fedspark.tables.sqlscript.dump import DumpTable
from tests.integration.servers.debian import found_or_installed
from tests.integration.servers.mariadb import DATABASE, PASSWORD, USER, MariaDB

pytest.importorskip("sqlglot")

COLUMNS = """
    `id` BIGINT UNSIGNED NOT NULL AUTO_INCREMENT, `tiny` TINYINT(1) NOT NULL DEFAULT 1,
    `small` SMALLINT UNSIGNED ZEROFILL, `medium` MEDIUMINT, `big` BIGINT, `price` DECIMAL(20,4), `ratio` DOUBLE,
    `single` FLOAT, `bits` BIT(5), `year` YEAR, `day` DATE, `at` DATETIME(6),
    `since` TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP,
    `a``b; 'c'` VARCHAR(99) CHARACTER SET latin1 COMMENT 'it''s; (a comment)', `Größe` LONGTEXT,
    `kind` ENUM('a','it''s; b'), `tags` SET('x','y'), `document` JSON, `raw` VARBINARY(99), `spot` POINT,
    `twice` INT AS (`tiny` * 2) STORED,
    PRIMARY KEY (`id`), KEY `k` (`Größe`(10)), FULLTEXT KEY `f` (`Größe`), CHECK (`price` > -1e9)
"""
NASTY = 'it\'s "quoted"; \\ back\\\\slash \n\r\t\b \0 \x1a %_ -- # /* */ жена 你好 😀'
ROWS = [
    (2**64 - 1, 1, 7, -8388608, -(2**63), Decimal("-0.0001"), -1.5e-300, 0.5, 21, 1999, datetime.date(1001, 2, 3),
     datetime.datetime(1931, 5, 7, 1, 2, 3, 456), datetime.datetime(2020, 2, 29, 12), "Jürgen; '`\"\\", NASTY,
     "it's; b", "x,y", '{"a": "b\\\\;"}', bytes(range(99))),
    (1, 0, *[None] * 17),
    (2, 127, 0, 0, 0, Decimal("1234567890123456.7890"), 1e300, -2.0, 0, 2155, datetime.date(9999, 12, 31),
     datetime.datetime(1970, 1, 1), datetime.datetime(1971, 1, 1), "", "x" * (1 << 20), "a", "", "[]", b""),
]  # fmt: skip


@pytest.fixture(scope="module")
def dumped(mariadb: MariaDB) -> Iterator[MariaDB]:
    """Tables with all types and with many rows, a trigger, a procedure and a view."""
    mariadb.execute(f"CREATE TABLE everything ({COLUMNS})")
    named = "`id`, `tiny`, `small`, `medium`, `big`, `price`, `ratio`, `single`, `bits`, `year`, `day`, `at`, `since`,"
    named += " `a``b; 'c'`, `Größe`, `kind`, `tags`, `document`, `raw`"
    mariadb.execute(f"INSERT INTO everything ({named}) VALUES ({', '.join(['%s'] * 19)})", ROWS)
    mariadb.execute("UPDATE everything SET spot = ST_GeomFromText('POINT(1 2)') WHERE id = 1")
    mariadb.execute("CREATE TABLE many (id INT PRIMARY KEY, name VARCHAR(99), born DATE)")
    mariadb.execute("SET STATEMENT sql_mode='' FOR INSERT INTO many VALUES (0, 'nobody', '0000-00-00')")
    mariadb.execute(
        "INSERT INTO many SELECT seq, CONCAT('it''s; \\n', seq), '1960-01-01' + INTERVAL seq DAY FROM seq_1_to_20000"
    )
    mariadb.execute("CREATE TRIGGER t BEFORE INSERT ON many FOR EACH ROW BEGIN SET @a = 1; SET @b = 2; END")
    mariadb.execute("CREATE PROCEDURE p() BEGIN INSERT INTO many VALUES (-1, 'x', NULL); DELETE FROM many; END")
    mariadb.execute("CREATE VIEW v AS SELECT id FROM many")
    yield mariadb
    mariadb.execute("DROP VIEW v")
    mariadb.execute("DROP PROCEDURE p")
    mariadb.execute("DROP TABLE everything, many")


def dump(server: MariaDB, *options: str) -> str:
    program = found_or_installed("mariadb-client", "mariadb-dump")
    account = ["--host=127.0.0.1", f"--port={server.port}", f"--user={USER}", f"--password={PASSWORD}"]
    command = [program, "--no-defaults", *account, "--skip-ssl-verify-server-cert", *options, DATABASE]
    done = subprocess.run(command, check=True, capture_output=True)
    return done.stdout.decode(errors="replace")


def read(text: str, table: str) -> tuple[dict[str, list[object]], int]:
    found = DumpTable("Table 't' (t.sql)", table, None, 1 << 28)
    columns = found.columns(found.definition([text.split("\n")]))
    held: dict[str, list[object]] = {column.name: [] for column in columns}
    zeros = 0
    for arrays, some in found.rows(text.split("\n"), columns):
        zeros += some
        for column, array in zip(columns, arrays, strict=True):
            held[column.name] += array.to_pylist()
    return held, zeros


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--skip-extended-insert",),
        ("--complete-insert",),
        ("--hex-blob",),
        ("--compact",),
        ("--skip-opt", "--routines"),
    ],
    ids=lambda options: " ".join(options) or "plain",
)
def test_every_type_is_read_from_a_dump_as_from_the_server(dumped, options):
    held, zeros = read(dump(dumped, "--tz-utc=FALSE", *options), "everything")
    order = sorted(range(len(ROWS)), key=lambda row: int(ROWS[row][0]))
    names = list(held)
    for place, name in enumerate(names[:18]):
        expected = [ROWS[row][place] for row in order]
        if name == "document":
            expected = [text if text is None else str(text) for text in expected]
        assert [held[name][row] for row in range(3)] == expected, name
    assert held["raw"] == held["spot"] == held["twice"] == [None] * 3
    assert zeros == 0


def test_many_rows_are_all_read_and_those_of_routines_are_not(dumped):
    held, zeros = read(dump(dumped, "--routines", "--triggers"), "many")
    assert held["id"] == list(range(20_001))
    assert held["name"][1:] == [f"it's; \n{n}" for n in range(1, 20_001)]
    assert held["born"][:2] == [None, datetime.date(1960, 1, 2)]
    assert zeros == 1
