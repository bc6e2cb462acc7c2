"""Tables that ``fedspark import`` copies into ClickHouse.

tables:
  people:
    kind: mysql
    host: db.hospital.example
    user: fedspark
    password: env:MYSQL_PASSWORD
    database: clinic
    table: people
    id: person_id
imports:
  people:
    from: people
    to: {kind: clickhouse, host: warehouse.example, user: fed, password: env:CLICKHOUSE_PASSWORD, table: people}
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fedspark.conf.model import Model, Name, Text
from fedspark.conf.tables.clickhouse import ClickHousePlace


class ImportPlace(ClickHousePlace):
    """A table in ClickHouse that an import makes or replaces."""

    kind: Literal["clickhouse"] = Field(default="clickhouse", description="The kind of this place.")
    if_exists: Literal["refuse", "replace"] = Field(
        default="refuse",
        description="What to do when the table is there: refuse to import, or replace all its rows at once; then it "
        "keeps its engine, keys and partitions, and needs the columns and types that are imported.",
    )


class ImportConf(Model):
    """A table to be copied as it is: all its rows, and all its columns but those it ignores, in their own types; those
    of CSV in the ones that its `types` says, else as text (decimal, too, is text: it says no number of digits).

    A source that changes while it is copied, or before a copy that was stopped goes on, is refused: by names, sizes and
    times of files, by numbers of rows of a server. Of values that MySQL changes in place, only the time of the table's
    last change tells, in whole seconds, which is compared when an import goes on; it is not known any more once the
    server was restarted. Then, and while slices are read, such a change is not noticed: `slices: 1` reads one moment.
    """

    source: Name = Field(
        alias="from",
        description="Name of the table under `tables`, of any kind but clickhouse (whose rows are there already) and "
        "hiveserver2 (name such a table as kind hive).",
    )
    to: ImportPlace = Field(description="The table to be made.")
    slices: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        default=None,
        description="About how many slices the source is read in; what is done of an import that was stopped is so "
        "many whole slices. Null: by the source's size.",
    )
    order_by: list[Text] | None = Field(
        default=None,
        description="Columns that order the table that is made; no row may lack a value in them. Null: the source's "
        "`id`; an empty list: none.",
    )
    as_text: list[Text] = Field(
        default=[],
        description="Columns that become text, as the source writes them, because some of their values fit in no type "
        "of the target (dates before 1970 on old servers, zero dates of MySQL).",
    )
