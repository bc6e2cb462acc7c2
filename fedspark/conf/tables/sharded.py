"""One table that lies in many tables of one kind, such as ``user_00`` to ``user_63`` in each of 16 databases.

tables:
  users:
    kind: sharded
    id: user_id
    features: [age, visits]
    shards:
      - kind: mysql
        host: db.hospital.example
        user: fedspark
        password: env:MYSQL_PASSWORD
        database: db_{0..15}
        table: user_{00..63}
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, SerializeAsAny, ValidationError, ValidationInfo
from pydantic_core import PydanticCustomError

from fedspark.conf.references import CLEAR_SECRET
from fedspark.conf.tables.columns import ColumnsConf

MOST_SHARDS = 4096
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_NEVER = ("kind", "user", "password", "where")
_COLUMNS = ("id", "label", "label_values", "weight", "time", "features", "ignore", "types", "duplicates")


def expanded(pattern: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The tables that a pattern stands for: every combination of its ranges, the last one counting fastest.

    Numbers are as long as the first one is written: ``{00..63}`` has 00, 01, ...
    """
    places = [key for key, value in pattern.items() if key not in _NEVER and isinstance(value, str)]
    choices = [_texts(pattern[key]) for key in places]
    for values in itertools.product(*choices):
        yield {**pattern, **dict(zip(places, values, strict=True))}


def _texts(text: str) -> list[str]:
    pieces = _RANGE.split(text)
    numbers = [
        [f"{number:0{len(low)}d}" for number in range(int(low), int(high) + 1)]
        for low, high in zip(pieces[1::3], pieces[2::3], strict=True)
    ]
    between = pieces[::3]
    return [
        between[0] + "".join(itertools.chain(*zip(chosen, between[1:], strict=True)))
        for chosen in itertools.product(*numbers)
    ]


def _count(pattern: Mapping[str, Any]) -> int:
    count = 1
    for key, value in pattern.items():
        for low, high in _RANGE.findall(value) if key not in _NEVER and isinstance(value, str) else ():
            count *= max(0, int(high) - int(low) + 1)
    return count


def _shards(value: Any, info: ValidationInfo) -> list[ColumnsConf]:
    """The shards as tables of their kind, with the columns of the whole. Messages show no value: it has passwords."""
    from fedspark.conf.tables import TABLE_KINDS  # which has this kind too

    if not isinstance(value, list) or not value or not all(isinstance(pattern, Mapping) for pattern in value):
        raise _refusal("must be a list of tables of another kind")
    if not 1 <= sum(map(_count, value)) <= MOST_SHARDS or not all(map(_count, value)):
        raise _refusal(f"must stand for 1 to {MOST_SHARDS} tables; a range is {{0..15}}, the smaller number first")
    own = {key: info.data[key] for key in _COLUMNS if key in info.data}
    tables: list[ColumnsConf] = []
    for number, pattern in enumerate(value):
        kind = pattern.get("kind")
        if kind not in TABLE_KINDS or kind == "sharded" or kind != value[0].get("kind"):
            raise _refusal(f"must all have one `kind`, a table's own; [{number}] does not")
        if named := [key for key in _COLUMNS if key in pattern and pattern[key] != own.get(key)]:
            raise _refusal(
                f"take {', '.join(f'`{key}`' for key in named)} from the whole table; [{number}] has its own"
            )
        try:
            tables += [TABLE_KINDS[kind].model_validate({**shard, **own}, context=info.context)
                       for shard in expanded(pattern)]  # fmt: skip
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise _refusal(f"[{number}]: `{where}`: {first['msg']}") from None
    if any(one == other for one, other in itertools.pairwise(sorted(tables, key=repr))):
        raise _refusal("name one table twice")
    return tables


def _refusal(rule: str) -> PydanticCustomError:
    return PydanticCustomError(CLEAR_SECRET, "{rule}", {"rule": rule})


class ShardedTable(ColumnsConf):
    """A table in many tables of one kind, with the same columns."""

    kind: Literal["sharded"] = Field(default="sharded", description="The kind of this table.")
    shards: Annotated[
        list[SerializeAsAny[ColumnsConf]], PlainValidator(_shards, json_schema_input_type=list[dict[str, Any]])
    ] = Field(
        description="Where the shards are: tables of another kind without their columns, all of one kind. A range like "
        "{0..15} or {00..63} in a text counts through (not in `where`)."
    )
