"""What tells the state of files that a table is read from: their names, sizes and times, without their content."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pyspark.sql import functions as F  # noqa: N812 - its usual name

from fedspark.errors import TableError
from fedspark.tables.direct import local_files
from fedspark.tables.source import Source, literally, reading

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


_TASKS = 8
_ROOT = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:(//[^/]*)?")


def origin_of(spark: SparkSession, frame: DataFrame) -> dict[str, str | int]:
    """Number, size, last change and fingerprint of the files that the frame reads; one listing, no content.

    The fingerprint is the same for files of the same names (below the folder that all are in), sizes and times,
    wherever that folder is.
    """
    urls = [_with_slashes(url) for url in frame.inputFiles()]
    if not urls:
        return {"files": 0, "size": 0}
    found = sorted(_looked_at(urls) or _listed(spark, urls))
    top = _common([path for path, _, _ in found])
    lines = "".join(f"{path.relative_to(top)}\n{size}\n{time}\n" for path, size, time in found)
    newest = max(time for _, _, time in found)
    return {
        "files": len(found),
        "size": sum(size for _, size, _ in found),
        "last change": _moment(newest),
        "fingerprint": hashlib.sha256(lines.encode()).hexdigest()[:16],
    }


def _looked_at(urls: Sequence[str]) -> list[tuple[PurePosixPath, int, int]]:
    """Path, size and time (ms) of files that are all on this machine, else nothing. A Spark job costs as much as
    hundreds of thousands of rows.
    """
    states = [(PurePosixPath(path), os.stat(path)) for path in local_files(urls) or ()]
    return [(path, state.st_size, state.st_mtime_ns // 1_000_000) for path, state in states]


def _listed(spark: SparkSession, urls: Sequence[str]) -> list[tuple[PurePosixPath, int, int]]:
    time = F.unix_millis("modificationTime").alias("time")
    # These are URLs, with %20 for a space; Spark wants the names themselves, and tells them so.
    listed = spark.read.format("binaryFile").load([literally(unquote(url)) for url in urls])
    rows = listed.select("path", "length", time).coalesce(_TASKS).collect()
    return [(PurePosixPath(_ROOT.sub("", row.path)), row.length, row.time) for row in rows]


def check_origin(spark: SparkSession, source: Source, frame: DataFrame) -> None:
    """TableError when the files that the frame reads are not any more those that ``source`` has as its origin."""
    now: dict[str, str | int] = {}
    with reading(source.where, source.kind), suppress(FileNotFoundError):
        now = origin_of(spark, frame)
    if now != source.origin:
        remedy = "Load it again when nobody writes to them; who writes new ones should rename them into place."
        raise TableError(f"{source.where}: its files changed while they were read.", remedy=remedy)


def _with_slashes(url: str) -> str:
    """Spark writes one slash or three."""
    return f"file://{url.removeprefix('file:')}" if url.startswith("file:/") and not url.startswith("file://") else url


def _common(paths: Sequence[PurePosixPath]) -> PurePosixPath:
    top = paths[0].parent
    while not all(path.is_relative_to(top) for path in paths):
        top = top.parent
    return top


def _moment(millis: int) -> str:
    return datetime.fromtimestamp(millis // 1000, UTC).isoformat().replace("+00:00", "Z")
