"""The rows of a source under safe names, as the checks and the sink want them, and what their metrics say.

Columns: ``key``; ``i<k>``, ids as text; ``l`` and ``y``, label as read and as number; ``r<k>`` and ``v<k>``, features,
then weight and time, as read and as numbers; ``malformed``; ``n``, how many rows of the source the row stands for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pyspark.sql import functions as F  # noqa: N812 - its usual name

from fedspark.tables.metrics import Metrics
from fedspark.tables.roles import Roles
from fedspark.tables.source import Source
from fedspark.tables.values import (
    any_of,
    at,
    is_finite,
    is_label,
    is_missing,
    is_plain_text,
    key,
    label,
    number,
    reads_as_key,
)

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Layout:
    """A source, the roles of its columns, and the pipeline's rule of ids ("string" or "integer").

    ``drop``: of the rows of one key all but one are left out.
    """

    source: Source
    roles: Roles
    id_type: str
    drop: bool = False

    def frame(self) -> DataFrame:
        """All rows of the source that are not to be skipped."""
        rows = self._raw()
        rows = rows.where(~F.col("malformed")) if self.source.skips_lines else rows
        return rows.select("*", *self._numbers())

    def unread(self) -> DataFrame:
        """The rows that are skipped for a value that does not read as its column's type, where any are."""
        rows = self._read_rows().where(~F.col("malformed") & self._does_not_read())
        return rows.select("*", *self._numbers())

    def sinkable(self) -> DataFrame:
        """The rows to stage, with the columns that `sink.Sink` takes; Spark computes none that are not among them.

        Rows to be skipped are among them: the sink counts them and leaves them out.

        Where duplicates are dropped one row per key, the smallest by ids, label, features, weight and time as read.
        A row that some check would refuse counts as smaller than any sound one: reduction must not hide it.
        """
        rows = self._smallest(self._raw()) if self.drop else self._raw()
        return rows.select("*", *self._numbers()).select(
            F.col("i0").alias("key") if self.raw_key else "key",
            *(f"i{k}" for k in range(len(self.roles.ids)) if self.ids_come),
            *(["y"] if self.roles.label else []),
            *(f"v{k}" for k in range(len(self.roles.measured))),
            *(["malformed"] if self.source.checks_lines else []),
            *(["n"] if self.drop else []),
        )

    @property
    def raw_key(self) -> bool:
        """Whether the sink gets the id as read and brings it to its normal form, which is cheaper there."""
        return not self.drop and len(self.roles.ids) == 1 and is_plain_text(self.roles.ids[0], self.id_type)

    @property
    def ids_come(self) -> bool:
        """Whether the sink gets the ids as read beside the key: not where the key as it comes is the only one."""
        alone = len(self.roles.ids) == 1 and reads_as_key(self.roles.ids[0])
        return not (alone or self.raw_key)

    def columns(self) -> tuple[str, ...]:
        """The staged columns, in order."""
        roles = self.roles
        ids = [f"id.{column.name}" for column in roles.ids]
        own = [name for name, column in (("label", roles.label), ("weight", roles.weight)) if column is not None]
        return ("key", *ids, *own, *(f"x.{column.name}" for column in roles.features))

    def bad_features(self, metrics: Metrics) -> list[int]:
        """Positions of the features with something missing, no number, NaN or infinite."""
        return [k for k in range(len(self.roles.features)) if not _all_finite(metrics, k)]

    def bad_weight(self, metrics: Metrics) -> bool:
        """Whether the weight of some row is missing, no number, NaN, infinite or below zero."""
        k = self.roles.weight_at
        return self.roles.weight is not None and not (_all_finite(metrics, k) and (metrics.smallest[k] or 0.0) >= 0.0)

    def bad_time(self, metrics: Metrics) -> bool:
        """Whether the time of some row is missing or none."""
        return self.roles.time is not None and not _all_finite(metrics, self.roles.time_at)

    def sound(self, metrics: Metrics) -> bool:
        """Whether every row has a key, label, weight and time where there are any, and all its numbers."""
        labelled = sum(metrics.labels) if self.roles.label else metrics.rows
        unread = 0 if self.source.skips_lines else metrics.malformed
        nothing = not unread and not metrics.undecodable
        numbers = not (self.bad_features(metrics) or self.bad_weight(metrics) or self.bad_time(metrics))
        return nothing and metrics.keys == labelled == metrics.rows and numbers

    def constant_features(self, metrics: Metrics) -> tuple[str, ...]:
        """Features with one value in all rows; none in an empty table."""
        return tuple(
            column.name
            for k, column in enumerate(self.roles.features)
            if 0 < metrics.rows == metrics.counts[k] and metrics.smallest[k] == metrics.largest[k]
        )

    def period(self, metrics: Metrics) -> tuple[str, str] | None:
        """First and last day of the rows, in UTC; None without a time, or without rows."""
        if self.roles.time is None or not metrics.rows:
            return None
        ends = (metrics.smallest[self.roles.time_at], metrics.largest[self.roles.time_at])
        first, last = (_day(end) for end in ends if end is not None)
        return first, last

    def _raw(self) -> DataFrame:
        rows = self._read_rows()
        if not self.source.skips_lines:
            return rows
        return rows.withColumn("malformed", F.col("malformed") | self._does_not_read())

    def _does_not_read(self) -> Expression:
        """Whether some value is there that is none of its column's type."""
        found = [
            ~is_missing(F.col(f"r{k}")) & number(F.col(f"r{k}"), column).isNull()
            for k, column in enumerate(self.roles.measured)
        ]
        if self.roles.label:
            found.append(~is_missing(F.col("l")) & self._label().isNull())
        if not all(is_plain_text(column, self.id_type) or reads_as_key(column) for column in self.roles.ids):
            blank = any_of([is_missing(F.col(f"i{k}")) for k in range(len(self.roles.ids))])
            found.append(F.col("key").isNull() & ~blank)
        return any_of(found) if found else F.lit(False)

    def _read_rows(self) -> DataFrame:
        roles = self.roles
        malformed = F.col("malformed") if self.source.checks_lines else F.lit(False).alias("malformed")
        return self.source.frame.select(
            key(roles.ids, self.id_type).alias("key"),
            *(at(column).cast("string").alias(f"i{k}") for k, column in enumerate(roles.ids)),
            *([at(roles.label).alias("l")] if roles.label else []),
            *(at(column).alias(f"r{k}") for k, column in enumerate(roles.measured)),
            malformed,
            F.lit(1).cast("bigint").alias("n"),
        )

    def _numbers(self) -> list[Expression]:
        labels = [self._label().alias("y")] if self.roles.label else []
        return labels + [number(F.col(f"r{k}"), column).alias(f"v{k}") for k, column in enumerate(self.roles.measured)]

    def _label(self) -> Expression:
        assert self.roles.label is not None
        return label(F.col("l"), self.roles.label, self.roles.label_values)

    def _smallest(self, frame: DataFrame) -> DataFrame:
        carried = [name for name in frame.columns if name not in ("key", "malformed", "n")]
        sound = ~F.col("malformed")
        if self.roles.label:
            sound &= is_label(self._label())
        if self.roles.measured:
            values = F.array(*(number(F.col(f"r{k}"), column) for k, column in enumerate(self.roles.measured)))
            sound &= F.forall(values, is_finite)
        if self.roles.weight:
            sound &= number(F.col(f"r{self.roles.weight_at}"), self.roles.weight) >= 0.0
        smallest = F.min(F.struct(sound.alias("sound"), *carried)).alias("row")
        reduced = frame.groupBy("key", "malformed").agg(smallest, F.sum("n").alias("n"))
        return reduced.select("key", "malformed", *(f"row.{name}" for name in carried), "n")


def _day(days: float) -> str:
    """A day, from days since 1970-01-01, by ISO 8601 with as many digits of the year as it takes."""
    return str(np.datetime64(math.floor(days), "D"))


def _all_finite(metrics: Metrics, k: int) -> bool:
    """Whether number ``k`` of every row is there and finite."""
    ends = (metrics.smallest[k], metrics.largest[k])
    return metrics.counts[k] == metrics.rows and all(end is None or math.isfinite(end) for end in ends)
