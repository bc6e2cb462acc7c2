"""Tables that come into ClickHouse slice by slice: a task writes a slice as it streams in, and both sides are compared.

Of the values of every slice, as the source gave them, the task adds up the hashes (`columns.hashes`), and the server
those of what it stored. Per column that shows any value lost, repeated, changed or put into another column, and NULL in
place of ''; sums over whole rows show values that changed rows. A record of a slice's sums is kept first, then the
slice gets its name: a slice that has both is never read again.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from fedspark.errors import FedsparkError, StoreError, TableError
from fedspark.exchange.store import StoreRef, Unequal
from fedspark.tables.clickhouse.columns import Target, encoded, fitted, hash_sql, hashes, int_hash
from fedspark.tables.clickhouse.landing import Landing
from fedspark.tables.clickhouse.server import Lost
from fedspark.tables.clickhouse.sink import execute, fill_part
from fedspark.tables.clickhouse.sql import quoted
from fedspark.tables.problems import EXAMPLES, Problems, examples
from fedspark.tables.sink import carried

RESULT = "slice int, rows bigint, refused string, error string, lost boolean"
_GROUP = 50
_BITS = 1 << 64


@dataclass
class Sums:
    """Of some rows: their number, of every column its nulls and the sum of its hashes modulo 2^64, and of every group
    of columns that of its rows' hashes.
    """

    rows: int
    nulls: list[int]
    columns: list[int]
    groups: list[int]

    @staticmethod
    def zero(columns: int) -> Sums:
        return Sums(0, [0] * columns, [0] * columns, [0] * len(_groups(columns)))

    def add(self, values: Sequence[pa.Array]) -> None:
        """Add rows, in arrays of the targets' Arrow types."""
        self.rows += len(values[0]) if values else 0
        first = None
        for number, group in enumerate(_groups(len(values))):
            row = None
            for place, column in enumerate(group):
                hashed = hashes(values[column])
                first = hashed if first is None else first
                self.nulls[column] += values[column].null_count
                self.columns[column] = (self.columns[column] + int(hashed.sum(dtype=np.uint64))) % _BITS
                weighted = hashed * np.uint64(2 * place + 3)
                row = first + weighted if row is None else row + weighted
            if row is not None:
                self.groups[number] = (self.groups[number] + int(int_hash(row).sum(dtype=np.uint64))) % _BITS

    def merge(self, other: Sums) -> None:
        """Add the rows of another one."""
        self.rows += other.rows
        self.nulls = [one + two for one, two in zip(self.nulls, other.nulls, strict=True)]
        self.columns = [(one + two) % _BITS for one, two in zip(self.columns, other.columns, strict=True)]
        self.groups = [(one + two) % _BITS for one, two in zip(self.groups, other.groups, strict=True)]

    def to_json(self) -> dict[str, Any]:
        return {"rows": self.rows, "nulls": self.nulls, "columns": self.columns, "groups": self.groups}

    def differences(self, stored: Sums, targets: Sequence[Target]) -> list[str]:
        """What is stored otherwise, in words."""
        found = [] if self.rows == stored.rows else [f"{self.rows:,} rows were read and {stored.rows:,} are there"]
        for place, target in enumerate(targets):
            read = (self.nulls[place], self.columns[place])
            there = (stored.nulls[place], stored.columns[place])
            if read != there:
                found.append(f"column {target.name!r} has other values")
        if not found and self.groups != stored.groups:
            found.append("values of its columns are in other rows")
        return found


def stored_sums(client: Any, landing: Landing, table: str) -> Sums:
    """The sums of a table's rows, as the server computes them."""
    targets, sums = landing.targets, Sums.zero(len(landing.targets))
    for number, group in enumerate(_groups(len(targets))):
        terms = [hash_sql(targets[0]), *(f"{2 * place + 3} * {hash_sql(targets[c])}" for place, c in enumerate(group))]
        asked = [f"sum(intHash64({' + '.join(terms)}))"]
        asked += [f"sum({hash_sql(targets[column])})" for column in group]
        asked += [f"sum(isNull({quoted(targets[column].name)}))" for column in group]
        (answer,) = execute(client, landing, f"SELECT count(), {', '.join(asked)} FROM {landing.sql(table)}")
        sums.rows, sums.groups[number] = int(answer[0]), int(answer[1])
        for place, column in enumerate(group):
            sums.columns[column] = int(answer[2 + place])
            sums.nulls[column] = int(answer[2 + len(group) + place])
    return sums


