"""What every kind of table says about its columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from fedspark.conf.model import Finding, Model, Text, as_list, as_mapping, repeated


def _list_of_one(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


_USES = ("id", "label", "weight", "features", "ignore")

Columns = Annotated[list[Text], Field(min_length=1)]


class ColumnsConf(Model):
    """Roles of columns; a kind of source adds where the table lies."""

    kind: str
    id: Annotated[Columns, BeforeValidator(_list_of_one, json_schema_input_type=str | list[str])] = Field(
        description="Column, or list of columns, that names a person; the same people have the same ids everywhere."
    )
    label: Text | None = Field(default=None, description="Column with 0 or 1 to learn; the guest's alone.")
    weight: Text | None = Field(
        default=None,
        description="Column with how much a row counts in training, zero or more; the guest's alone. Null: all alike.",
    )
    features: Columns | None = Field(
        default=None,
        description="Columns to learn from; null: all other numeric columns, and of CSV all other columns "
        "(text among them is refused, unless `schema` declares it).",
    )
    ignore: list[Text] = Field(default=[], description="Columns that are left out of everything.")
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
        schema = as_mapping(data.get("schema"))
        for use in _USES[:-1] if schema else ():
            for column in as_list(data.get(use)):
                if isinstance(column, str) and column not in schema:
                    yield Finding((use,), f"names column {column!r}, which `schema` does not have")
        if data.get("header") is False and not schema:
            yield Finding(("schema",), "is required when `header` is false: it then names the columns in order")
