"""RSA blind signatures as fedspark.psi.rsa_blind does them for one bucket of each party, in one process.

From ids in memory to the places of common rows: hashing, blinding, tagging, signing, unblinding, matching, and the
columns as they travel, without sealing, storage and Spark. ``guest_us`` and ``host_us`` are per id of that party.
"""

from __future__ import annotations

from collections.abc import Callable
from time import thread_time

from benchmarks.ids import common, ids
from benchmarks.worker import Work
from fedspark.crypto import constant_time, rsa
from fedspark.crypto.randomness import Stream, derive
from fedspark.crypto.rsa import RsaKey
from fedspark.psi import matching, rsa_blind

_CONTEXT = bytes(32)
_SECRET = bytes(range(32))


def prepare(case: str, config: dict[str, int]) -> Callable[[], Work]:
    """Work on ``config['rows']`` ids of each party, under one key of ``config['bits']``."""
    rows = config["rows"]
    key = RsaKey.generate(Stream(derive(_SECRET, "key")), config["bits"])
    guest_ids, host_ids = ids("guest", rows), ids("host", rows)
    rsa.sign(key, [2])  # loads libcrypto and tests it

    def work() -> Work:
        clock = [thread_time()]
        public, guest_key, host_key = key.public, derive(_SECRET, "guest"), derive(_SECRET, "host")

        def full_domain(names: list[str]) -> rsa_blind.Residues:
            return rsa.full_domain_hash(public, _CONTEXT, names)

        blinded = rsa_blind.blind_bucket(public, guest_key, full_domain(guest_ids), rows)
        clock.append(thread_time())
        signatures = rsa.to_array(public, rsa.sign(key, full_domain(host_ids)))
        tags, _ = matching.sort_tags(matching.tags_of(_CONTEXT, host_ids, signatures), host_key, rows)
        signed = rsa.to_array(public, rsa.sign(key, rsa.from_array(public, blinded)))
        clock.append(thread_time())
        # The guest's second task: hashes and blinds are made again, as in the protocol.
        answers = rsa.from_array(public, signed)
        unblinded = rsa_blind.unblind_bucket(public, guest_key, full_domain(guest_ids), answers)
        places = matching.find_tags(matching.tags_of(_CONTEXT, guest_ids, unblinded), tags)
        clock.append(thread_time())
        assert (places >= 0).sum() == common(rows)
        guest_s, host_s = clock[1] - clock[0] + clock[3] - clock[2], clock[2] - clock[1]
        extra = {
            "guest_us": 1e6 * guest_s / rows,
            "host_us": 1e6 * host_s / rows,
            "powers_by": constant_time.fastest().name,
        }
        return Work(rows, blinded.nbytes + tags.nbytes + signed.nbytes, cpu_s=(guest_s + host_s) / 2, extra=extra)

    return work
