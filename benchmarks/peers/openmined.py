"""openmined-psi (OpenMined's build of Google's ECDH PSI, P-256): the RAW data structure, which loses no match.

``rsa-crypto`` and its like: ids in memory to the places of common ids, messages serialised as protobuf. ``rsa``: the
same with the id column read from the Parquet files that our side reads; no table is aligned, nothing is sealed.
Bytes are all messages of both directions.
"""

from __future__ import annotations

from collections.abc import Callable
from time import thread_time

import private_set_intersection.python as psi

from benchmarks.ids import PARTIES, common, ids
from benchmarks.peers.parquet import reader
from benchmarks.worker import Work


def prepare(case: str, config: dict) -> Callable[[], Work]:
    """Work on ``config['rows']`` ids of each party; with ``config['tables']`` read from Parquet."""
    rows, tables = config["rows"], config.get("tables")

    read = reader(tables) if tables else {party: ids(party, rows) for party in PARTIES}.__getitem__

    read("guest")  # the first one also loads the reader

    def work() -> Work:
        clock = [thread_time()]
        client = psi.client.CreateWithNewKey(True)
        request = client.CreateRequest(read("guest")).SerializeToString()
        clock.append(thread_time())
        server = psi.server.CreateWithNewKey(True)
        setup = server.CreateSetupMessage(1e-9, rows, read("host"), psi.DataStructure.RAW).SerializeToString()
        received = psi.Request()
        received.ParseFromString(request)
        response = server.ProcessRequest(received).SerializeToString()
        clock.append(thread_time())
        got_setup, got_response = psi.ServerSetup(), psi.Response()
        got_setup.ParseFromString(setup)
        got_response.ParseFromString(response)
        found = client.GetIntersection(got_setup, got_response)
        clock.append(thread_time())
        assert len(found) == common(rows)
        guest_s, host_s = clock[1] - clock[0] + clock[3] - clock[2], clock[2] - clock[1]
        extra = {"guest_us": 1e6 * guest_s / rows, "host_us": 1e6 * host_s / rows}
        sent = len(request) + len(setup) + len(response)
        return Work(rows, sent, cpu_s=(guest_s + host_s) / 2, extra=extra)

    return work