@dataclass
class Refused:
    """Values that cannot be stored: of every column how many, and three of them; and lines that are malformed."""

    lines: int = 0
    columns: dict[int, tuple[int, list[str]]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.lines or self.columns)

    def add(self, column: int, values: Sequence[Any], count: int) -> None:
        known, shown = self.columns.get(column, (0, []))
        texts = ["" if value is None else _text(value) for value in values]
        self.columns[column] = (known + count, [*shown, *texts][:EXAMPLES])

    def merge(self, other: Refused) -> None:
        self.lines += other.lines
        for column, (count, shown) in other.columns.items():
            self.add(column, shown, count)

    def problems(self, where: str, targets: Sequence[Target], order: Sequence[str]) -> Problems:
        """One problem per column."""
        problems = Problems(where)
        if self.lines:
            lines = f"{self.lines:,} malformed line{'' if self.lines == 1 else 's'}"
            problems.add(lines, "Correct them, or set `on_bad_row: skip`.")
        for place, (count, shown) in sorted(self.columns.items()):
            target = targets[place]
            rows = f"column {target.name!r}: {count:,} row{'' if count == 1 else 's'}"
            if target.name in order and not any(shown):
                remedy = "Name other columns in `order_by`, or none: `order_by: []`."
                problems.add(f"{rows} with no value, and it orders the table", remedy)
            elif not any(shown) and not target.nullable:
                problems.add(f"{rows} with no value, and it is {target.type} there", "Make it Nullable there.")
            else:
                seen = examples([text for text in shown if text])
                remedy = f"Add {target.name!r} to `as_text` of the import, which keeps it as it is, or correct them."
                problems.add(f"{rows} of type {target.source} that {target.type} cannot hold{seen}", remedy)
        return problems


@dataclass(frozen=True)
class Intake:
    """Writes slices; called by Spark for the rows of one partition. ``slices`` are its numbers, by partition.

    Rows have v0, v1, ... in the order of the landing's targets, and ``malformed`` where lines are checked. Records of
    slices go to ``folder`` of the store ``ref``.
    """

    landing: Landing
    ref: StoreRef
    folder: str
    slices: tuple[int, ...]

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """One row of `RESULT`."""
        from pyspark import TaskContext

        context = TaskContext.get()
        assert context is not None
        number = self.slices[context.partitionId()]
        rows, refused, error, lost = 0, None, None, False
        try:
            rows, found = self.slice(number, batches)
            refused = json.dumps([found.lines, list(found.columns.items())]) if found else None
        except FedsparkError as caught:  # as data: Spark would bury the text in a stack trace
            error, lost = carried(caught), isinstance(caught, Lost)
        values = zip(RESULT.split(", "), (number, rows, refused, error, lost), strict=True)
        types = {"int": pa.int32(), "bigint": pa.int64(), "string": pa.string(), "boolean": pa.bool_()}
        arrays = {name: pa.array([value], types[kind]) for (name, kind), value in
                  ((column.split(), value) for column, value in values)}  # fmt: skip
        yield pa.RecordBatch.from_pydict(arrays)

    def slice(self, number: int, batches: Iterator[pa.RecordBatch]) -> tuple[int, Refused]:
        """Write a slice, or find out what keeps it from being written; its rows."""
        sums, refused = Sums.zero(len(self.landing.targets)), Refused()

        def fill(client: Any, scratch: str) -> int:
            with self.landing.server.client(self.landing.where) as writer:
                insert(writer, self.landing, scratch, self._fitted(batches, sums, refused))
            stored = stored_sums(client, self.landing, scratch)
            if differences := sums.differences(stored, self.landing.targets):
                raise StoreError(
                    f"{self.landing.where}: slice {number} is not stored as it was read: {'; '.join(differences)}.",
                    remedy="Run it again; if that does not help, see the server's log.",
                )
            self._keep(number, sums)
            return sums.rows

        with self.landing.server.client(self.landing.where) as client, contextlib.suppress(_Unfit):
            fill_part(client, self.landing, number, fill)
        return sums.rows, refused

    def _fitted(
        self, batches: Iterator[pa.RecordBatch], sums: Sums, refused: Refused
    ) -> Iterator[list[pa.Array]]:  # fmt: skip
        for batch in batches:
            if "malformed" in batch.schema.names:
                refused.lines += batch.column("malformed").true_count
            fitting = []
            for place, target in enumerate(self.landing.targets):
                values = batch.column(place)
                fit, wrong = fitted(values, target)
                fitting.append(fit)
                if wrong is not None and (count := wrong.true_count):
                    refused.add(place, values.filter(wrong)[:EXAMPLES].to_pylist(), count)
            if not refused:
                sums.add(fitting)
                yield fitting
        if refused:
            raise _Unfit("some values cannot be stored")

    def _keep(self, number: int, sums: Sums) -> None:
        record = json.dumps(sums.to_json(), sort_keys=True).encode()
        try:
            self.ref.open().keep(f"{self.folder}/{number}.json", record)
        except Unequal:
            raise TableError(
                f"{self.landing.where}: slice {number} was read before with other rows: the source changed.",
                remedy="Begin again: --restart.",
            ) from None


