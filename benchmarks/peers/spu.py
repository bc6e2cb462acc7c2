"""SecretFlow's spu (C++): RR22, KKRT or ECDH on Curve25519, two processes that talk over loopback.

Each party is one ``psi_execute`` call: it reads its CSV file, plays the protocol, and the receiver writes the common
ids to another CSV file. Its CPU time is that of the call, all threads, on one core. Bytes are not counted. spu hashes
ids to raw u-coordinates for ECDH, which shows which of them lie on the curve and which on its twist.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

from benchmarks.ids import PARTIES, common, ids
from benchmarks.worker import Work

_HOUR_MS = 3600 * 1000


def prepare(case: str, config: dict) -> Callable[[], Work]:
    """Work on ``config['rows']`` ids of each party by ``config['spu']``: rr22, kkrt or ecdh."""
    rows = config["rows"]
    folder = tempfile.TemporaryDirectory(prefix="fedspark-bench-")
    for party in PARTIES:
        Path(folder.name, f"{party}.csv").write_text("id\n" + "".join(f"{name}\n" for name in ids(party, rows)))

    def work() -> Work:
        ports = _free_ports()
        answers = _play(
            [{"spu": config["spu"], "rank": rank, "ports": ports, "folder": folder.name} for rank in (0, 1)]
        )
        assert answers[0]["common"] == common(rows), answers
        guest_s, host_s = (answer["cpu_s"] for answer in answers)
        extra = {"guest_us": 1e6 * guest_s / rows, "host_us": 1e6 * host_s / rows}
        peak = max(answer["peak_rss_mb"] for answer in answers)
        return Work(rows, None, cpu_s=(guest_s + host_s) / 2, peak_rss_mb=peak, extra=extra)

    return work


def _play(sides: list[dict]) -> list[dict]:
    processes = [
        subprocess.Popen([sys.executable, "-m", __spec__.name, json.dumps(side)], stdout=subprocess.PIPE, text=True)
        for side in sides
    ]
    try:
        lines = [process.communicate()[0].splitlines() for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
    return [json.loads(next(line for line in each if line.startswith("{"))) for each in lines]


def _free_ports() -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in PARTIES]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def main() -> None:
    """One party; prints one JSON line."""
    from spu import psi
    from spu.libspu import link

    side = json.loads(sys.argv[1])
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[side["rank"] % len(cores)]})
    parties = link.Desc()
    parties.recv_timeout_ms = _HOUR_MS
    for rank, port in enumerate(side["ports"]):
        parties.add_party(f"party{rank}", f"127.0.0.1:{port}")
    context = link.create_brpc(parties, side["rank"])
    folder, party = Path(side["folder"]), PARTIES[side["rank"]]
    protocol = {
        "rr22": {"protocol": psi.PsiProtocol.PROTOCOL_RR22, "rr22_params": psi.Rr22Rarams(low_comm_mode=False)},
        "kkrt": {"protocol": psi.PsiProtocol.PROTOCOL_KKRT},
        "ecdh": {
            "protocol": psi.PsiProtocol.PROTOCOL_ECDH,
            "ecdh_params": psi.EcdhParams(curve=psi.EllipticCurveType.CURVE_25519),
        },
    }[side["spu"]]
    config = psi.PsiExecuteConfig(
        protocol_conf=psi.PsiProtocolConfig(receiver_rank=0, broadcast_result=False, **protocol),
        input_params=psi.InputParams(path=str(folder / f"{party}.csv"), selected_keys=["id"], keys_unique=True),
        output_params=psi.OutputParams(path=str(folder / f"{party}.out.csv"), disable_alignment=True),
    )
    before = getrusage(RUSAGE_SELF)
    report = psi.psi_execute(config, context)
    after = getrusage(RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    answer = {"common": report.intersection_count, "cpu_s": cpu_s, "peak_rss_mb": after.ru_maxrss / 1024}
    print(json.dumps(answer), flush=True)
    context.stop_link()


if __name__ == "__main__":
    main()
