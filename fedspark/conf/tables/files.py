"""Tables that are files: CSV, Parquet, ORC, dumps of a database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from fedspark.conf.model import Text
from fedspark.conf.tables.columns import ColumnsConf
from fedspark.conf.urls import absolute_path

Encoding = Literal["utf-8", "us-ascii", "iso-8859-1", "utf-16", "utf-16le", "utf-16be", "utf-32"]


def _table_path(text: str, info: ValidationInfo) -> str:
    directory = (info.context or {}).get("directory", Path())
    try:
        return absolute_path(text, directory)
    except ValueError as error:
        raise PydanticCustomError("path", "{reason}", {"reason": str(error)}) from None


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _tab(value: Any) -> Any:
    return "\t" if value == "\\t" else value


class FileTable(ColumnsConf):
    """A table in files."""

    path: Annotated[Text, AfterValidator(_table_path)] = Field(
        description="File, directory or glob; a URL, or a path taken from the directory of this file."
    )
    where: Text | None = Field(
        default=None,
        description="Which rows: an expression of Spark SQL over the table's columns, as `age >= 18`; names with other "
        "than letters, digits and _ in backticks. Columns of CSV are text unless `types` says otherwise, those of "
        "other files what the file says. Null: all.",
    )


class CsvTable(FileTable):
    """Delimited text files."""

    kind: Literal["csv"] = Field(default="csv", description="The kind of this table.")
    header: bool = Field(default=True, description="Whether the first line names the columns.")
    delimiter: Annotated[str, Field(min_length=1, max_length=1), BeforeValidator(_tab, json_schema_input_type=str)] = (
        Field(default=",", description="The one character between fields; \\t for a tab.")
    )
    encoding: Annotated[Encoding, BeforeValidator(_lower)] = Field(default="utf-8", description="Encoding of the text.")
    on_bad_row: Literal["fail", "skip"] = Field(
        default="fail",
        description="A line with too few or too many fields, a quote that does not end, or a value that does not read "
        "as its column's type (a missing one is another fault): refuse the table, or leave such lines out and say how "
        "many there were.",
    )


class ParquetTable(FileTable):
    """Parquet files."""

    kind: Literal["parquet"] = Field(default="parquet", description="The kind of this table.")


class OrcTable(FileTable):
    """ORC files."""

    kind: Literal["orc"] = Field(default="orc", description="The kind of this table.")


class SqlScriptTable(FileTable):
    """A table in a dump as mysqldump writes it: CREATE TABLE and INSERT statements, plain or with the suffix .gz.

    .. code-block:: yaml

        patients:
          kind: sqlscript
          path: dumps/hospital.sql.gz
          table: patients
          id: patient_id
    """

    kind: Literal["sqlscript"] = Field(default="sqlscript", description="The kind of this table.")
    table: Text = Field(description="Name of the table in the dump.")
    database: Text | None = Field(
        default=None, description="Its database, for a dump of several that have a table of this name."
    )
    max_megabytes: int = Field(
        default=256, ge=1, le=4096, description="Size of a dump, unpacked, from which on it is refused."
    )
