"""OT extension as fedspark.psi.ot does it, all buckets and both parties in one process.

From ids in memory to the places of common rows: digests in sorted buckets, base transfers, tables, pads, F, tags,
matching, and the columns as they travel and are stored, without sealing, storage and Spark. ``digest_us`` is the part
before the protocol (ids to Arrow, digests, order), ``crypto_us`` all the rest, ``setup_us`` (in it) the base transfers,
once for a run and pair; ``guest_us`` and ``host_us`` are per id of that party, everything included. With
``config['csv']`` the ids are read from CSV files and the guest writes the common ones to another (both in
``digest_us``), as spu does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import process_time
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv as pa_csv

from benchmarks.ids import PARTIES, common, ids
from benchmarks.worker import Work
from fedspark.crypto.hashing import bucket_digest_utf8, bucket_of, digest_order
from fedspark.crypto.ot import kernels, tags, vole
from fedspark.crypto.ot.codewords import BucketLabel
from fedspark.crypto.ot.oprf import Receiver, Sender, encode
from fedspark.crypto.ot.parameters import Parameters, choose
from fedspark.crypto.randomness import derive
from fedspark.exchange.columns import Values, pack_values, unpack_values
from fedspark.psi import ot
from fedspark.psi.sizes import Plan, make_plan

_CONTEXT = bytes(32)
_SECRET = bytes(range(32))


class Clock:
    """CPU seconds of this process, all threads, by party and phase."""

    def __init__(self) -> None:
        self.seconds: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def __call__(self, party: str, phase: str) -> Iterator[None]:
        start = process_time()
        yield
        self.seconds[party, phase] += process_time() - start

    def total(self, party: str = "", phase: str = "") -> float:
        return sum(s for (p, f), s in self.seconds.items() if party in ("", p) and phase in ("", f))


def prepare(case: str, config: dict[str, Any]) -> Callable[[], Work]:
    """Work on ``config['rows']`` ids of each party in buckets of ``config['bucket_rows']``."""
    rows, bucket_rows = config["rows"], config["bucket_rows"]
    csv = config.get("csv")
    if csv:
        write_csv(csv, rows)
        read_csv(csv["guest"])  # the first one also loads the reader
    pa.array(["loads", "what Arrow looks for in a list"])
    plan = make_plan(dict.fromkeys(PARTIES, rows), [ot.BUCKETS_PER_PART * bucket_rows], bucket_rows, _CONTEXT)
    parameters = choose(config["field_bits"], plan.buckets, *(plan.padded[party] for party in PARTIES))
    lists = {party: ids(party, rows) for party in PARTIES if not csv}
    made_by = kernels.suited(rows).name

    def work() -> Work:
        clock = Clock()
        buckets, names = {}, {}
        for party in PARTIES:
            with clock(party, "digest"):
                names[party] = read_csv(csv[party]) if csv else pa.array(lists[party])
                order, buckets[party] = _in_buckets(plan, names[party])
                if party == "guest":
                    guest_order = order
        found, sent = _protocol(clock, plan, parameters, rows, buckets)
        assert len(found) == common(rows)
        if csv:
            with clock("guest", "digest"):
                write_ids(csv["result"], names["guest"].take(pa.array(guest_order[found])))
        per_id = 1e6 / rows
        extra = {
            "guest_us": clock.total("guest") * per_id,
            "host_us": clock.total("host") * per_id,
            "digest_us": clock.total(phase="digest") / 2 * per_id,
            "crypto_us": (clock.total() - clock.total(phase="digest")) / 2 * per_id,
            "setup_us": clock.total(phase="setup") / 2 * per_id,
            "buckets": plan.buckets,
            "kernels": made_by,
        }
        return Work(rows, sent, cpu_s=clock.total() / 2, extra=extra)

    return work


def _in_buckets(plan: Plan, names: pa.StringArray) -> tuple[np.ndarray, list[Values]]:
    _, raw_offsets, data = names.buffers()
    offsets = np.frombuffer(raw_offsets, np.int32)[names.offset : names.offset + len(names) + 1]
    digests = bucket_digest_utf8(plan.salt, np.frombuffer(data, np.uint8), offsets)
    order = digest_order(digests)
    digests = np.take(digests, order, axis=0)
    ends = np.searchsorted(bucket_of(digests, plan.buckets), np.arange(plan.buckets), "right")
    return order, np.split(digests, ends[:-1])


def _protocol(
    clock: Clock, plan: Plan, parameters: Parameters, rows: int, buckets: dict[str, list[Values]]
) -> tuple[np.ndarray, int]:
    """(rows of the guest, in digest order, that are common; bytes of all messages)."""
    with clock("host", "setup"):
        started, transfers = vole.start(parameters, _CONTEXT, derive(_SECRET, "start"))
    with clock("guest", "setup"):
        receiver_keys, seeds = vole.answer(parameters, _CONTEXT, transfers, derive(_SECRET, "answer"))
    with clock("host", "setup"):
        sender_keys = vole.finish(parameters, started, seeds)
    found, first, sent = [], 0, len(transfers) + len(seeds)
    with_kernels, share = kernels.suited(rows), plan.buckets_per_part
    for part in range(plan.parts):
        numbers = plan.buckets_of(part)
        mine, theirs = ([buckets[party][number] for number in numbers] for party in PARTIES)
        labels = [BucketLabel(_CONTEXT, number) for number in numbers]
        with clock("guest", "table"):
            tables = np.empty((share, parameters.rows, parameters.row_bytes), np.uint8)
            for label, x, table in zip(labels, mine, tables, strict=True):
                table[:] = encode(parameters, label, x, with_kernels)
            stored = pack_values("table", tables.reshape(-1, parameters.row_bytes))
            tables = unpack_values(stored, "table", share * parameters.rows, parameters.row_bytes)
        with clock("guest", "pads"):
            receiver = Receiver(parameters, receiver_keys, with_kernels)
            masked, outputs = np.empty_like(tables), []
            for label, x, table, place in zip(
                labels, mine, np.split(tables, share), np.split(masked, share), strict=True
            ):
                pads = receiver.pads(label)
                place[:] = pads.mask(table)
                outputs.append(pads.outputs(x))
            message = pack_values("table", masked)
        with clock("host", "tags"):
            received = unpack_values(message, "table", share * parameters.rows, parameters.row_bytes)
            sender = Sender(parameters, sender_keys, with_kernels)
            sealed = [
                tags.seal(parameters, sender.outputs(label, x, table), derive(_SECRET, label.bucket))[0]
                for label, x, table in zip(labels, theirs, np.split(received, share), strict=True)
            ]
            answer = pack_values("tags", np.concatenate(sealed))
        with clock("guest", "match"):
            values = unpack_values(answer, "tags", plan.values_per_part("host"), parameters.tag_bytes)
            for out, column in zip(outputs, np.split(values, share), strict=True):
                found.append(first + np.flatnonzero(tags.find(parameters, out, column) >= 0))
                first += len(out)
        sent += len(message) + len(answer)
    return np.concatenate(found), sent


def write_csv(paths: dict[str, str], rows: int) -> None:
    """The id files of both parties."""
    for party in PARTIES:
        write_ids(paths[party], pa.array(ids(party, rows)))


def write_ids(path: str, names: pa.StringArray) -> None:
    """A CSV file with the one column id."""
    pa_csv.write_csv(pa.table({"id": names}), path)


def read_csv(path: str) -> pa.StringArray:
    """The ids of such a file, by one thread."""
    options = pa_csv.ConvertOptions(column_types={"id": pa.string()})
    table = pa_csv.read_csv(path, pa_csv.ReadOptions(use_threads=False), convert_options=options)
    return table["id"].combine_chunks()
