"""Where people stand in an epoch (see ``rsa_epochs``): tags by place, places by row, and how places travel."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fedspark.crypto.hashing import TAG_BYTES, bucket_of
from fedspark.errors import PeerError
from fedspark.exchange.columns import Values, pack_values, unpack_values
from fedspark.psi.align import PartFiles
from fedspark.psi.matching import bucket_tables, find_tags
from fedspark.psi.sizes import Plan
from fedspark.run import Workspace

PLACE_BYTES = 8
_NOWHERE = -1

Places = npt.NDArray[np.int64]
"""int64[N]: places in the list of all tags of an epoch, bucket after bucket, dummies included; -1 for nowhere."""


@dataclass(frozen=True)
class TagFiles:
    """The tags of an epoch in a workspace, one object per part, as they travel; goes into task closures."""

    workspace: Workspace
    pattern: str

    def write(self, part: int, data: bytes) -> str:
        """Create-only; returns the SHA-256 in hex."""
        self.workspace.keep(self.pattern.format(part=part), data)
        return hashlib.sha256(data).hexdigest()

    def read(self, part: int) -> bytes:
        return self.workspace.read(self.pattern.format(part=part))

    def there(self, part: int) -> bool:
        return self.workspace.exists(self.pattern.format(part=part))


@dataclass(frozen=True)
class Prepared:
    """A host's table under an epoch's plan: rows by bucket, and which row a tag belongs to; goes into task closures."""

    plan: Plan
    prepared: PartFiles
    order: PartFiles


def by_part(plan: Plan, buckets: npt.NDArray[Any]) -> Iterator[tuple[int, list[tuple[int, slice]]]]:
    """Ascending bucket numbers as (part, [(which bucket of the part, rows that are in it)]), those that occur."""
    numbers, starts = np.unique(buckets, return_index=True)
    ends = np.append(starts, len(buckets))[1:]
    rows = [slice(start, end) for start, end in zip(starts, ends, strict=True)]
    groups: dict[int, list[tuple[int, slice]]] = {}
    for number, place in zip(numbers.tolist(), rows, strict=True):
        groups.setdefault(number // plan.buckets_per_part, []).append((number % plan.buckets_per_part, place))
    yield from groups.items()


def find_in_epoch(epoch: Plan, host: str, files: TagFiles, tags: Values, digests: Values) -> Places:
    """The places of ``tags`` in an epoch; ``digests`` of the same rows ascend and say in which buckets to look. Parts
    in which we have no row are not read.
    """
    found, padded = np.full(len(tags), _NOWHERE, np.int64), epoch.padded[host]
    for part, buckets in by_part(epoch, bucket_of(digests, epoch.buckets)):
        theirs = unpack_values(files.read(part), "tags", epoch.values_per_part(host), TAG_BYTES)
        for index, rows in buckets:
            inside = find_tags(tags[rows], theirs[index * padded : (index + 1) * padded]).astype(np.int64)
            first = (part * epoch.buckets_per_part + index) * padded
            found[rows] = np.where(inside >= 0, inside + first, _NOWHERE)
    return found


def pack_places(places: Places, count: int) -> bytes:
    """A part of ``matched``: big-endian places, filled up with -1 to ``count`` values."""
    filled = np.full(count, _NOWHERE, ">i8")
    filled[: len(places)] = places
    return pack_values("matched", filled.view(np.uint8).reshape(count, PLACE_BYTES))


def unpack_places(data: bytes, count: int, limit: int) -> Places:
    """The places in a part of ``matched``, without what fills it up; PeerError unless all are below ``limit``."""
    every = np.ascontiguousarray(unpack_values(data, "matched", count, PLACE_BYTES)).view(">i8").reshape(-1)
    places = every[: int((every >= 0).sum())].astype(np.int64)
    if (places < 0).any() or (places >= limit).any():
        raise refused("a place lies outside the epoch, or after one that says -1")
    return places


def rows_at(table: Prepared, padded: int, places: Places) -> pa.Table:
    """The host's rows whose tags have these places, in that order. PeerError unless they are tags of rows, no dummies,
    and in digest order.
    """
    buckets, inside = places // max(padded, 1), places % max(padded, 1)
    if (buckets[1:] < buckets[:-1]).any():
        raise refused("its places are not in digest order")
    pieces = []
    for part, found in by_part(table.plan, buckets):
        orders, prepared = bucket_tables(table.order, part), table.prepared.read(part)
        for index, which in found:
            rows = orders[index]["row"].to_numpy()[inside[which]]
            if (rows < 0).any():
                raise refused(f"it marks {int((rows < 0).sum()):,} dummies")
            if (rows[1:] <= rows[:-1]).any():
                raise refused("its places are not in digest order")
            pieces.append(prepared.read(index).take(pa.array(rows)))
    return pa.concat_tables(pieces) if pieces else table.prepared.read(0).read(0).slice(0, 0)


def refused(why: str) -> PeerError:
    """The error about a message ``matched`` of which nothing is used."""
    return PeerError(
        f"The message 'matched' of the guest is refused: {why}.",
        remedy="Nothing of it was used. The guest's software is wrong; ask them.",
    )
