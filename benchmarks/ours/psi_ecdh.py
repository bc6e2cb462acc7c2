"""ECDH as fedspark.psi.ecdh does it for one bucket of each party, in one process.

From ids in memory to the places of common rows: hashing to the curve, blinding, tagging, evaluating, unblinding,
matching, and the columns as they travel, without sealing, storage and Spark. ``guest_us`` and ``host_us`` are per id
of that party; ``engine`` is what multiplied.
"""

from __future__ import annotations

from collections.abc import Callable
from time import thread_time

from benchmarks.ids import common, ids
from benchmarks.worker import Work
from fedspark.crypto.curve import POINT_BYTES, Scalar, hash_ids, hash_to_curve, multiply
from fedspark.crypto.curve_engines import fastest
from fedspark.crypto.hashing import TAG_BYTES
from fedspark.crypto.randomness import Stream, derive
from fedspark.exchange.columns import pack_values, unpack_values
from fedspark.psi import ecdh, matching

_CONTEXT = bytes(32)
_SECRET = bytes(range(32))


def prepare(case: str, config: dict[str, int]) -> Callable[[], Work]:
    """Work on ``config['rows']`` ids of each party."""
    rows = config["rows"]
    b = Scalar.draw(Stream(derive(_SECRET, "scalar")))
    lists = {party: ids(party, rows) for party in ("guest", "host")}
    multiply(hash_to_curve(lists["guest"][:64], _CONTEXT), b)  # compiles the ladder, where there is one

    def work() -> Work:
        clock = [thread_time()]
        guest_ids, host_ids = lists["guest"], lists["host"]
        guest_key, host_key = derive(_SECRET, "guest"), derive(_SECRET, "host")
        hashes = hash_ids(guest_ids, _CONTEXT)
        blinded = pack_values("blinded", ecdh.blind_bucket(guest_key, hashes, rows))
        clock.append(thread_time())
        points = multiply(hash_to_curve(host_ids, _CONTEXT), b)
        sealed, _ = matching.sort_tags(ecdh.bucket_tags(_CONTEXT, 0, host_ids, points), host_key, rows)
        tags = pack_values("tags", sealed)
        evaluated = pack_values("evaluated", ecdh.evaluate(unpack_values(blinded, "blinded", rows, POINT_BYTES), b))
        clock.append(thread_time())
        # The guest's second task: hashes and blinds are made again, as in the protocol.
        answers = unpack_values(evaluated, "evaluated", rows, POINT_BYTES)
        unblinded = ecdh.unblind_bucket(guest_key, hash_ids(guest_ids, _CONTEXT), answers)
        mine = ecdh.bucket_tags(_CONTEXT, 0, guest_ids, unblinded)
        places = matching.find_tags(mine, unpack_values(tags, "tags", rows, TAG_BYTES))
        clock.append(thread_time())
        assert (places >= 0).sum() == common(rows)
        guest_s, host_s = clock[1] - clock[0] + clock[3] - clock[2], clock[2] - clock[1]
        extra = {"guest_us": 1e6 * guest_s / rows, "host_us": 1e6 * host_s / rows, "engine": fastest().name}
        return Work(rows, len(blinded) + len(tags) + len(evaluated), cpu_s=(guest_s + host_s) / 2, extra=extra)

    return work
