"""Private set intersection, per id and party: ``python -m benchmarks.psi --rows 2000 --protocol rsa``.

Case ``rsa`` goes end to end: two party processes, each with a Spark session, from Parquet id tables to aligned part
files. Case ``rsa-crypto`` (``--phase crypto``) is the protocol's pure functions. Both parties have as many ids, every
second one in common. CPU time is per id of a party, the mean of both; bytes are those of both directions. Peers:
openmined-psi (ECDH), and for the crypto phase the bare modular powers of the same rows, as a floor:
``libcrypto-powers``, ``powmod-sec-powers``.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.harness import Case, Peer, chosen_peers, parser, print_cases
from benchmarks.ids import PARTIES, ids


@dataclass(frozen=True)
class Protocol:
    """Our modules for a protocol, by phase."""

    crypto: str
    end_to_end: str = "benchmarks.ours.psi_end_to_end"


PROTOCOLS = {"rsa": Protocol("benchmarks.ours.psi_rsa")}
PEERS = {
    "openmined-psi": Peer("openmined-psi", "benchmarks.peers.openmined", "private_set_intersection.python"),
}
FLOORS = {
    "libcrypto-powers": Peer("libcrypto powers", "benchmarks.ours.powers"),
    "powmod-sec-powers": Peer("gmpy2.powmod_sec powers", "benchmarks.ours.powers"),
}
_PRIMITIVES = {"libcrypto-powers": "libcrypto", "powmod-sec-powers": "powmod_sec"}


def main() -> None:
    """Measure what the command line asks for."""
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="fedspark-bench-") as folder:
        cases = []
        for phase in ("crypto", "end-to-end"):
            if options.phase in (phase, "all"):
                cases += _crypto(options) if phase == "crypto" else _end_to_end(options, Path(folder))
        print_cases(cases, options.repeats)


def _crypto(options: Any) -> list[Case]:
    config = {"rows": options.rows, "bits": options.bits, "protocol": options.protocol}
    case = Case("psi", f"{options.protocol}-crypto", PROTOCOLS[options.protocol].crypto, config)
    return [_against(case, peer, "crypto", options.bits) for peer in chosen_peers(options.peer, PEERS | FLOORS)]


def _end_to_end(options: Any, folder: Path) -> list[Case]:
    peers = chosen_peers([name for name in options.peer or PEERS if name not in FLOORS], PEERS)
    config = {
        "rows": options.rows,
        "bits": options.bits,
        "protocol": options.protocol,
        "tables": {party: str(folder / f"{party}.parquet") for party in PARTIES},
        "master": options.master,
        "driver_memory": options.driver_memory,
    }
    for party, path in config["tables"].items():
        column = ids(party, options.rows)
        pq.write_table(pa.table({"id": column, "number": [float(row % 97) for row in range(options.rows)]}), path)
    case = Case("psi", options.protocol, PROTOCOLS[options.protocol].end_to_end, config)
    return [_against(case, peer, "end-to-end", options.bits) for peer in peers]


def _against(case: Case, peer: Peer, phase: str, bits: int) -> Case:
    name = next((name for name, floor in FLOORS.items() if floor is peer), None)
    peer_config = {"primitive": _PRIMITIVES[name]} if name else {}
    extra = {"phase": phase, "bits": bits, "unit": "id and party"}
    return Case(case.bench, case.name, case.module, case.config, peer, peer_config, extra)


def _parser() -> Any:
    made = parser(__doc__.splitlines()[0], rows=2000)
    made.add_argument("--protocol", choices=sorted(PROTOCOLS), default="rsa", help="which protocol of ours")
    made.add_argument("--peer", action="append", help=f"may be repeated: {', '.join([*PEERS, *FLOORS])}; default: all")
    made.add_argument("--phase", choices=("crypto", "end-to-end", "all"), default="all", help="which cases")
    made.add_argument("--master", default="local[1]", help="Spark master of each party")
    made.add_argument("--driver-memory", default="1g", help="JVM heap of each party")
    return made


if __name__ == "__main__":
    main()
