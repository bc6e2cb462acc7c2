"""Where the rows of a source end: one task's rows become chunks, and only names and aggregates go back to the driver.

Executors import this file: no Spark in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

import fedspark.errors
from fedspark.crypto.hashing import split_fraction
from fedspark.errors import FedsparkError, TableError
from fedspark.exchange.store import StoreRef
from fedspark.tables.chunks import CHUNK_BYTES, CHUNK_ROWS, ChunkWriter, chunk_schema
from fedspark.tables.distinct import KeySample
from fedspark.tables.metrics import Metrics, spread, text_hash
from fedspark.tables.normal_form import normalise_text
from fedspark.tables.shapes import IdShapes, shapes_of

RESULT = "result string, error string"
_SAMPLE = "fedspark-sample-v1"


@dataclass(frozen=True)
class Sink:
    """Writes rows to chunks in ``folder`` of the store ``ref``; called by Spark for the rows of one task, in batches.

    A batch has ``key`` (with ``raw_key`` as read, for `normalise_text`); ``i0``, ``i1``, ..., the ``ids`` columns as
    read, unless the only one is the key as it came (not ``ids_come``); ``y``, if there is a label; ``v0``, ``v1``, ...,
    the features as numbers, and after them ``weight`` and ``time``, if there are any (the time is looked at, not
    staged); ``malformed`` and ``n`` (see ``layout``) where the source has them. ``where`` begins messages. ``columns``
    are those of `Chunks`. ``id_kind`` is what the id column holds at the source (see `IdShapes`). ``skip_malformed``:
    malformed rows are counted and left out. ``sample``: so are rows whose key's hash is not below it.
    """

    ref: StoreRef
    folder: str
    where: str
    columns: tuple[str, ...]
    ids: int
    features: int
    label: bool
    raw_key: bool
    ids_come: bool
    chunk_rows: int = CHUNK_ROWS
    chunk_bytes: int = CHUNK_BYTES
    id_kind: str = "text"
    skip_malformed: bool = False
    weight: bool = False
    time: bool = False
    sample: float | None = None

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """One row of `RESULT`: what `Written.of` reads, or the error that the driver must raise."""
        result = error = None
        try:
            result = self._write(batches)
        except FedsparkError as caught:  # as data: Spark would retry the task and bury the text in a stack trace
            error = carried(caught)
        yield pa.RecordBatch.from_pydict({"result": pa.array([result], "string"), "error": pa.array([error], "string")})

    def _write(self, batches: Iterator[pa.RecordBatch]) -> str:
        schema = chunk_schema(self.columns)
        writer = ChunkWriter(self.ref.open(), self.folder, schema, self.chunk_rows, self.chunk_bytes)
        metrics, keys = Metrics.of(self._measured), KeySample()
        shapes, due = IdShapes(self.id_kind, {}), 0
        for raw in batches:
            batch = self._counted(raw, metrics)
            if not batch.num_rows:
                continue
            staged = self._staged(batch, metrics, keys)
            if metrics.rows > due:  # one batch of every chunk is enough to know what ids look like
                shapes = shapes.merge(shapes_of(staged[0], self.id_kind))
                due = metrics.rows + self.chunk_rows
            writer.write(pa.Table.from_arrays(staged, schema=schema))
        return json.dumps([writer.close(), metrics.to_json(), shapes.to_json(), keys.to_json()])

    def _counted(self, batch: pa.RecordBatch, metrics: Metrics) -> pa.RecordBatch:
        """The batch without the rows to be skipped, after all were counted."""
        stands_for = _stands_for(batch)
        metrics.read += pc.sum(stands_for).as_py() or 0
        if "malformed" not in batch.schema.names or not batch.column("malformed").true_count:
            return batch
        malformed = batch.column("malformed")
        metrics.malformed += pc.sum(stands_for.filter(malformed)).as_py()
        return batch.filter(pc.invert(malformed)) if self.skip_malformed else batch

    def _staged(self, batch: pa.RecordBatch, metrics: Metrics, keys: KeySample) -> list[pa.Array]:
        """The staged columns of a batch, its values and keys counted."""
        key, ids = self._ids(batch)
        if self.sample is not None:
            inside = sampled(key, self.sample)
            metrics.unsampled += pc.sum(_stands_for(batch).filter(pc.invert(inside))).as_py() or 0
            batch, key, ids = batch.filter(inside), key.filter(inside), [column.filter(inside) for column in ids]
        label = _numbers(batch.column("y"))[0] if self.label else None
        measured = []
        for k in range(self._measured):
            values, there = _numbers(batch.column(f"v{k}"))
            metrics.add_feature(k, there)
            measured.append(values)
        numbers = [*measured[self.features : self.features + self.weight], *measured[: self.features]]
        hashes = text_hash(key)
        metrics.add_rows(key, ids, label, numbers, hashes)
        keys.add(spread(hashes))
        return [key, *ids, *map(pa.array, numbers if label is None else [label, *numbers])]

    @property
    def _measured(self) -> int:
        return self.features + self.weight + self.time

    def _ids(self, batch: pa.RecordBatch) -> tuple[pa.Array, list[pa.Array]]:
        """The keys, and of every id column the values that are not the key."""
        raw = batch.column("key").cast(pa.string())
        try:
            key = normalise_text(raw) if self.raw_key else raw
        except pa.ArrowInvalid as error:
            remedy = "Write those ids again, as UTF-8."
            raise TableError(f"{self.where}: its ids are not text in UTF-8: {error}.", remedy=remedy) from error
        if self.ids_come:
            columns = [batch.column(f"i{k}").cast(pa.string()) for k in range(self.ids)]
        else:
            columns = [raw] * self.ids
        return key, [_unlike(column, key) for column in columns]


@dataclass(frozen=True)
class Written:
    """What all tasks together wrote: (name, rows, bytes) of every chunk, the metrics of all rows, a sample of their
    keys, and the shapes of some ids of every task.
    """

    files: tuple[tuple[str, int, int], ...]
    metrics: Metrics
    keys: KeySample
    shapes: IdShapes

    @staticmethod
    def of(results: list[tuple[str | None, str | None]], features: int, id_kind: str = "text") -> Written:
        """From the rows that the tasks sent; raises the first error among them."""
        for _, error in results:
            if error is not None:
                raise uncarried(error)
        pieces = [json.loads(result) for result, _ in results if result is not None]
        files = tuple((name, rows, size) for of_task, *_ in pieces for name, rows, size in of_task)
        metrics = Metrics.total((Metrics(**metrics) for _, metrics, *_ in pieces), features)
        keys = KeySample()
        for *_, sample in pieces:
            keys.merge(KeySample.from_json(sample))
        shapes = (IdShapes.from_json(shapes) for _, _, shapes, _ in pieces)
        return Written(files, metrics, keys, reduce(IdShapes.merge, shapes, IdShapes(id_kind, {})))


def sampled(key: pa.StringArray, share: float) -> pa.BooleanArray:
    """Which rows belong to a sample of that share of all ids; a row without an id does, so that its fault is found.

    Nothing but the id decides, so that parties that load samples of one share keep the same people.
    """
    fractions = split_fraction(key.fill_null("").to_pylist(), _SAMPLE)
    return pc.or_(pa.array(fractions < share), key.is_null())


def carried(error: FedsparkError) -> str:
    """What the driver needs to raise it again. Storage has classes of its own: they arrive as their nearest base."""
    kind = next(base for base in type(error).__mro__ if base.__module__ == fedspark.errors.__name__)
    return json.dumps([kind.__name__, error.message, error.remedy])


def uncarried(text: str) -> FedsparkError:
    """The error that ``carried`` wrote."""
    name, message, remedy = json.loads(text)
    error: FedsparkError = getattr(fedspark.errors, name)(message, remedy=remedy)
    return error


def _stands_for(batch: pa.RecordBatch) -> pa.Array:
    """How many rows of the source each row of the batch stands for."""
    return batch.column("n") if "n" in batch.schema.names else pa.repeat(1, batch.num_rows)


def _unlike(column: pa.Array, key: pa.Array) -> pa.Array:
    """The values of ``column`` that are not the key of their row; null elsewhere."""
    if column is key:
        return pa.nulls(len(key), pa.string())
    return pc.if_else(pc.equal(column, key), pa.scalar(None, pa.string()), column)


def _numbers(column: pa.Array) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any]]:
    """All values with NaN for null and 0.0 for -0.0, and those among them that are not null."""
    if not column.null_count:
        values = column.to_numpy() + 0.0
        return values, values
    values = column.fill_null(float("nan")).to_numpy() + 0.0
    return values, values[column.is_valid().to_numpy(zero_copy_only=False)]
