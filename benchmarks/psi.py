"""Private set intersection, per id and party: ``python -m benchmarks.psi --rows 100000 --protocol ot``.

Cases ``rsa``, ``ecdh``, ``ot`` go end to end: two party processes, each with a Spark session, from Parquet id tables to
aligned part files. Cases ``rsa-crypto`` and so on (``--phase crypto``) are the protocol's pure functions. Both parties
have as many ids, every second one in common. CPU time is per id of a party, the mean of both; bytes are those of both
directions. Peers: openmined-psi and fate_utils (ECDH), SecretFlow's spu (RR22, KKRT, ECDH); for the crypto phase of RSA
also the bare modular powers of the same rows, as a floor: ``libcrypto-powers``, ``powmod-sec-powers``; for that of ECDH
the bare multiplications: ``libsodium-multiplications``. spu reads and writes CSV files; beside it ``ot-crypto`` does so
too (``"scope": "csv"``).
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness import Case, Peer, chosen_peers, parser, print_cases
from benchmarks.id_tables import write_table
from benchmarks.ids import PARTIES


@dataclass(frozen=True)
class Protocol:
    """Our modules for a protocol, by phase."""

    crypto: str
    end_to_end: str = "benchmarks.ours.psi_end_to_end"


PROTOCOLS = {
    "rsa": Protocol("benchmarks.ours.psi_rsa"),
    "ecdh": Protocol("benchmarks.ours.psi_ecdh"),
    "ot": Protocol("benchmarks.ours.psi_ot"),
}
SPU = {
    f"spu-{protocol}": Peer(f"spu {protocol.upper()}", "benchmarks.peers.spu", "spu.psi", (".venv.spu",))
    for protocol in ("rr22", "kkrt", "ecdh")
}
PEERS = {
    "openmined-psi": Peer("openmined-psi", "benchmarks.peers.openmined", "private_set_intersection.python"),
    "fate-utils": Peer("fate_utils", "benchmarks.peers.fate", "fate_utils.psi"),
    **SPU,
}
_SODIUM = "benchmarks.peers.sodium"
FLOORS = {
    "rsa": {
        "libcrypto-powers": Peer("libcrypto powers", "benchmarks.ours.powers"),
        "powmod-sec-powers": Peer("gmpy2.powmod_sec powers", "benchmarks.ours.powers"),
    },
    "ecdh": {"libsodium-multiplications": Peer("libsodium multiplications", _SODIUM, _SODIUM)},
    "ot": {},
}
_ALL_FLOORS = {name: peer for floors in FLOORS.values() for name, peer in floors.items()}
_PRIMITIVES = {"libcrypto-powers": "libcrypto", "powmod-sec-powers": "powmod_sec"}


def main() -> None:
    """Measure what the command line asks for."""
    made = _parser()
    options = made.parse_args()
    if options.engine == "openssl":
        if options.protocol != "ecdh":
            made.error("--engine is of protocol ecdh")
        os.environ["FEDSPARK_KERNELS"] = "numpy"  # of this process and all that it starts
    with tempfile.TemporaryDirectory(prefix="fedspark-bench-") as folder:
        cases = []
        for phase in ("crypto", "end-to-end"):
            if options.phase in (phase, "all"):
                cases += (_crypto if phase == "crypto" else _end_to_end)(options, Path(folder))
        print_cases(cases, options.repeats)


def _crypto(options: Any, folder: Path) -> list[Case]:
    known = PEERS | FLOORS[options.protocol]
    return [
        _against(options, _csv_config(options, folder, peer), peer, "crypto")
        for peer in chosen_peers(options.peer, known)
    ]


def _csv_config(options: Any, folder: Path, peer: Peer) -> dict[str, Any]:
    config = _config(options)
    if options.protocol == "ot" and peer in SPU.values():
        config["csv"] = {name: str(folder / f"{name}.csv") for name in (*PARTIES, "result")}
    return config


def _end_to_end(options: Any, folder: Path) -> list[Case]:
    peers = chosen_peers([name for name in options.peer or PEERS if name not in _ALL_FLOORS], PEERS)
    config = {
        **_config(options),
        "tables": {party: str(folder / f"{party}.parquet") for party in PARTIES},
        "master": options.master,
        "driver_memory": options.driver_memory,
    }
    for party, path in config["tables"].items():
        write_table(path, party, options.rows)
    return [_against(options, config, peer, "end-to-end") for peer in peers]


def _config(options: Any) -> dict[str, Any]:
    return {name: getattr(options, name) for name in ("rows", "bits", "protocol", "field_bits", "bucket_rows")}


def _against(options: Any, config: dict[str, Any], peer: Peer, phase: str) -> Case:
    name = next((name for name, other in (_ALL_FLOORS | SPU).items() if other is peer), None)
    peer_config = {"primitive": _PRIMITIVES.get(name), "spu": name.removeprefix("spu-")} if name else {}
    extra: dict[str, Any] = {"phase": phase, "unit": "id and party"}
    if options.protocol == "rsa":
        extra["bits"] = options.bits
    if options.protocol == "ot":
        extra |= {"field_bits": options.field_bits, "scope": "csv" if "csv" in config else "ids in memory"}
    ours, case = PROTOCOLS[options.protocol], options.protocol
    if phase == "crypto":
        return Case("psi", f"{case}-crypto", ours.crypto, config, peer, peer_config, extra)
    return Case("psi", case, ours.end_to_end, config, peer, peer_config, extra | {"scope": "tables"})


def _parser() -> Any:
    made = parser(__doc__.splitlines()[0], rows=2000)
    made.add_argument("--protocol", choices=sorted(PROTOCOLS), default="rsa", help="which protocol of ours")
    known = ", ".join([*PEERS, *_ALL_FLOORS])
    made.add_argument("--peer", action="append", help=f"may be repeated: {known}; default: all")
    made.add_argument(
        "--engine", choices=("fastest", "openssl"), default="fastest", help="what multiplies on our side (ecdh)"
    )
    made.add_argument("--field-bits", type=int, choices=(1, 2, 4), default=2, help="field of protocol ot")
    made.add_argument("--bucket-rows", type=int, default=65536, help="ids per bucket aimed at (ecdh, ot)")
    made.add_argument("--phase", choices=("crypto", "end-to-end", "all"), default="all", help="which cases")
    made.add_argument("--master", default="local[1]", help="Spark master of each party")
    made.add_argument("--driver-memory", default="1g", help="JVM heap of each party")
    return made


if __name__ == "__main__":
    main()
