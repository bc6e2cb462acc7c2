"""Scores of aligned people: every party's addend of z, masked so that the guest learns only the hosts' sum.

    tag          from -> to      content
    pad_key      host <-> host   X25519 public key, once a step; several hosts only
    scores-ROWS  host -> guest   addend of z per row as int64 with 32 fractional bits, 8 bytes a row, plus pads modulo
                                 2^64 that cancel in the sum of all hosts; ROWS is training, validation or all

Semi-honest. The guest learns, per person, the sum of the hosts' partial scores: with one host that host's own partial
score; an only host refuses to send scores that are few different numbers (`policy.min_distinct_scores`). Whoever knows
as many of them as a host has features, and these features, knows its effective weights. Hosts learn nothing; what a
host sends is sealed to the guest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fedspark.errors import Mismatch, PolicyRefused, TableError
from fedspark.evaluation import ScoreCounts
from fedspark.exchange.columns import pack_values, unpack_values
from fedspark.exchange.mailbox import Incoming, Outgoing, Receipt
from fedspark.models import pads
from fedspark.models.artifact import FEATURE, ModelPart, check_same_model
from fedspark.models.pads import Pads
from fedspark.models.split import Rows
from fedspark.psi.align import Alignment, PartFiles
from fedspark.run import Run, Workspace

FRACTION = 32
BOUND = 2.0**24
COLUMN = "z"

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Mine:
    """This party's addend of z: what every scoring task starts from."""

    aligned: PartFiles
    model: ModelPart
    rows: Rows

    def buckets(self, part: int) -> Iterator[tuple[pa.Table, Int64s]]:
        """The chosen rows of every bucket of a part, and this party's addend with 32 fractional bits, int64[N]."""
        for bucket in self.aligned.read(part):
            chosen = bucket.filter(pa.array(self.model.people.choose(bucket["key"], self.rows)))
            yield chosen, fixed(self.model, chosen)


def fixed(model: ModelPart, table: pa.Table) -> Int64s:
    """Partial scores as integers with 32 fractional bits; TableError for rows that have none."""
    z = model.partial_scores(table)
    good = np.abs(z) < BOUND
    if not good.all():
        names = [
            feature.name
            for feature in model.features
            if not np.isfinite(table[FEATURE + feature.name].to_numpy()).all()
        ]
        where = f"missing or infinite values in {', '.join(names)}" if names else "values far outside those trained on"
        raise TableError(
            f"{int((~good).sum()):,} of {len(z):,} rows of a bucket cannot be scored: {where}.",
            remedy="Fill in, correct or leave out these rows at the source.",
        )
    return np.rint(z * 2.0**FRACTION).astype(np.int64)


# ---- host ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sending:
    """Context of `send_part`; plain partial scores stay under ``pattern`` in the own workspace."""

    mine: Mine
    workspace: Workspace
    pattern: str
    pads: Pads = field(repr=False)


def send_scores(run: Run, model: ModelPart, alignment: Alignment, rows: Rows) -> None:
    """The host's half: partial scores of the chosen rows, to the guest."""
    mine = _mine(run, model, alignment, rows)
    hosts = run.roster.hosts
    if len(hosts) == 1:
        _refuse_readable(run, mine, alignment.parts)
    hiding = pads.agree(run, hosts) if len(hosts) > 1 else Pads(())
    context = Sending(mine, run.workspace, run.path(f"scores-{rows}/part-{{part:05d}}.bin"), hiding)
    meta = {"model_id": model.model_id}
    title = f"score {rows} rows"
    run.send_parts(f"scores-{rows}", run.roster.guest, title, send_part, alignment.parts, context, meta=meta)


def _refuse_readable(run: Run, mine: Mine, parts: int) -> None:
    """PolicyRefused when an only host's scores are few different numbers: the guest would read the columns off them."""
    limit = run.party_conf.policy.min_distinct_scores
    if len(mine.model.features) < 2 and limit > 1:
        raise PolicyRefused(
            f"This party's model has {len(mine.model.features)} feature, so the guest could read it off the scores.",
            remedy="Bring more features, or set policy.min_distinct_scores to 1 in the party file.",
        )
    seen: set[int] = set()
    count = 0
    for values, size in run.parts(f"look at {mine.rows} scores", distinct_part, parts, (mine, limit)):
        seen.update(values)
        count += size
    if len(seen) < min(limit, count / 2):
        raise PolicyRefused(
            f"The partial scores of {count:,} people are {len(seen)} different numbers, fewer than min_distinct_scores "
            f"({limit}) of the party file: the guest could read columns off them.",
            remedy="Bring features with more values, or lower policy.min_distinct_scores.",
        )


