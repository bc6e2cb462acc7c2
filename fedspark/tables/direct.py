"""Rows that Python tasks read themselves, so that they do not pass through the JVM: its rows cost most of a load.

A source may offer this beside its frame, where the rows are the same. A task that meets something of which only Spark
knows what it is raises Unplain; then all rows come by the frame. Executors import this file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pyarrow as pa

from fedspark.errors import TableError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Batches = Iterator[pa.RecordBatch]
Reading = Callable[[Batches], Batches]
"""What a task does: from batches whose first column has numbers of pieces to the rows of these."""

UNPLAIN = "the rows have to be read by Spark"
_LARGEST = 128 << 20
_SMALLEST = 4 << 20


class Unplain(TableError):
    """Something that is not read here as Spark would read it, or not at all: Spark reads it, or says what it is."""

    def __init__(self, why: str) -> None:
        super().__init__(f"{UNPLAIN}: {why}.", remedy="")


@dataclass(frozen=True)
class Direct:
    """``reader``, given names of the columns of ``frame`` that are wanted, makes what the tasks of ``pieces`` do.

    ``frame`` is that of the source: of a source with another one, this says nothing.
    """

    frame: DataFrame
    pieces: DataFrame
    reader: Callable[[Sequence[str]], Reading]


@dataclass(frozen=True)
class Piece:
    """Bytes ``start`` to below ``end`` of a file of this machine, or of one that all machines see at that path."""

    path: str
    start: int
    end: int


def local_files(urls: Sequence[str]) -> list[str] | None:
    """Paths of the files that Spark would read, by its own URLs; None where one is not a file that is seen here."""
    parts = [urlsplit(url) for url in urls]  # Spark writes file:/path as well as file:///path
    paths = [unquote(part.path) for part in parts if part.scheme == "file"]
    files = [path for path in paths if os.path.isfile(path)]
    return files if files and len(files) == len(urls) else None


def cut(files: Sequence[str], parallel: int) -> tuple[tuple[Piece, ...], ...]:
    """The files in pieces, by tasks: pieces as large as Spark's, several small files to one task."""
    sizes = [os.path.getsize(path) for path in files]
    limit = max(_SMALLEST, min(_LARGEST, -(-sum(sizes) // parallel)))
    tasks: list[list[Piece]] = [[]]
    room = limit
    for path, size in zip(files, sizes, strict=True):
        # Of equal pieces, or the last one would be a task for nothing.
        count = max(1, -(-size // limit))
        for k in range(count):
            piece = Piece(path, size * k // count, size * (k + 1) // count)
            if tasks[-1] and room < piece.end - piece.start:
                tasks.append([])
                room = limit
            tasks[-1].append(piece)
            room -= piece.end - piece.start
    return tuple(tuple(task) for task in tasks)


def numbered(spark: SparkSession, count: int) -> DataFrame:
    """A frame with the numbers of so many pieces, each for a task of its own."""
    return spark.range(0, count, 1, count)


def numbers_in(batches: Batches) -> Iterator[int]:
    """The numbers that a task of `numbered` is given."""
    for batch in batches:
        yield from batch.column(0).to_pylist()


def spoken(path: str) -> str:
    """The name of a file for a message."""
    return Path(path).name
