"""A writer whose server is this process: it keeps the contract of `fedspark.tables.sinks.Writer`, and can fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from fedspark.errors import StoreError, TableError


@dataclass
class Server:
    """Tables by name: the write that they are of, and their rows. ``staged`` are parts by write. Before and after
    everything that it does it calls ``interrupt``.
    """

    tables: dict[str, tuple[str, list[dict[str, Any]]]] = field(default_factory=dict)
    staged: dict[str, dict[int, list[dict[str, Any]]]] = field(default_factory=dict)
    interrupt: Callable[[str], None] = lambda moment: None
    calls: list[str] = field(default_factory=list)


server = Server()


@dataclass(frozen=True)
class Target:
    """One write."""

    table: str
    schema: pa.Schema
    tag: str
    run: str
    if_exists: str

    @property
    def write(self) -> str:
        return f"{self.table} {self.tag}"


def target(conf: Any, directory: Path, schema: pa.Schema, tag: str, run: str) -> Target:
    return Target(conf.table, schema, tag, run, conf.if_exists)


def check(target: Target) -> None:
    _did(target, "check")
    _refuse(target)


def begin(target: Target) -> None:
    _did(target, "begin")
    _refuse(target)
    server.staged.setdefault(target.write, {})
    _did(target, "begun")


def write_part(target: Target, rows: pa.Table, part: int) -> int:
    _did(target, f"part {part}")
    assert rows.schema.equals(target.schema)
    if target.write not in server.staged:
        raise StoreError("The staging table is not there.", remedy="Begin.")
    server.staged[target.write][part] = rows.to_pylist()
    _did(target, f"written {part}")
    return int(rows.num_rows)


def finish(target: Target, rows: Sequence[int]) -> None:
    _did(target, "finish")
    if server.tables.get(target.table, ("",))[0] == target.write:
        return
    parts = server.staged.get(target.write, {})
    if [len(parts.get(number, ())) for number in range(len(rows))] != list(rows):
        raise StoreError("Parts are not there.", remedy="Write them.")
    _refuse(target)
    server.tables[target.table] = target.write, [row for number in sorted(parts) for row in parts[number]]
    _did(target, "finished")


def clear(target: Target) -> None:
    _did(target, "clear")
    server.staged.pop(target.write, None)
    _did(target, "cleared")


def _refuse(target: Target) -> None:
    there = server.tables.get(target.table)
    if there is not None and there[0] != target.write and target.if_exists == "refuse":
        raise TableError(f"Table {target.table} is there already.", remedy="Name another.")


def _did(target: Target, moment: str) -> None:
    server.calls.append(f"{target.table}: {moment}")
    server.interrupt(f"{target.table}: {moment}")
