"""Cost per id from 1M to 100M ids: ``python -m benchmarks.psi_scale --rows 1000000 10000000 100000000``.

Every size is one run of two party processes, each with its own Spark session, from a Parquet id table to aligned part
files, as in the case ``ot`` of benchmarks.psi (whose peers are measured beside it; here is the slope only). One JSON
line per size: CPU time per id and party, per phase and party; wall time; peak memory of each party's process tree; peak
disk of both workspaces and the exchange together; and, computed from the figures of this line, what 10^9 ids a party
would take on 64 cores a party at 1 and 10 Gbit/s, one after the other (``sum_s``), or everything at the same time, the
slowest alone counting (``overlapped_s``).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.id_tables import write_table
from benchmarks.ids import PARTIES, common
from benchmarks.ours.psi_end_to_end import play, write_keys

_BILLION, _CORES = 10**9, 64


def main() -> None:
    """Measure every size that the command line asks for."""
    options = _parser().parse_args()
    for rows in options.rows:
        with tempfile.TemporaryDirectory(prefix="fedspark-scale-", dir=options.folder) as folder:
            print(json.dumps(_line(options, rows, Path(folder))), flush=True)


def _line(options: argparse.Namespace, rows: int, folder: Path) -> dict[str, Any]:
    tables = {party: str(folder / f"{party}.parquet") for party in PARTIES}
    for party, path in tables.items():
        write_table(path, party, rows)
    config = {
        "rows": rows,
        "tables": tables,
        "protocol": options.protocol,
        "bits": 2048,
        "field_bits": options.field_bits,
        "bucket_rows": 65536,
        "master": "local[1]",
        "driver_memory": options.driver_memory,
        "log": True,
    }
    write_keys(folder)
    started = time.perf_counter()
    results = play(folder, config)
    wall = time.perf_counter() - started
    assert all(result["common"] == common(rows) for result in results.values()), results
    guest, host = (results[party] for party in PARTIES)
    sent = sum(result["sent_bytes"] for result in results.values())
    line = {
        "bench": "psi_scale",
        "case": options.protocol,
        "rows": rows,
        "cpu_us_per_row": _micro(guest["cpu_s"] + host["cpu_s"], 2 * rows),
        "bytes_per_row": round(sent / rows, 2),
        "wall_s": round(wall, 1),
        "session_cpu_s": round((guest["session_cpu_s"] + host["session_cpu_s"]) / 2, 1),
        "peak_rss_mb": round(max(guest["peak_rss_mb"], host["peak_rss_mb"])),
        "peak_disk_mb": round(max(result["peak_disk_mb"] for result in results.values())),
    }
    for party, result in results.items():
        line[f"{party}_us"] = _micro(result["cpu_s"], rows)
        line[f"{party}_phases"] = result["phases"]
    return line | {"billion_on_64_cores": _billion(guest["cpu_s"] / rows, host["cpu_s"] / rows, sent / rows)}


def _billion(guest: float, host: float, sent: float) -> dict[str, Any]:
    """Seconds for 10^9 ids a party, from CPU seconds per id of each party and bytes per id of both directions."""
    work = [_BILLION * seconds / _CORES for seconds in (guest, host)]
    found: dict[str, Any] = {"guest_cpu_s": round(work[0]), "host_cpu_s": round(work[1])}
    for name, bits in (("1_gbit", 10**9), ("10_gbit", 10**10)):
        network = 8 * _BILLION * sent / bits
        found[name] = {
            "network_s": round(network),
            "sum_s": round(sum(work) + network),
            "overlapped_s": round(max(*work, network)),
        }
    return found | {"gigabytes": round(_BILLION * sent / 1e9, 1)}


def _micro(seconds: float, rows: int) -> float:
    return round(1e6 * seconds / rows, 3)


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 4_000_000], help="ids of each party")
    made.add_argument("--protocol", choices=("ot", "ecdh", "rsa"), default="ot")
    made.add_argument("--field-bits", type=int, choices=(1, 2, 4), default=2, help="field of protocol ot")
    made.add_argument("--driver-memory", default="1g", help="JVM heap of each party")
    made.add_argument("--folder", help="where tables, workspaces and exchange lie meanwhile; 100M ids need 20 GB")
    return made


if __name__ == "__main__":
    main()
