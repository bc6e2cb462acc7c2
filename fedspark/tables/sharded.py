"""One table in many: shards are opened side by side, must have the same columns, and are read as one.

The rows of every shard are counted before; the counts are in the notes of the table's card.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812 - its usual name

from fedspark.conf.tables import ColumnsConf
from fedspark.conf.tables.sharded import ShardedTable
from fedspark.errors import TableError
from fedspark.tables.problems import Problems, listed
from fedspark.tables.registry import open_source
from fedspark.tables.source import Source, reading

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression
    from pyspark.sql import DataFrame, SparkSession

_AT_A_TIME = 8
_NAMED = 100


def read(
    spark: SparkSession,
    name: str,
    conf: ShardedTable,
    directory: Path,
    opened: Callable[[SparkSession, str, ColumnsConf, Path], Source] = open_source,
) -> Source:
    """The table ``name`` of a party file in ``directory``; TableError when a shard is not there, or differs."""
    with ThreadPoolExecutor(min(_AT_A_TIME, len(conf.shards))) as pool:
        shards = list(pool.map(lambda shard: opened(spark, name, shard, directory), conf.shards))
    names = shard_names(conf.shards)
    where = f"Table {name!r} ({names[0]}{f' to {names[-1]}, {len(names)} shards' if len(names) > 1 else ''})"
    _compare(where, names, shards, conf.ignore)
    with reading(where, shards[0].kind):
        union = _union([_aligned(shard, shards[0], conf.ignore) for shard in shards])
        counts = _counts(shards)
    return replace(
        shards[0],
        where=where,
        frame=union,
        rows=sum(counts),
        origin=_origin(shards),
        notes=(_note(names, counts), *dict.fromkeys(note for shard in shards for note in shard.notes)),
        lost=_lost(shards),
        settled=_settled(where, shards, counts),
        unaltered=_unaltered(shards),
    )


def shard_names(shards: Sequence[ColumnsConf]) -> list[str]:
    """What tells the shards apart: ``db_3.user_17``."""
    fields = [key for key in type(shards[0]).model_fields if len({str(getattr(shard, key)) for shard in shards}) > 1]
    return [".".join(str(getattr(shard, key)) for key in fields) or "1 shard" for shard in shards]


def _compare(where: str, names: Sequence[str], shards: Sequence[Source], ignored: Sequence[str]) -> None:
    """TableError that names every difference of columns to the first shard; their order may differ."""
    problems = Problems(where)
    first = {column.name: column.type for column in shards[0].columns if column.name not in ignored}
    found: list[str] = []
    for name, shard in zip(names[1:], shards[1:], strict=True):
        types = {column.name: column.type for column in shard.columns if column.name not in ignored}
        words = [f"has no column {column!r}" for column in first if column not in types]
        words += [f"has a column {column!r} more" for column in types if column not in first]
        words += [f"has {column!r} as {types[column]} instead of {first[column]}"
                  for column in first if types.get(column, first[column]) != first[column]]  # fmt: skip
        if words:
            found.append(f"{name} {', '.join(words)}")
    if found:
        remedy = "Give all shards the same columns, or add those that differ to `ignore`."
        problems.add(f"shards differ from {names[0]}: {listed(found)}", remedy)
    problems.check()


def _aligned(shard: Source, first: Source, ignored: Sequence[str]) -> DataFrame:
    """The rows of a shard with their columns where the first shard has them.

    Those that are ignored, or left out of the frame, hold nothing.
    """
    places = {column.name: f"c{column.position}" for column in shard.columns}
    nothing, there = F.lit(None).cast("string"), set(shard.frame.columns)

    def at(name: str) -> Expression:
        return nothing if name in ignored or places[name] not in there else F.col(places[name])

    own = [name for name in shard.frame.columns if name not in places.values()]
    return shard.frame.select(*(at(column.name).alias(f"c{column.position}") for column in first.columns), *own)


def _union(frames: Sequence[DataFrame]) -> DataFrame:
    """All rows, by a plan that does not grow deep."""
    while len(frames) > 1:
        pairs = [frames[k : k + 2] for k in range(0, len(frames), 2)]
        frames = [pair[0].unionAll(pair[1]) if len(pair) == 2 else pair[0] for pair in pairs]
    return frames[0]


def _counts(shards: Sequence[Source]) -> list[int]:
    """Rows of every shard: where the source has not told, counted in one job."""
    unknown = [
        shard.frame.select(F.lit(number).alias("shard")) for number, shard in enumerate(shards) if shard.rows is None
    ]
    counted = dict(map(tuple, _union(unknown).groupBy("shard").count().collect())) if unknown else {}
    return [counted.get(number, 0) if shard.rows is None else shard.rows for number, shard in enumerate(shards)]


def _note(names: Sequence[str], counts: Sequence[int]) -> str:
    shown = [f"{name} {count:,}" for name, count in zip(names, counts, strict=True)][:_NAMED]
    more = f" and {len(names) - _NAMED:,} more, from {min(counts):,} to {max(counts):,}" if len(names) > _NAMED else ""
    return f"rows by shard: {', '.join(shown)}{more}"


def _origin(shards: Sequence[Source]) -> dict[str, str | int]:
    """The state of all shards: numbers added up, the last of their changes, one fingerprint out of many."""
    origin: dict[str, str | int] = {"shards": len(shards)}
    for key, first in shards[0].origin.items():
        values = [shard.origin.get(key, "") for shard in shards]
        if isinstance(first, int):
            origin[key] = sum(value for value in values if isinstance(value, int))
        elif key == "fingerprint":
            origin[key] = hashlib.sha256(repr(values).encode()).hexdigest()[:16]
        else:
            origin[key] = max(map(str, values)) if key == "last change" else listed(dict.fromkeys(map(str, values)))
    return origin


def _lost(shards: Sequence[Source]) -> Callable[[BaseException], bool]:
    rules = dict.fromkeys(shard.lost for shard in shards if shard.lost is not None)
    return lambda error: any(rule(error) for rule in rules)


def _unaltered(shards: Sequence[Source]) -> Callable[[], None]:
    """The shards' own checks, side by side."""
    checks = [shard.unaltered for shard in shards if shard.unaltered is not None]

    def unaltered() -> None:
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            list(pool.map(lambda check: check(), checks))

    return unaltered


def _settled(where: str, shards: Sequence[Source], counts: Sequence[int]) -> Callable[[int], None] | None:
    """The shards' own checks, and that all together gave the rows that their servers counted; none for files.

    A shard that is read by one statement is that of one moment, and needs no check of its own; several are not.
    """
    if all(shard.settled is None for shard in shards) and any(shard.rows is None for shard in shards):
        return None

    def settled(read: int) -> None:
        for shard, count in zip(shards, counts, strict=True):
            if shard.settled is not None:
                shard.settled(count)
        if len(shards) > 1 and read != sum(counts):
            problem = f"{where}: it changed while it was read: {sum(counts):,} rows before, {read:,} read."
            raise TableError(problem, remedy="Load it when nothing writes to it, or leave new rows out by `where`.")

    return settled
