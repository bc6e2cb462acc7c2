"""Tables of Hive: through the metastore that Spark shares, or through HiveServer2 where there is none to share.

tables:
  customers:
    kind: hive
    metastore: thrift://metastore.example:9083
    database: crm
    table: customers
    partitions: {dt: "2026-11-20"}
    id: customer_id
  visits:
    kind: hiveserver2
    host: hive.example
    user: fedspark
    auth: ldap
    password: env:HIVE_PASSWORD
    database: crm
    table: visits
    where: dt >= '2026-11-01'
    id: customer_id
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from fedspark.conf.model import Finding, Model, Text
from fedspark.conf.references import SecretReference
from fedspark.conf.tables.columns import ColumnsConf
from fedspark.conf.tables.sinks import RUN, SinkConf

METASTORE_PATTERN = r"^thrift://[^/,@?#\s]+:\d{1,5}(,thrift://[^/,@?#\s]+:\d{1,5})*$"


def _metastore(text: str) -> str:
    if re.fullmatch(METASTORE_PATTERN, text) is None:
        raise PydanticCustomError("metastore", "must be thrift://host:port, of several with commas between them")
    return text


def _file(text: str, info: ValidationInfo) -> str:
    return str((info.context or {}).get("directory", Path()) / text)


def _as_text(value: Any) -> Any:
    """The text of a value that YAML takes for a number or a date."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, datetime.date)) else value


def _as_texts(value: Any) -> Any:
    return [_as_text(one) for one in value] if isinstance(value, list) else [_as_text(value)]


_Scalar = str | int | bool
Metastore = Annotated[str, AfterValidator(_metastore), Field(json_schema_extra={"pattern": METASTORE_PATTERN})]
PartitionValue = Annotated[Text, BeforeValidator(_as_text, json_schema_input_type=_Scalar)]
PartitionValues = Annotated[
    list[Text], Field(min_length=1), BeforeValidator(_as_texts, json_schema_input_type=_Scalar | list[_Scalar])
]


class HivePlace(Model):
    """A table of a Hive metastore."""

    metastore: Metastore | None = Field(
        default=None,
        description="Where Hive's metastore is, thrift://host:port; null: as Spark's own hive-site.xml says.",
    )
    database: Text = Field(default="default", description="Database of the table.")
    table: Text = Field(description="Table or view, by its name alone.")


class HiveRows(Model):
    """Which rows of a Hive table."""

    partitions: dict[Text, PartitionValues] = Field(
        default={},
        description="Partitions to read: of a partition column the value, or a list of values; others are not touched.",
    )
    where: Text | None = Field(
        default=None,
        description="Condition of the rows to read, in the SQL of whoever reads them: Spark's, or HiveServer2's own. "
        "Partitions that cannot meet it are not touched.",
    )


class HiveTable(HivePlace, HiveRows, ColumnsConf):
    """A table or view of a Hive metastore, read by Spark from where its files lie."""

    kind: Literal["hive"] = Field(default="hive", description="The kind of this table.")


class HiveServer2Table(HiveRows, ColumnsConf):
    """A table or view that HiveServer2, or Spark's Thrift server, reads for us."""

    kind: Literal["hiveserver2"] = Field(default="hiveserver2", description="The kind of this table.")
    host: Text = Field(description="Name or address of the server.")
    port: int = Field(default=10000, ge=1, le=65535, description="Its port for binary Thrift.")
    auth: Literal["none", "nosasl", "ldap", "custom"] = Field(
        default="none",
        description="What the server's hive.server2.authentication says. A password belongs to ldap and custom. "
        "Kerberos is not offered: read such a table as kind hive.",
    )
    user: Text = Field(description="User that the server knows us by.")
    password: SecretReference | None = Field(
        default=None, description="Reference to the password (env:NAME or file:path)."
    )
    ca: Annotated[Text, AfterValidator(_file)] | None = Field(
        default=None,
        description="File with the certificate of the server's authority (PEM): the connection is then encrypted and "
        "the server's name checked. null: rows, and a password, cross the network in clear.",
    )
    database: Text = Field(default="default", description="Database of the table.")
    table: Text = Field(description="Table or view, by its name alone.")
    slices: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None,
        description="Into how many slices the rows are cut, each one query of one task; null: as many as Spark runs at "
        "once, at most 32. A slice is some partitions, or, where fewer than two have rows, a share by a hash of the "
        "id, for which the server scans all rows.",
    )

    @classmethod
    def findings(cls, data: Mapping[str, Any]) -> Iterable[Finding]:
        yield from super().findings(data)
        auth, password = data.get("auth", "none"), data.get("password")
        if auth in ("ldap", "custom") and password is None:
            yield Finding(("password",), f"is required with `auth: {auth}`")
        if auth in ("none", "nosasl") and password is not None:
            yield Finding(("auth",), f"{auth} sends no password, and there is one", auth, "Set it to ldap or custom.")


class HiveSink(HivePlace, SinkConf):
    """A table of a Hive metastore that scores are written to, as Parquet files.

    With `partition`, rows go to that one partition, and `if_exists` is about it: other partitions stay. `append` needs
    a table whose last partition column is `run`, and makes one like that. A table that is replaced keeps its columns,
    and needs those that are written.
    """

    kind: Literal["hive"] = Field(default="hive", description="The kind of this place.")
    partition: dict[Text, PartitionValue] = Field(
        default={}, description="Values of the partition columns that the rows get, as dt: 2026-11-20."
    )

    @property
    def place(self) -> str:
        named = "".join(f"/{column}={value}" for column, value in self.partition.items())
        return f"hive://{(self.metastore or '').removeprefix('thrift://')}/{self.database}/{self.table}{named}"

    @classmethod
    def findings(cls, data: Mapping[str, Any]) -> Iterable[Finding]:
        yield from super().findings(data)
        partition = data.get("partition")
        if data.get("if_exists") == "append" and isinstance(partition, Mapping) and RUN in partition:
            yield Finding(("partition", RUN), "gets the name of the run with `if_exists: append`")