class _Unfit(FedsparkError):
    pass


def insert(client: Any, landing: Landing, table: str, batches: Iterator[list[pa.Array]]) -> None:
    """Insert batches of arrays, one per target, as they come; the driver would make a Python object of every value."""
    names = [quoted(target.name) for target in landing.targets]
    with landing.server.explained(landing.where):
        client.establish_connection(None)
        client.connection.send_query(f"INSERT INTO {landing.sql(table)} ({', '.join(names)}) VALUES")
        client.connection.send_external_tables(None)
        client.receive_sample_block()
    for batch in batches:
        if len(batch[0]):  # an empty block would be the end
            with landing.server.explained(landing.where):
                _send(client.connection, landing.targets, batch)
                client.receive_profile_events()
    with landing.server.explained(landing.where):
        _send(client.connection, (), ())
        client.receive_profile_events()
        client.receive_end_of_insert_query()


def _send(connection: Any, targets: Sequence[Target], batch: Sequence[pa.Array]) -> None:
    """A block of the native protocol, as the driver's connection and its stream of blocks send one."""
    from clickhouse_driver import defines
    from clickhouse_driver.block import BlockInfo
    from clickhouse_driver.protocol import ClientPacketTypes
    from clickhouse_driver.varint import write_varint
    from clickhouse_driver.writer import write_binary_str, write_binary_uint8

    revision = connection.server_info.used_revision
    write_varint(ClientPacketTypes.DATA, connection.fout)
    if revision >= defines.DBMS_MIN_REVISION_WITH_TEMPORARY_TABLES:
        write_binary_str("", connection.fout)
    stream = connection.block_out
    if revision >= defines.DBMS_MIN_REVISION_WITH_BLOCK_INFO:
        BlockInfo().write(stream.fout)
    write_varint(len(targets), stream.fout)
    write_varint(len(batch[0]) if batch else 0, stream.fout)
    for target, values in zip(targets, batch, strict=True):
        write_binary_str(target.name, stream.fout)
        write_binary_str(target.sql_type, stream.fout)
        if revision >= defines.DBMS_MIN_REVISION_WITH_CUSTOM_SERIALIZATION:
            write_binary_uint8(0, stream.fout)
        for piece in encoded(values, target):
            stream.fout.write(piece)
    stream.finalize()


def _groups(columns: int) -> list[range]:
    return [range(start, min(start + _GROUP, columns)) for start in range(0, columns, _GROUP)]


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
