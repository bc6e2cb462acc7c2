"""The rows of a source under safe names, and the exact aggregates that are gathered while the snapshot is written.

Columns: ``key``; ``i<k>``, ids as text; ``l`` and ``y``, label as read and as number; ``r<k>`` and ``v<k>``, features
as read and as numbers; ``malformed``; ``n``, how many rows of the source the row stands for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F  # noqa: N812 - its usual name

from fedspark.tables.roles import Roles
from fedspark.tables.source import Source
from fedspark.tables.values import at, is_finite, is_label, key, number

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression
    from pyspark.sql import DataFrame

UNDECODABLE = "\ufffd"


@dataclass(frozen=True)
class Layout:
    """A source, the roles of its columns, and the pipeline's rule of ids ("string" or "integer")."""

    source: Source
    roles: Roles
    id_type: str

    def frame(self, drop_duplicates: bool) -> DataFrame:
        """The rows; with ``drop_duplicates`` one row per key, the smallest by ids, label and features as read.

        A row that some check would refuse counts as smaller than any sound one: reduction must not hide it.
        """
        frame = self._smallest(self._raw()) if drop_duplicates else self._raw()
        return frame.select("*", *self._numbers())

    def staged(self) -> list[Expression]:
        """The columns of the snapshot, from those of ``frame``."""
        roles = self.roles
        ids = [F.col(f"i{k}").alias(f"id.{column.name}") for k, column in enumerate(roles.ids)]
        label = [F.col("y").alias("label")] if roles.label else []
        features = [F.col(f"v{k}").alias(f"x.{column.name}") for k, column in enumerate(roles.features)]
        return [F.col("key"), *ids, *label, *features]

    def metrics(self) -> list[Expression]:
        """Aggregates over ``frame`` that tell whether anything is wrong: three per feature, none approximate."""
        roles = self.roles
        content = ["key", *(f"i{k}" for k in range(len(roles.ids))), *(["y"] if roles.label else [])]
        content += [f"v{k}" for k in range(len(roles.features))]
        metrics = [
            F.count(F.lit(1)).alias("rows"),
            F.sum("n").alias("read"),
            F.count("key").alias("keys"),
            F.count_if(F.col("malformed")).alias("malformed"),
            F.count_if(F.contains(F.col("key"), F.lit(UNDECODABLE))).alias("undecodable"),
            F.sum(F.xxhash64(*content).cast("decimal(20,0)")).alias("checksum"),
        ]
        if roles.label:
            metrics += [F.count_if(F.col("y") == value).alias(f"label{value}") for value in (0, 1)]
        for k in range(len(roles.features)):
            value = F.col(f"v{k}")
            metrics += [F.count(value).alias(f"count{k}"), F.min(value).alias(f"min{k}"), F.max(value).alias(f"max{k}")]
        return metrics

    def bad_features(self, metrics: Mapping[str, Any]) -> list[int]:
        """Positions of the features with something missing, no number, NaN or infinite."""
        found = []
        for k in range(len(self.roles.features)):
            ends = (metrics[f"min{k}"], metrics[f"max{k}"])
            finite = all(end is None or math.isfinite(end) for end in ends)
            if metrics[f"count{k}"] < metrics["rows"] or not finite:
                found.append(k)
        return found

    def sound(self, metrics: Mapping[str, Any]) -> bool:
        """Whether every row has a key, a label where there is one, and all its numbers."""
        count = metrics["rows"]
        labelled = metrics["label0"] + metrics["label1"] if self.roles.label else count
        nothing = not metrics["malformed"] and not metrics["undecodable"]
        return nothing and metrics["keys"] == count and labelled == count and not self.bad_features(metrics)

    def constant_features(self, metrics: Mapping[str, Any]) -> tuple[str, ...]:
        """Features with one value in all rows; none in an empty table."""
        return tuple(
            column.name
            for k, column in enumerate(self.roles.features)
            if 0 < metrics["rows"] == metrics[f"count{k}"] and metrics[f"min{k}"] == metrics[f"max{k}"]
        )

    def _raw(self) -> DataFrame:
        roles = self.roles
        malformed = F.col("malformed") if self.source.checks_lines else F.lit(False).alias("malformed")
        return self.source.frame.select(
            key(roles.ids, self.id_type).alias("key"),
            *(at(column).cast("string").alias(f"i{k}") for k, column in enumerate(roles.ids)),
            *([at(roles.label).alias("l")] if roles.label else []),
            *(at(column).alias(f"r{k}") for k, column in enumerate(roles.features)),
            malformed,
            F.lit(1).cast("bigint").alias("n"),
        )

    def _numbers(self) -> list[Expression]:
        label = [number(F.col("l"), self.roles.label).alias("y")] if self.roles.label else []
        return label + [number(F.col(f"r{k}"), column).alias(f"v{k}") for k, column in enumerate(self.roles.features)]

    def _smallest(self, frame: DataFrame) -> DataFrame:
        carried = [name for name in frame.columns if name not in ("key", "n")]
        sound = ~F.col("malformed")
        if self.roles.label:
            sound &= is_label(number(F.col("l"), self.roles.label))
        if self.roles.features:
            values = F.array(*(number(F.col(f"r{k}"), column) for k, column in enumerate(self.roles.features)))
            sound &= F.forall(values, is_finite)
        smallest = F.min(F.struct(sound.alias("sound"), *carried)).alias("row")
        reduced = frame.groupBy("key").agg(smallest, F.sum("n").alias("n"))
        return reduced.select("key", *(f"row.{name}" for name in carried), "n")
