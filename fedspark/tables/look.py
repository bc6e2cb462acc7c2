"""A first look at a table without Spark: are its files there, and do they have the columns that the party file names?

Only files on this machine are looked at, and of each table one header line, or one footer of Parquet or ORC. What
cannot be judged so (URLs, globs with braces, partitioned directories, kinds of compression that Python does not know)
passes: the load step sees it all.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import os
from collections.abc import Callable, Iterator
from glob import glob, has_magic
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import orc

from fedspark.conf.tables import CsvTable, FileTable, SqlScriptTable
from fedspark.conf.urls import local_path, scheme
from fedspark.errors import TableError
from fedspark.tables.header import columns_of
from fedspark.tables.roles import Column, Kind, resolve_roles

KINDS = {"csv": "CSV", "parquet": "Parquet", "orc": "ORC", "sqlscript": "SQL script"}
"""What people call these kinds."""

_LONGEST_HEADER = 1 << 24
OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open}
"""How Python opens a file of that suffix, as Spark would; `open` for all others."""

UNKNOWN_TO_PYTHON = (".lz4", ".snappy", ".zst", ".deflate", ".xz")
"""Suffixes of files that Spark may open, and Python does not."""


def look_at(name: str, conf: FileTable, *, id_type: str, needs_label: bool = False) -> None:
    """Raise TableError when no file lies at the path of the table ``name``, or its columns are not those declared.

    ``id_type`` and ``needs_label`` are those of ``roles.resolve_roles``, whose refusals these are.
    """
    if scheme(conf.path) not in ("", "file"):
        return
    path = str(local_path(conf.path) or conf.path)
    where = f"Table {name!r} ({conf.path})"
    if "{" in path or "\\" in path:
        return
    try:
        file = _first_file(where, path, conf)
        columns = None if file is None else _columns(where, file, conf)
    except OSError as error:
        remedy = "Correct `path`, or let this user read it."
        raise TableError(f"{where}: it cannot be read: {error.strerror or error}.", remedy=remedy) from None
    if columns is not None:
        resolve_roles(where, columns, conf, id_type=id_type, needs_label=needs_label)


def _first_file(where: str, path: str, conf: FileTable) -> Path | None:
    """The first file of the table; None where its directory may be partitioned, which adds columns."""
    found = sorted(glob(path)) if has_magic(path) and not os.path.exists(path) else [path]
    if not found or not os.path.exists(found[0]):
        nearby = _siblings(Path(path))
        raise TableError(f"{where}: there is no such file.", remedy=f"Correct `path`; {nearby}.")
    for place in found:
        for file in _files(Path(place)):
            return None if any("=" in part for part in file.relative_to(place).parts[:-1]) else file
    raise TableError(f"{where}: there is no {conf.kind} file in it.", remedy="Correct `path` or `kind`.")


def _siblings(path: Path) -> str:
    """What the directory that comes nearest to ``path`` says about it."""
    directory = path.parent
    while has_magic(str(directory)) and directory != directory.parent:
        directory = directory.parent
    if not directory.is_dir():
        return f"there is no directory {directory} either"
    return "a glob must match a file" if has_magic(path.name) else f"the directory {directory} is there"


def _files(place: Path) -> Iterator[Path]:
    """Files that Spark would read: those whose names do not begin with a dot or an underscore."""
    if not place.is_dir():
        yield place
        return
    for entry in sorted(place.iterdir()):
        if not entry.name.startswith((".", "_")):
            yield from _files(entry)


def _columns(where: str, file: Path, conf: FileTable) -> tuple[Column, ...] | None:
    if isinstance(conf, SqlScriptTable):
        return None
    if isinstance(conf, CsvTable):
        return None if file.suffix in UNKNOWN_TO_PYTHON else columns_of(where, conf, _first_line(where, file, conf))
    try:
        schema = pq.read_schema(file) if conf.kind == "parquet" else orc.ORCFile(file).schema
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = str(error).splitlines()[0].rstrip(".")
        remedy = "Correct `path` or `kind`, or write the file again."
        raise TableError(f"{where}: {file} is not readable as {KINDS[conf.kind]}: {reason}.", remedy=remedy) from None
    return tuple(Column(place, field.name, str(field.type), kind_of(field.type)) for place, field in enumerate(schema))


def _first_line(where: str, file: Path, conf: CsvTable) -> list[str]:
    """Fields of the first line that is not empty, as the load step would read them."""
    encoding = "utf-8-sig" if conf.encoding == "utf-8" else conf.encoding
    opened = OPENERS.get(file.suffix, open)
    text: IO[str]
    with opened(file, "rt", encoding=encoding, errors="replace", newline="") as text:
        try:
            line = next((line for line in iter(lambda: text.readline(_LONGEST_HEADER), "") if line.strip()), None)
        except (EOFError, UnicodeError):
            line = "\ufffd"
    if line is None:
        raise TableError(f"{where}: it is empty, without even a header line.", remedy="Write the file again.")
    try:
        return next(csv.reader([line.rstrip("\r\n")], delimiter=conf.delimiter))
    except (csv.Error, ValueError):
        return ["\ufffd"]


def kind_of(data_type: pa.DataType) -> Kind:
    """What a column of this Arrow type can be used for; as Spark would read it."""
    types = pa.types
    if types.is_dictionary(data_type):
        return kind_of(data_type.value_type)
    if types.is_decimal(data_type):
        return Kind.INTEGER if data_type.scale == 0 else Kind.DECIMAL
    kinds: list[tuple[Callable[[pa.DataType], bool], Kind]] = [
        (types.is_integer, Kind.INTEGER),
        (types.is_floating, Kind.REAL),
        (types.is_boolean, Kind.BOOLEAN),
        (types.is_date, Kind.DATE),
        (types.is_timestamp, Kind.TIMESTAMP),
        (types.is_string, Kind.TEXT),
        (types.is_large_string, Kind.TEXT),
        (types.is_string_view, Kind.TEXT),
    ]
    return next((kind for fits, kind in kinds if fits(data_type)), Kind.OTHER)
