"""What tells the state of files that a table is read from: their names, sizes and times, without their content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pyspark.sql import functions as F  # noqa: N812 - its usual name

from fedspark.tables.source import literally, spark_path

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


_TASKS = 8


def origin_of(spark: SparkSession, frame: DataFrame) -> dict[str, str | int]:
    """Number, size, last change and fingerprint of the files that the frame reads; one listing, no content.

    The fingerprint is the same for files of the same names (below the folder that all are in), sizes and times,
    wherever that folder is.
    """
    paths = [literally(spark_path(_with_slashes(url))) for url in frame.inputFiles()]
    if not paths:
        return {"files": 0, "size": 0}
    time = F.unix_micros("modificationTime").alias("time")
    listed = spark.read.format("binaryFile").load(paths).select("path", "length", time).coalesce(_TASKS)
    found = sorted((_path(row.path), row.length, row.time) for row in listed.collect())
    top = _common([path for path, _, _ in found])
    lines = "".join(f"{path.relative_to(top)}\n{size}\n{time}\n" for path, size, time in found)
    newest = max(time for _, _, time in found)
    return {
        "files": len(found),
        "size": sum(size for _, size, _ in found),
        "last change": _moment(newest),
        "fingerprint": hashlib.sha256(lines.encode()).hexdigest()[:16],
    }


def _with_slashes(url: str) -> str:
    """Spark writes one slash or three."""
    return f"file://{url.removeprefix('file:')}" if url.startswith("file:/") and not url.startswith("file://") else url


def _path(url: str) -> PurePosixPath:
    return PurePosixPath(unquote(urlsplit(url).path))


def _common(paths: Sequence[PurePosixPath]) -> PurePosixPath:
    top = paths[0].parent
    while not all(path.is_relative_to(top) for path in paths):
        top = top.parent
    return top


def _moment(micros: int) -> str:
    return datetime.fromtimestamp(micros // 1_000_000, UTC).isoformat().replace("+00:00", "Z")
