"""Names and values in the SQL of Hive, which Spark understands alike. Executors import this file: no Spark in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fedspark.conf.tables import ColumnsConf
from fedspark.errors import TableError
from fedspark.tables.roles import Kind

NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
"""What the partition of rows without a value is called."""


def quoted(name: str) -> str:
    """``name`` as an identifier: in backticks nothing has a meaning but a backtick, and ``${...}``, a variable."""
    if any(ord(character) < 32 for character in name):
        raise TableError(f"No table or column can be called {name!r}.", remedy="Correct the name.")
    if "${" in name:
        problem = f"Hive and Spark see a variable in the name {name!r}: ${{ begins one."
        raise TableError(problem, remedy="Read it through a view that calls it otherwise.")
    doubled = name.replace("`", "``")
    return f"`{doubled}`"


def literal(text: str) -> str:
    """``text`` as a string literal that Hive and Spark read alike, whatever it holds.

    Both know octal escapes; of the others each has a few of its own, and Spark has settings that change them. A ``$``
    could begin a variable.
    """
    escaped = "".join(
        f"\\{ord(character):03o}" if character in "'\"\\$" or ord(character) < 32 else character for character in text
    )
    return f"'{escaped}'"


def full_name(database: str, table: str) -> str:
    """The table, as SQL."""
    return f"{quoted(database)}.{quoted(table)}"


def spec(values: Iterable[tuple[str, str]]) -> str:
    """``(`dt` = '2026-11-20')``: a partition in statements that take one."""
    return f"({', '.join(f'{quoted(name)} = {literal(value)}' for name, value in values)})"


def role_kind(name: str, kind: Kind, conf: ColumnsConf, partitioned: Sequence[str]) -> Kind:
    """What a column can be used for: one that says where rows lie is a feature only where the party file says so."""
    named = {*conf.id, conf.label, conf.weight, conf.time, *(conf.features or ())}
    return Kind.OTHER if name in partitioned and name not in named else kind