def distinct_part(context: tuple[Mine, int], part: int) -> tuple[list[int], int]:
    """Up to ``limit`` different partial scores of one part, and its number of rows."""
    mine, limit = context
    plain = _concatenate([z for _, z in mine.buckets(part)])
    return np.unique(plain)[:limit].tolist(), len(plain)


def send_part(context: Sending, outgoing: Outgoing, part: int) -> tuple[Receipt, int]:
    """Partial scores of one part; the number of rows comes back."""
    plain = _concatenate([z for _, z in context.mine.buckets(part)]).astype("<i8")
    # The pads are the same whatever they hide: what is hidden is fixed before anything leaves.
    context.workspace.keep(context.pattern.format(part=part), plain.tobytes())
    hidden = plain.view(np.uint64) + context.pads.words(len(plain), "scores", str(context.mine.rows), part)
    return outgoing.write(part, pack_values(COLUMN, hidden.astype("<u8").view(np.uint8).reshape(-1, 8))), len(plain)


# ---- guest -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Adding:
    """The guest's addend and the hosts' messages: yields scores bucket by bucket."""

    mine: Mine
    received: tuple[Incoming, ...]

    def scores(self, part: int) -> Iterator[tuple[pa.Table, npt.NDArray[np.float64]]]:
        """The chosen rows of every bucket of a part and their scores z, float64[N]."""
        buckets = list(self.mine.buckets(part))
        count = sum(len(z) for _, z in buckets)
        total = np.zeros(count, np.uint64)
        for message in self.received:
            total += unpack_values(message.read(part), COLUMN, count, 8).reshape(-1).view("<u8").astype(np.uint64)
        start = 0
        for table, own in buckets:
            z = total[start : start + len(own)].view(np.int64) + own
            start += len(own)
            yield table, z / 2.0**FRACTION


def receive_scores(run: Run, model: ModelPart, alignment: Alignment, rows: Rows) -> Adding:
    """All hosts' messages; Mismatch when one used another model or other parts."""
    received = []
    for host in run.roster.hosts:
        message = run.receive(f"scores-{rows}", host)
        check_same_model(model, host.name, message.meta)
        if message.parts != alignment.parts:
            raise Mismatch(
                f"{host.name} sent scores of {message.parts} parts, and the people lie in {alignment.parts}.",
                remedy="All parties must score the same psi step of this run.",
            )
        received.append(message)
    return Adding(_mine(run, model, alignment, rows), tuple(received))


@dataclass(frozen=True)
class Counting:
    """Context of `count_part`."""

    adding: Adding
    thresholds: tuple[float, ...]


def score_counts(
    run: Run, model: ModelPart, alignment: Alignment, rows: Rows, thresholds: tuple[float, ...]
) -> ScoreCounts:
    """The guest's half for evaluation: counts of scores by label over the chosen rows. No score leaves its task."""
    context = Counting(receive_scores(run, model, alignment, rows), thresholds)

    def count() -> list[str]:
        return run.parts(f"count {rows} scores", count_part, alignment.parts, context)

    counted = run.once(f"scores-{rows}/counts", count)
    return ScoreCounts.total((ScoreCounts.from_bytes(bytes.fromhex(text)) for text in counted), *thresholds)


def count_part(context: Counting, part: int) -> str:
    """Counts of one part, in hex."""
    counts = ScoreCounts.total(
        (ScoreCounts.of(z, table["label"].to_numpy(), *context.thresholds) for table, z in context.adding.scores(part)),
        *context.thresholds,
    )
    return counts.to_bytes().hex()


def _mine(run: Run, model: ModelPart, alignment: Alignment, rows: Rows) -> Mine:
    aligned = PartFiles(run.workspace, alignment.files)
    model.check_columns(aligned.read(0).schema.names, alignment.table)
    return Mine(aligned, model, rows)


def _concatenate(pieces: list[Int64s]) -> Int64s:
    return np.concatenate([np.zeros(0, np.int64), *pieces])
