"""Staging: a source is read once, checked, and written as the chunks that all later steps read instead of it.

One job reads; the sink at its end (`sink.Sink`) brings ids to their normal form, writes, and gathers the metrics that
the checks need. A table that does not pass is deleted again, and one TableError says everything that is wrong with it.
Repeated keys alone are left to whoever sorts the rows by key, and finds them on the way: looking for them here would
cost more than all the rest.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fedspark.conf.tables import ColumnsConf
from fedspark.errors import StoreError
from fedspark.exchange.store import StoreRef
from fedspark.tables.arrival import arriving, by_spark
from fedspark.tables.bad_lines import bad_lines
from fedspark.tables.card import ColumnCard, TableCard
from fedspark.tables.checks import find_bad_rows, find_duplicates, find_nothing_read, find_nothing_to_learn, unread
from fedspark.tables.chunks import CHUNK_BYTES, CHUNK_ROWS, Chunks
from fedspark.tables.direct import UNPLAIN
from fedspark.tables.layout import Layout
from fedspark.tables.metrics import Metrics
from fedspark.tables.problems import Problems
from fedspark.tables.registry import open_source
from fedspark.tables.roles import Kind, resolve_roles
from fedspark.tables.sink import RESULT, Sink, Written
from fedspark.tables.source import SPARK_ERRORS, Source, explain_task, own_session

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession

_LOG = logging.getLogger(__name__)
_BATCH = "spark.sql.execution.arrow.maxRecordsPerBatch"
_BATCH_ROWS = 100_000
_BATCH_BYTES = 32 << 20
_PAUSES = (1.0, 5.0)


def stage(
    spark: SparkSession,
    name: str,
    conf: ColumnsConf,
    directory: Path,
    *,
    id_type: Literal["string", "integer"],
    ref: StoreRef,
    folder: str,
    needs_label: bool = False,
    needs_features: bool = True,
    training: bool = True,
    sample: float | None = None,
    chunk_rows: int = CHUNK_ROWS,
    chunk_bytes: int = CHUNK_BYTES,
) -> tuple[TableCard, Chunks]:
    """Stage the table ``name`` of a party file in ``directory``: its card, and its rows as chunks.

    The chunks lie under ``folder``, where nothing is yet, of the store ``ref``, which driver and executors must share.
    Their columns are those of `Chunks`, label (0.0 or 1.0), weight (0.0 or more), and features in the order of the
    card. Every row has a key; it occurs once where the table says ``duplicates: drop``, and else is not looked for.

    ``needs_label`` requires a label of both classes; ``training`` refuses constant features, which a table to be scored
    may have. ``sample`` is the share of all ids to stage, chosen by a hash of the key. An empty table passes, and its
    card says so. Raises TableError with all that is wrong (counts, masked ids, remedies), StoreError when reading or
    writing itself fails; then nothing is left in ``folder``.
    """
    started = time.monotonic()
    session = own_session(spark)
    source = open_source(session, name, conf, directory)
    roles = resolve_roles(
        source.where, source.columns, conf, id_type=id_type, needs_label=needs_label, needs_features=needs_features
    )
    layout = Layout(source, roles, id_type, drop=conf.duplicates == "drop")
    store = ref.open()
    if store.list(folder):
        raise StoreError(f"There are objects in {folder} of {store.url} already.", remedy="Stage to a new folder.")
    sink = _sink(layout, ref, folder, sample, chunk_rows, chunk_bytes)
    try:
        written = _write(layout, sink)
        if source.unaltered is not None:
            source.unaltered()
        if source.settled is not None:
            source.settled(written.metrics.read)
        _check(layout, written.metrics, one_class=needs_label, constant=training)
        _delete(ref, folder, keep=[file for file, _, _ in written.files])
    except BaseException as error:
        with contextlib.suppress(StoreError):
            _delete(ref, folder)
        if isinstance(error, SPARK_ERRORS):
            raise explain_task(error, source.where, source.kind) from error
        raise
    chunks = Chunks(ref, tuple((file, rows) for file, rows, _ in written.files), sink.columns)
    size = sum(size for _, _, size in written.files)
    return _card(name, layout, written, size, time.monotonic() - started, sample), chunks


def _sink(layout: Layout, ref: StoreRef, folder: str, sample: float | None, chunk_rows: int, chunk_bytes: int) -> Sink:
    return Sink(
        ref,
        folder,
        layout.source.where,
        layout.columns(),
        ids=len(layout.roles.ids),
        features=len(layout.roles.features),
        label=layout.roles.label is not None,
        weight=layout.roles.weight is not None,
        time=layout.roles.time is not None,
        raw_key=layout.raw_key,
        ids_come=layout.ids_come,
        chunk_rows=chunk_rows,
        chunk_bytes=chunk_bytes,
        skip_malformed=layout.source.skips_lines,
        sample=sample,
        id_kind=layout.roles.ids[0].kind.value if len(layout.roles.ids) == 1 else Kind.TEXT.value,
    )


def _write(layout: Layout, sink: Sink) -> Written:
    """Run the job; of every partition exactly one attempt's result counts, however often Spark runs a task.

    A connection to the source that is lost fails the job where Spark does not run tasks again (on one machine): then
    the whole job runs again, twice at most.
    """
    size_batches(layout)
    results = _collect(arriving(layout, sink, RESULT), layout.source)
    if any(row.error is not None and UNPLAIN in row.error for row in results):
        results = _collect(by_spark(layout, sink, RESULT), layout.source)
    return Written.of([(row.result, row.error) for row in results], len(layout.roles.measured), sink.id_kind)


def size_batches(layout: Layout) -> None:
    """Have Spark hand rows to Python in batches of a good size, unless somebody has chosen one."""
    session = layout.source.frame.sparkSession  # a source may have one of its own
    if session.sparkContext.getConf().get(_BATCH) is None:
        # Spark's 10,000 rows are small batches for few columns, and larger ones than memory likes for thousands.
        row = 8 * len(layout.roles.features) + 32 * (1 + len(layout.roles.ids))
        session.conf.set(_BATCH, str(max(1, min(_BATCH_ROWS, _BATCH_BYTES // row))))


def _collect(frame: DataFrame, source: Source) -> list[Row]:
    for pause in _PAUSES:
        try:
            return frame.collect()
        except SPARK_ERRORS as error:
            if source.lost is None or not source.lost(error):
                raise
            _LOG.warning("%s: the connection was lost while it was read; all rows are read again", source.where)
            time.sleep(pause)
    return frame.collect()


def _check(layout: Layout, metrics: Metrics, *, one_class: bool, constant: bool) -> None:
    problems = Problems(layout.source.where)
    find_bad_rows(layout, metrics, problems)
    find_nothing_read(layout, metrics, problems)
    find_nothing_to_learn(layout, metrics, problems, one_class=one_class, constant=constant)
    if problems and not layout.drop:  # else it would be the next thing to mend
        find_duplicates(layout, problems)
    problems.check()


def _delete(ref: StoreRef, folder: str, keep: Sequence[str] = ()) -> None:
    """Delete what attempts of tasks left that do not count."""
    store, kept = ref.open(), set(keep)
    store.delete_many([name for name, _ in store.list(folder) if name not in kept])


def _card(name: str, layout: Layout, written: Written, size: int, seconds: float, sample: float | None) -> TableCard:
    roles, metrics, count = layout.roles, written.metrics, written.metrics.rows
    labels = {str(value): metrics.labels[value] for value in (0, 1)} if roles.label else None
    outside = (f"{metrics.unsampled:,} rows are not in the sample",) if metrics.unsampled else ()
    left_out = metrics.malformed if layout.source.skips_lines else 0
    without_type, words = unread(layout) if left_out else (0, ())
    skipped = left_out - without_type
    return TableCard(
        name=name,
        rows=count,
        dropped=metrics.read - left_out - metrics.unsampled - count,
        columns=tuple(_column_cards(layout, metrics)),
        features=tuple(column.name for column in roles.features),
        label_counts=labels,
        constant=layout.constant_features(metrics),
        checksum=str(metrics.checksum),
        bytes=size,
        seconds=round(seconds, 3),
        shapes=written.shapes.to_json(),
        skipped=skipped,
        notes=(*layout.source.notes, *outside),
        skipped_lines=tuple(bad_lines(layout.source)) if skipped else (),
        unread=without_type,
        unread_values=words,
        period=layout.period(metrics),
        distinct_share=written.keys.share(count),
        origin=dict(layout.source.origin),
        sample=sample,
    )


def _column_cards(layout: Layout, metrics: Metrics) -> Iterator[ColumnCard]:
    roles, count = layout.roles, metrics.rows
    named = roles.named()
    there = {column.position: values for column, values in zip(roles.measured, metrics.counts, strict=True)}
    for column in layout.source.columns:
        if column.position not in named:
            yield ColumnCard(column.name, column.type, "ignored")
            continue
        role, own = named[column.position]
        missing = 1.0 - there.get(column.position, count) / count if count else None
        yield ColumnCard(column.name, column.type, role, missing, roles.read_as(role, own, layout.id_type))
