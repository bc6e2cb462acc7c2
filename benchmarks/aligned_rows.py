"""Aligned part files of many people, as an intersection leaves them: made by numpy, a part at a time.

Ids are numbers in order, digests are counters: training looks at them no more than at any others. Every value is
normal noise on two common causes; the label depends on all columns.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from fedspark.buckets import write_buckets
from fedspark.psi.align import Alignment
from fedspark.psi.sizes import make_plan
from fedspark.run import Run

BUCKET_ROWS = 65536


def align(run: Run, rows: int, features: int, label: bool) -> Alignment:
    """Write this party's aligned files of ``rows`` people with ``features`` columns each, as its psi step would."""
    plan = make_plan({"guest": rows}, [1 << 20], BUCKET_ROWS, bytes(32))
    files = run.path("psi/aligned/part-{part:05d}.parquet")
    edges = np.linspace(0, rows, plan.buckets + 1).astype(int)
    for part in range(plan.parts):
        tables = [_bucket(edges[b], edges[b + 1], b, run.me.name, features, label) for b in plan.buckets_of(part)]
        run.workspace.create(files.format(part=part), write_buckets(tables))
    counts = {party.name: rows for party in run.roster.data_parties}
    return Alignment("people", plan.parts, plan.buckets_per_part, rows, rows, counts, files)


def _bucket(first: int, end: int, bucket: int, party: str, features: int, label: bool) -> pa.Table:
    numbers, rows = np.arange(first, end), end - first
    common = np.random.default_rng([bucket]).normal(size=(rows, 2))
    own = np.random.default_rng([bucket, *party.encode()])
    x = common @ own.normal(size=(2, features)) / 2 + own.normal(size=(rows, features))
    digests = np.zeros((rows, 2), ">u8")
    digests[:, 1] = numbers
    columns = {
        "bucket": pa.array(np.full(rows, bucket, np.int32)),
        "digest": pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), rows, [None, pa.py_buffer(digests.tobytes())]),
        "key": pa.array(numbers).cast(pa.string()),
    }
    if label:
        columns["label"] = pa.array((common.sum(axis=1) + own.normal(size=rows) > 0.5).astype(float))
    return pa.table({**columns, **{f"x.{party}_{index}": x[:, index] for index in range(features)}})
