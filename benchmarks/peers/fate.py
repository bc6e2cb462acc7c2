"""fate_utils (FATE's Rust kernels): ECDH on Curve25519 as FATE's PSI uses it, ids in memory to common ids.

Four columns of 32-byte points; nothing is truncated. With ``config['tables']`` the id column is read from the Parquet
files that our side reads.
"""

from __future__ import annotations

from collections.abc import Callable
from time import process_time

from fate_utils.psi import Curve25519

from benchmarks.ids import PARTIES, common, ids
from benchmarks.peers.parquet import reader
from benchmarks.worker import Work


def prepare(case: str, config: dict) -> Callable[[], Work]:
    """Work on ``config['rows']`` ids of each party."""
    rows, tables = config["rows"], config.get("tables")
    read = reader(tables) if tables else {party: ids(party, rows) for party in PARTIES}.__getitem__
    read("guest")

    def work() -> Work:
        clock = [process_time()]
        guest = Curve25519()
        from_guest = list(guest.encrypt_vec([name.encode() for name in read("guest")]))
        clock.append(process_time())
        host = Curve25519()
        from_host = list(host.encrypt_vec([name.encode() for name in read("host")]))
        answer = list(host.diffie_hellman_vec(from_guest))
        clock.append(process_time())
        theirs = set(guest.diffie_hellman_vec(from_host))
        found = sum(point in theirs for point in answer)
        clock.append(process_time())
        assert found == common(rows)
        guest_s, host_s = clock[1] - clock[0] + clock[3] - clock[2], clock[2] - clock[1]
        extra = {"guest_us": 1e6 * guest_s / rows, "host_us": 1e6 * host_s / rows}
        sent = 32 * (len(from_guest) + len(from_host) + len(answer))
        return Work(rows, sent, cpu_s=(guest_s + host_s) / 2, extra=extra)

    return work
