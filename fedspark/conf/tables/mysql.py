"""Tables on servers of MySQL and MariaDB.

tables:
  patients:
    kind: mysql
    host: db.hospital.example
    user: fedspark
    password: env:MYSQL_PASSWORD
    database: clinic
    table: patients
    id: patient_id
    label: readmitted
    where: admitted >= '2024-01-01'
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from fedspark.conf.model import Model, Text
from fedspark.conf.references import SecretReference
from fedspark.conf.tables.columns import ColumnsConf
from fedspark.conf.tables.sinks import SinkConf

HOST_PATTERN = r"^([A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+)$"
"""A name or an address and nothing else: what stands here becomes part of a URL."""


def _host(text: str) -> str:
    if re.fullmatch(HOST_PATTERN, text) is None:
        raise PydanticCustomError("host", "must be the name or address of a server, without a port")
    return text


def _file(text: str, info: ValidationInfo) -> str:
    return str((info.context or {}).get("directory", Path()) / text)


def _identifier(text: str) -> str:
    if len(text) > 64 or "\0" in text:
        raise PydanticCustomError("identifier", "must be a name of at most 64 characters")
    return text


Identifier = Annotated[Text, AfterValidator(_identifier)]


class MysqlPlace(Model):
    """A table of a server, and how to log in there."""

    host: Annotated[str, AfterValidator(_host), Field(json_schema_extra={"pattern": HOST_PATTERN})] = Field(
        description="Name or address of the server."
    )
    port: int = Field(default=3306, ge=1, le=65535, description="Its TCP port.")
    user: Text = Field(description="User of the database; reading needs no right but SELECT on the table.")
    password: SecretReference = Field(description="Reference to that user's password.")
    ca: Annotated[Text, AfterValidator(_file)] | None = Field(
        default=None,
        description="File with the certificate of the server's authority (PEM): the connection is then encrypted and "
        "the server's name checked. null: rows cross the network in clear.",
    )
    database: Identifier = Field(description="Database of the table.")
    table: Identifier = Field(description="Table or view.")


class MysqlTable(ColumnsConf, MysqlPlace):
    """A table or view of MySQL or MariaDB, read in slices through Spark's JDBC source."""

    kind: Literal["mysql"] = Field(default="mysql", description="The kind of this table.")
    where: Text | None = Field(
        default=None, description="Condition of the rows to read, in the server's own SQL; it runs there as it is."
    )
    slices: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None,
        description="Number of reads that together are the table; null: by its rows. Only with 1 are all rows those of "
        "one moment: a table that changes meanwhile needs that, or is refused.",
    )
    slice_by: Text | None = Field(
        default=None,
        description="Integer column whose ranges are the slices, best one with an index; null: the first column of the "
        "primary key if that is an integer, else CRC32 of the id.",
    )
    jar: Annotated[Text, AfterValidator(_file)] | None = Field(
        default=None,
        description="MariaDB Connector/J, which serves MySQL too; null: what Spark has, else the one of "
        "/usr/share/java (package libmariadb-java).",
    )


class MysqlSink(MysqlPlace, SinkConf):
    """A table of MySQL or MariaDB that scores are written to.

    The user needs SELECT, INSERT, DELETE, CREATE, ALTER and DROP in the database: rows are gathered in tables of their
    own before all of them are shown at once. With `if_exists: replace`, a table of our own columns takes the place of
    the one that is there, whose indexes go with it.
    """

    kind: Literal["mysql"] = Field(default="mysql", description="The kind of this place.")

    @property
    def place(self) -> str:
        return f"mysql://{self.host}:{self.port}/{self.database}/{self.table}"
