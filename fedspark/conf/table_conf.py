"""Tables of a party: where one lies, and what its columns are. One model per kind of source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from fedspark.conf.model import Finding, Model, Text, as_list, as_mapping, repeated
from fedspark.conf.urls import absolute_path

ColumnType = Literal["string", "integer", "double", "decimal", "date", "timestamp", "boolean"]
Encoding = Literal["utf-8", "us-ascii", "iso-8859-1", "utf-16", "utf-16le", "utf-16be", "utf-32"]


def _table_path(text: str, info: ValidationInfo) -> str:
    directory = (info.context or {}).get("directory", Path())
    try:
        return absolute_path(text, directory)
    except ValueError as error:
        raise PydanticCustomError("path", "{reason}", {"reason": str(error)}) from None


def _list_of_one(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _tab(value: Any) -> Any:
    return "\t" if value == "\\t" else value


Columns = Annotated[list[Text], Field(min_length=1)]


class ColumnsConf(Model):
    """What every kind of table says: where it lies, and what its columns are."""

    kind: str
    path: Annotated[Text, AfterValidator(_table_path)] = Field(
        description="File, directory or glob; a URL, or a path taken from the directory of this file."
    )
    id: Annotated[Columns, BeforeValidator(_list_of_one, json_schema_input_type=str | list[str])] = Field(
        description="Column, or list of columns, that names a person; the same people have the same ids everywhere."
    )
    label: Text | None = Field(default=None, description="Column with 0 or 1 to learn; the guest's alone.")
    features: Columns | None = Field(
        default=None,
        description="Columns to learn from; null: of Parquet all other numeric columns, of CSV all other columns "
        "(text among them is refused, unless `schema` declares it).",
    )
    ignore: list[Text] = Field(default=[], description="Columns that are left out of everything.")
    duplicates: Literal["refuse", "drop"] = Field(
        default="refuse", description="A repeated id: refuse the table, or drop all its rows but the smallest one."
    )

    @classmethod
    def findings(cls, data: Mapping[str, Any]) -> Iterable[Finding]:
        uses: dict[str, str] = {}
        for use in ("id", "label", "features", "ignore"):
            columns = as_list(data.get(use))
            for column in repeated(columns):
                yield Finding((use,), f"names column {column!r} twice")
            for column in dict.fromkeys(column for column in columns if isinstance(column, str)):
                if column in uses:
                    yield Finding((use,), f"names column {column!r}, which `{uses[column]}` names too")
                uses.setdefault(column, use)
        schema = as_mapping(data.get("schema"))
        for use in ("id", "label", "features") if schema else ():
            for column in as_list(data.get(use)):
                if isinstance(column, str) and column not in schema:
                    yield Finding((use,), f"names column {column!r}, which `schema` does not have")
        if data.get("header") is False and not schema:
            yield Finding(("schema",), "is required when `header` is false: it then names the columns in order")


class CsvTable(ColumnsConf):
    """Delimited text files."""

    kind: Literal["csv"] = Field(default="csv", description="The kind of this table.")
    header: bool = Field(default=True, description="Whether the first line names the columns.")
    delimiter: Annotated[str, Field(min_length=1, max_length=1), BeforeValidator(_tab, json_schema_input_type=str)] = (
        Field(default=",", description="The one character between fields; \\t for a tab.")
    )
    encoding: Annotated[Encoding, BeforeValidator(_lower)] = Field(default="utf-8", description="Encoding of the text.")
    types: dict[Text, ColumnType] | None = Field(
        default=None, alias="schema", description="Type of every column, in the file's order; null: inferred."
    )


class ParquetTable(ColumnsConf):
    """Parquet files."""

    kind: Literal["parquet"] = Field(default="parquet", description="The kind of this table.")


AnyTable = CsvTable | ParquetTable
TableConf = Annotated[AnyTable, Field(discriminator="kind")]
