"""What every kind of table says about its columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from fedspark.conf.model import Finding, Model, Text, as_list, as_mapping, repeated


def _list_of_one(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _texts_as_keys(value: Any) -> Any:
    """What a label is called may look like a number."""
    if not isinstance(value, Mapping):
        return value
    if any(isinstance(key, bool) for key in value):
        raise PydanticCustomError("text_key", "must have texts as keys: put true and false in quotes")
    return {str(key) if isinstance(key, (int, float)) else key: number for key, number in value.items()}


ColumnType = Literal["string", "integer", "double", "decimal", "boolean", "date", "timestamp"]
_USES = ("id", "label", "weight", "time", "features", "ignore")

Columns = Annotated[list[Text], Field(min_length=1)]


class ColumnsConf(Model):
    """Roles of columns; a kind of source adds where the table lies."""

    kind: str
    id: Annotated[Columns, BeforeValidator(_list_of_one, json_schema_input_type=str | list[str])] = Field(
        description="Column, or list of columns, that names a person; the same people have the same ids everywhere."
    )
    label: Text | None = Field(default=None, description="Column with 0 or 1 to learn; the guest's alone.")
    label_values: Annotated[
        dict[Text, Literal[0, 1]], BeforeValidator(_texts_as_keys, json_schema_input_type=dict[str, Literal[0, 1]])
    ] = Field(
        default={}, description="What stands for 0 and for 1 in a label of other values, as `{healthy: 0, sick: 1}`."
    )
    weight: Text | None = Field(
        default=None,
        description="Column with how much a row counts in training, zero or more; the guest's alone. Null: all alike.",
    )
    time: Text | None = Field(
        default=None,
        description="Column with the day or time of a row. It is no feature; the table's card says from when to when.",
    )
    features: Columns | None = Field(
        default=None,
        description="Columns to learn from; null: all other numeric columns, and of CSV all other columns "
        "(text among them is refused, unless `types` declares it). A date or time is a feature only where it is named "
        "here: as days since 1970-01-01, in UTC.",
    )
    ignore: list[Text] = Field(default=[], description="Columns that are left out of everything.")
    types: dict[Text, ColumnType] = Field(
        default={},
        description="Types that columns are read as, whatever the source holds: a value that does not read so is a "
        "fault. Dates and times are ISO 8601. Of CSV without a header line: all columns, in the file's order.",
    )
    duplicates: Literal["refuse", "drop"] = Field(
        default="refuse", description="A repeated id: refuse the table, or drop all its rows but the smallest one."
    )

    @classmethod
    def findings(cls, data: Mapping[str, Any]) -> Iterable[Finding]:
        uses: dict[str, str] = {}
        for use in _USES:
            columns = as_list(data.get(use))
            for column in repeated(columns):
                yield Finding((use,), f"names column {column!r} twice")
            for column in dict.fromkeys(column for column in columns if isinstance(column, str)):
                if column in uses:
                    yield Finding((use,), f"names column {column!r}, which `{uses[column]}` names too")
                uses.setdefault(column, use)
        types = as_mapping(data.get("types"))
        without_header = data.get("header") is False
        for use in _USES[:-1] if without_header and types else ():
            for column in as_list(data.get(use)):
                if isinstance(column, str) and column not in types:
                    yield Finding((use,), f"names column {column!r}, which `types` does not have")
        if without_header and not types:
            yield Finding(("types",), "is required when `header` is false: it then names the columns in order")
        meanings = as_mapping(data.get("label_values"))
        if meanings and data.get("label") is None:
            yield Finding(("label_values",), "is of no use without `label`")
        if meanings and not {0, 1} <= {value for value in meanings.values() if isinstance(value, int)}:
            yield Finding(("label_values",), "must say what stands for 0 and what for 1")
