"""Directories of Hive tables on whatever file system they are: which of them are ours, and what may be deleted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_OWN = re.compile(r"fedspark-[0-9a-f]{24}-[0-9a-f]{8}")


def own_name(tag: str, attempt: str = "") -> str:
    """The name of the directory that an attempt at the write ``tag`` makes; without attempt, how all of them begin."""
    return f"fedspark-{tag}-{attempt}"


def _is_own(name: str) -> bool:
    """Whether a write of ours made the directory. A person may have one whose name begins like ours."""
    return _OWN.fullmatch(name) is not None


def _root(location: str) -> str:
    """Where directories of writes to a table lie: where the table does, unless that is such a directory."""
    parent, _, last = location.rstrip("/").rpartition("/")
    return parent if _is_own(last) else location.rstrip("/")


def folder(location: str, partition: Sequence[tuple[str, str]]) -> str:
    """Where the directories of writes to a table in ``location``, or to a partition of it, lie."""
    return "/".join([_root(location), *(_escaped(name, value) for name, value in partition)])


def _escaped(name: str, value: str) -> str:
    """``dt=2026-11-20``, without characters that mean something in a path."""
    return "=".join(re.sub(r"[^\w.-]", lambda found: f"%{ord(found[0]):02X}", text) for text in (name, value))


def exists(session: SparkSession, location: str) -> bool:
    """Whether there is such a directory."""
    path, files = _file(session, location)
    return bool(files.exists(path))


def empty(session: SparkSession, location: str, *, managed: bool) -> None:
    """Delete the files that lay in a place before, if they are ours or Hive's own."""
    path, files = _file(session, location)
    if _is_own(path.getName()):
        files.delete(path, True)
    elif managed:
        for status in files.listStatus(path) if files.exists(path) else ():
            name = status.getPath().getName()
            if not _is_own(name) and not (status.isDirectory() and "=" in name):
                files.delete(status.getPath(), True)


def forget(session: SparkSession, folder: str, tag: str, kept: str) -> None:
    """Delete directories that attempts at the write ``tag`` left which did not come to their end."""
    path, files = _file(session, folder)
    for status in files.listStatus(path) if files.exists(path) else ():
        name = status.getPath().getName()
        if _is_own(name) and name.startswith(own_name(tag)) and not kept.endswith(f"/{name}"):
            files.delete(status.getPath(), True)


def _file(session: SparkSession, location: str) -> tuple[Any, Any]:
    java: Any = session._jvm
    path = java.org.apache.hadoop.fs.Path(location)
    own: Any = session._jsparkSession
    return path, path.getFileSystem(own.sessionState().newHadoopConf())
