"""Tables in ClickHouse, and tables of ClickHouse that scores are written to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from fedspark.conf.model import Model, Text
from fedspark.conf.references import SecretReference
from fedspark.conf.tables.columns import ColumnsConf
from fedspark.conf.tables.sinks import SinkConf


def _file(text: str, info: ValidationInfo) -> str:
    return str((info.context or {}).get("directory", Path()) / text)


Port = Annotated[int, Field(ge=1, le=65535)]


class ClickHousePlace(Model):
    """A table on a ClickHouse server, which is spoken to by its native protocol."""

    host: Text = Field(description="Name or address of the server.")
    port: Port = Field(default=9000, description="Port of the native protocol; with TLS mostly 9440.")
    secure: bool = Field(
        default=False,
        description="Whether to use TLS, with a certificate of an authority that the system knows. false, and no `ca`: "
        "rows, and a password, cross the network in clear.",
    )
    ca: Annotated[Text, AfterValidator(_file)] | None = Field(
        default=None,
        description="File with the certificate of the server's authority (PEM): the connection is then encrypted, with "
        "or without `secure`, and the server's name checked.",
    )
    compression: bool = Field(
        default=True, description="Whether rows travel compressed (LZ4); not worth it on one machine."
    )
    user: Text = Field(default="default", description="User of the server.")
    password: SecretReference | None = Field(
        default=None,
        description="Reference to the password (env:NAME or file:path), looked up on driver and executors; none if "
        "left out.",
    )
    database: Text = Field(default="default", description="Database of the table.")
    table: Text = Field(description="Table or view, by its name alone.")


class ClickHouseTable(ClickHousePlace, ColumnsConf):
    """A table or view in ClickHouse, read in parallel slices of about the same size.

    ```yaml
    tables:
      people:
        kind: clickhouse
        host: warehouse.example
        user: fed
        password: env:CLICKHOUSE_PASSWORD
        database: lab
        table: people
        where: day >= '2026-01-01'
        id: person_id
    ```
    """

    kind: Literal["clickhouse"] = Field(default="clickhouse", description="The kind of this table.")
    where: Text | None = Field(
        default=None,
        description="Condition in the server's SQL that the rows to read meet; it is sent as it is written here.",
    )
    slices: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None,
        description="Into how many slices (by a hash of the id) the rows are cut, each read by one task; null: as many "
        "as Spark runs at once, at most 32. Every slice makes the server scan the whole table.",
    )


class ClickHouseSink(ClickHousePlace, SinkConf):
    """A table in ClickHouse that scores are written to.

    The user may create, fill, rename and drop tables in the database. With `if_exists: replace`, the table that is
    there keeps its engine, keys and partitions, and needs the columns that are written; `append` needs a table with
    `PARTITION BY run`, and makes one like that.
    """

    kind: Literal["clickhouse"] = Field(default="clickhouse", description="The kind of this place.")

    @property
    def place(self) -> str:
        return f"clickhouse://{self.host}:{self.port}/{self.database}/{self.table}"
