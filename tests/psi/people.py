"""Small staged tables and the two-line way to intersect them in tests."""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa

from fedspark.buckets import BucketFile
from fedspark.conf import PsiOptions
from fedspark.exchange.store import StoreRef
from fedspark.party import Role
from fedspark.psi.align import Alignment, Source
from fedspark.run import Run
from fedspark.steps.psi import PROTOCOLS
from fedspark.tables.chunks import Chunks, ChunkWriter, chunk_schema
from fedspark.tables.shapes import shapes_of
from tests.federation import Federation


def names(first: int, last: int) -> list[str]:
    """Ids of the people from ``first`` to below ``last``."""
    return [f"person-{number}" for number in range(first, last)]


def staged(ids: Sequence[str], *, label: bool = False, columns: Mapping[str, Any] | None = None) -> pa.Table:
    """A table as staging leaves it: key, id.pid, label (guest), x.number; the number follows from the id."""
    table = {"key": pa.array(ids, pa.string()), "id.pid": pa.array(ids, pa.string())}
    if label:
        table["label"] = pa.array([float(number_of(key) % 2) for key in ids], pa.float64())
    table["x.number"] = pa.array([float(number_of(key)) for key in ids], pa.float64())
    return pa.table({**table, **(columns or {})})


def number_of(key: str) -> int:
    """A number that everybody can compute from an id."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big")


def source(table: pa.Table, chunks: Chunks | None = None) -> Source:
    """The table as what a party brings, or the ``chunks`` that hold its rows."""
    snapshot = hashlib.sha256("|".join(sorted(table["key"].to_pylist())).encode()).hexdigest()
    return Source("people", table.num_rows, table.num_columns, snapshot, chunks or table, shapes_of(table["key"]))


def chunks_of(table: pa.Table, folder: Path, rows: int) -> Chunks:
    """The table as staging leaves it: chunks of so many rows."""
    ref = StoreRef(folder.as_uri())
    writer = ChunkWriter(ref.open(), "people", chunk_schema(table.column_names), rows)
    writer.write(table)
    return Chunks(ref, tuple((name, count) for name, count, _ in writer.close()), tuple(table.column_names))


def options(bucket_rows: int = 65536, protocol: str = "rsa") -> PsiOptions:
    return PsiOptions(table="people", bucket_rows=bucket_rows, protocol=protocol)


def module_of(protocol: str) -> ModuleType:
    return importlib.import_module(PROTOCOLS[protocol])


def role_of(run: Run, protocol: str = "rsa") -> Callable[..., Alignment]:
    module = module_of(protocol)
    return module.guest if run.role is Role.GUEST else module.host


def intersect(
    federation: Federation, tables: Mapping[str, pa.Table], bucket_rows: int = 65536, protocol: str = "rsa"
) -> dict[str, Alignment]:
    """Play the protocol with these tables by party name."""

    def half(name: str) -> Callable[[Run], Alignment]:
        return lambda run: role_of(run, protocol)(run, options(bucket_rows, protocol), source(tables[name]))

    return federation.play("psi", {name: half(name) for name in tables})


def aligned(federation: Federation, name: str, alignment: Alignment) -> pa.Table:
    """All aligned rows of one party, part after part."""
    workspace = federation.run(name, "psi").workspace
    files = [BucketFile(workspace.read(alignment.path(part))) for part in range(alignment.parts)]
    assert all(file.buckets == alignment.buckets_per_part for file in files)
    return pa.concat_tables([file.read_all() for file in files])


def assert_intersection(
    federation: Federation, results: Mapping[str, Alignment], tables: Mapping[str, pa.Table]
) -> None:
    """Every party kept exactly the common people, in one order, each with its own columns."""
    common = set.intersection(*(set(table["key"].to_pylist()) for table in tables.values()))
    keys = {name: aligned(federation, name, results[name]) for name in tables}
    first = next(iter(keys.values()))
    for name, rows in keys.items():
        assert set(rows["key"].to_pylist()) == common
        assert rows["key"].to_pylist() == first["key"].to_pylist()
        assert rows["digest"].to_pylist() == first["digest"].to_pylist() == sorted(first["digest"].to_pylist())
        assert rows.column_names == ["bucket", "digest", *tables[name].column_names]
        assert np.array_equal(rows["x.number"], [float(number_of(key)) for key in rows["key"].to_pylist()])
        assert (results[name].rows, results[name].rows_mine) == (len(common), tables[name].num_rows)
        assert results[name].rows_by_party == {party: table.num_rows for party, table in tables.items()}


def tags_sent(federation: Federation) -> set[str]:
    """The messages of this step that lie in the exchange, by tag."""
    return {message_tag(name) for name in federation.objects(federation.exchange) if "/psi/" in name}


def message_tag(name: str) -> str:
    """The tag of the message that an object of the exchange belongs to."""
    return re.split(r"/psi/[0-9]{4}/", name)[1].split(".")[0]
