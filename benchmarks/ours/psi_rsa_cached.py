"""A query on kept signatures as fedspark.psi.rsa_cached does it, in one process; see benchmarks/psi_cached.py.

The host's tags of the guest's ids are real, all others random, which is what tags look like: the host's own signatures
are not what is measured.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from time import thread_time
from typing import Any

import numpy as np

from benchmarks.ids import common, ids
from benchmarks.worker import Work
from fedspark.crypto import rsa
from fedspark.crypto.hashing import TAG_BYTES, bucket_digest, bucket_of, digest_order
from fedspark.crypto.randomness import Stream, derive
from fedspark.crypto.rsa import RsaKey
from fedspark.exchange.columns import pack_values
from fedspark.exchange.store import StoreRef
from fedspark.psi import epoch_places, matching, rsa_blind
from fedspark.psi.epoch_places import TagFiles
from fedspark.psi.sizes import Plan, make_plan
from fedspark.run import Workspace

_CONTEXT = bytes(32)
_SECRET = bytes(range(32))


def prepare(case: str, config: dict[str, int]) -> Callable[[], Work]:
    """Work on one query of ``config['rows']`` ids against an epoch of ``config['times']`` as many."""
    rows, hosts = config["rows"], config["rows"] * config["times"]
    key = RsaKey.generate(Stream(derive(_SECRET, "key")), config["bits"])
    plan = make_plan({"host": hosts}, [1 << 16], 1 << 16, derive(_SECRET, "salt"))
    folder = tempfile.mkdtemp(prefix="fedspark-bench-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    files = TagFiles(Workspace(StoreRef(f"file://{folder}"), "epoch"), "tags/part-{part:05d}.arrow")
    names = ids("guest", rows)
    digests = bucket_digest(plan.salt, names)
    order = digest_order(digests)
    names, digests = [names[row] for row in order], digests[order]
    _fill(plan, files, key, names, digests)

    def work() -> Work:
        clock = [thread_time()]
        hashes = rsa.full_domain_hash(key.public, _CONTEXT, names)
        blinded = rsa_blind.blind_bucket(key.public, _SECRET, hashes, rows)
        clock.append(thread_time())
        signed = rsa.to_array(key.public, rsa.sign(key, rsa.from_array(key.public, blinded)))
        clock.append(thread_time())
        hashes = rsa.full_domain_hash(key.public, _CONTEXT, names)
        signatures = rsa_blind.unblind_bucket(key.public, _SECRET, hashes, rsa.from_array(key.public, signed))
        tags = matching.tags_of(_CONTEXT, names, signatures)
        clock.append(thread_time())
        places = epoch_places.find_in_epoch(plan, "host", files, tags, digests)
        told = epoch_places.pack_places(places[places >= 0], rows)
        clock.append(thread_time())
        assert (places >= 0).sum() == common(rows)
        host_s, find_s = clock[2] - clock[1], clock[4] - clock[3]
        guest_s = clock[4] - clock[0] - host_s
        extra: dict[str, Any] = {
            "guest_us": 1e6 * guest_s / rows,
            "host_us": 1e6 * host_s / rows,
            "find_us": 1e6 * find_s / rows,
        }
        return Work(rows, blinded.nbytes + signed.nbytes + len(told), cpu_s=guest_s + host_s, extra=extra)

    return work


def _fill(plan: Plan, files: TagFiles, key: RsaKey, names: list[str], digests: Any) -> None:
    """Write an epoch's tags: real ones of half of the guest's ids, random ones for the rest."""
    held = np.arange(len(names))[: common(len(names))]
    hashes = rsa.full_domain_hash(key.public, _CONTEXT, [names[row] for row in held])
    signatures = rsa.to_array(key.public, rsa.sign(key, hashes))
    real = matching.tags_of(_CONTEXT, [names[row] for row in held], signatures)
    buckets, padded = bucket_of(digests[held], plan.buckets), plan.padded["host"]
    for part in range(plan.parts):
        columns = []
        for bucket in plan.buckets_of(part):
            tags = np.frombuffer(Stream(derive(_SECRET, "tags", bucket)).bytes(TAG_BYTES * padded), np.uint8)
            mine = real[buckets == bucket]
            every = np.concatenate([mine, tags.reshape(-1, TAG_BYTES)[len(mine) :]])
            columns.append(every[digest_order(every)])
        files.write(part, pack_values("tags", np.concatenate(columns)))
