"""Rows into a table on a server: part by part by tasks, then all of them seen at once. One writer per kind of sink.

A writer is a module that offers what `Writer` says. Its *target* is one write of one run: it travels in task closures,
so it is picklable and holds references instead of secrets. The rows that `write_part` gets have the columns of
``schema`` (string, int64, float64; ids are never null, and are not where a writer needs a key: first), and no column
`run`: under ``if_exists: append`` the writer adds it, with the name of the run as its value, or makes it the partition.

Everything may be repeated, by Spark, after a kill, or by two processes at a time, as long as `clear` was not called:
``tag`` (24 letters and digits) is unique to the rows, so equal tags mean equal parts. What `finish` did is noted in the
party's workspace, then `clear` is called; after that, of this tag, only `clear` is.

    begin -> write_part(part 0, 1, ..., any order, any number of times) -> finish -> clear

What is wrong with the table (it is there, lacks a column, is a view) is a TableError, a server that is down or does not
let us in a StoreError, each with what to do. Where scores are written both end the step, and the next attempt goes on
with the sinks alone: none of it is a reason to stop the other parties.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import pyarrow as pa

from fedspark.conf.tables import SinkConf
from fedspark.errors import StoreError, TableError
from fedspark.exchange.store import StoreRef

WRITERS = {
    "clickhouse": "fedspark.tables.clickhouse.sink",
    "hive": "fedspark.tables.hive.writer",
    "mysql": "fedspark.tables.mysql.writer",
}


NEED_SPARK = ("hive",)
"""Kinds whose writers use the driver's Spark: it has to run when `Sink.begin` and what follows is called. Parts wait in
the workspace: their targets have a field ``scratch``.
"""


@dataclass(frozen=True)
class Scratch:
    """A folder of the party's workspace for the parts of one write."""

    ref: StoreRef
    folder: str


class Writer(Protocol):
    """The functions of a writer's module."""

    def target(self, conf: Any, directory: Path, schema: pa.Schema, tag: str, run: str) -> Any:
        """The write ``tag`` of run ``run`` to the table of ``conf``, from a party file in ``directory``. Connects to
        nothing.
        """

    def check(self, target: Any) -> None:
        """Raise what `begin` or `finish` would: server, login, rights (by a table that is made and dropped again), the
        table that is there, names of its columns. The schema's types of ids may still be others than in the write.

        It is called before a run computes anything, and by `fedspark check`, so it takes no longer than it must.
        """

    def begin(self, target: Any) -> None:
        """Make ready for parts, on the driver; TableError where the table must stay or cannot hold the schema."""

    def write_part(self, target: Any, rows: pa.Table, part: int) -> int:
        """Write all rows of a part or none, in a task; nobody sees them yet. Their number."""

    def finish(self, target: Any, rows: Sequence[int]) -> None:
        """Show all rows at once, on the driver; ``rows`` are the numbers that `write_part` gave, part by part.

        StoreError, and nothing shown, when they are not all there. A finished write is left as it is.
        """

    def clear(self, target: Any) -> None:
        """Remove what only this write needed."""


@dataclass(frozen=True)
class Sink:
    """One write to one sink; travels in task closures."""

    place: str
    kind: str
    target: Any

    @staticmethod
    def of(
        conf: SinkConf, directory: Path, schema: pa.Schema, content: str, run: str, scratch: Scratch | None = None
    ) -> Sink:
        """The write of what ``content`` names, and nothing else ever, to the sink of a party file in ``directory``.

        Without ``scratch`` it is for `check` alone.
        """
        tag = short(content, conf.place)
        with _as_storage():
            target = _writer(conf.kind).target(conf, directory, schema, tag, run)
        if conf.kind in NEED_SPARK:
            target = replace(target, scratch=scratch)
        return Sink(conf.place, conf.kind, target)

    def check(self) -> None:
        """As `Writer.check`; like all that follows it raises StoreError for what is a TableError of the writer."""
        with _as_storage():
            _writer(self.kind).check(self.target)

    def begin(self) -> None:
        """As `Writer.begin`."""
        with _as_storage():
            _writer(self.kind).begin(self.target)

    def write_part(self, rows: pa.Table, part: int) -> int:
        """As `Writer.write_part`."""
        with _as_storage():
            return _writer(self.kind).write_part(self.target, rows, part)

    def finish(self, rows: Sequence[int]) -> None:
        """As `Writer.finish`."""
        with _as_storage():
            _writer(self.kind).finish(self.target, rows)

    def clear(self) -> None:
        """As `Writer.clear`."""
        with _as_storage():
            _writer(self.kind).clear(self.target)


def short(*words: str) -> str:
    """24 hexadecimal digits that stand for these words."""
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:24]


def _writer(kind: str) -> Writer:
    return cast(Writer, import_module(WRITERS[kind]))


@contextmanager
def _as_storage() -> Iterator[None]:
    # A TableError is about data that a run is made of, and ends the run for all parties. This table is but a place.
    try:
        yield
    except TableError as error:
        raise StoreError(error.message, remedy=error.remedy) from None
