"""One round of vertical logistic regression, per training row: ``python -m benchmarks.lr --rows 1000000``.

Case ``lr-round``: guest, host and arbiter together, part tasks in Spark, sealed messages included. Peers are emulations
of the path with one ciphertext per number, on their own engines, at few rows: what they do for a row costs the same at
any number of rows, and the sums that they decrypt once a round are divided by our rows (``peers/lr_rounds``). They are
installed by ``python -m benchmarks.paillier --install``.
"""

from __future__ import annotations

from benchmarks.harness import Case, Peer, chosen_peers, isa, parser, print_cases
from benchmarks.paillier import VENV

_PLACES = (".venv", str(VENV))
PEERS = {
    "phe": Peer("phe, per element (emulation)", "benchmarks.peers.phe_lr", "phe", _PLACES),
    "fate-utils": Peer(
        "fate-utils, per element (emulation)", "benchmarks.peers.fate_lr", "fate_utils.paillier", _PLACES
    ),
    "heu": Peer("heu, per element (emulation)", "benchmarks.peers.heu_lr", "heu.phe", _PLACES),
}
_PEER_ROWS = {"phe": 40, "fate-utils": 60, "heu": 200}


def peer_config(peer: str, rows: int) -> dict[str, int]:
    """Rows of a peer's emulation, and of the round that it stands for."""
    return {"rows": min(_PEER_ROWS[peer], rows), "round_rows": rows}


def main() -> None:
    """Measure what the command line asks for."""
    made = parser(__doc__.splitlines()[0], rows=100_000)
    made.add_argument("--peer", action="append", help=f"may be repeated: {', '.join(PEERS)}; default: all")
    made.add_argument("--features", type=int, default=10, help="features of each of guest and host")
    made.add_argument("--rounds", type=int, default=2, help="rounds to measure in a training")
    made.add_argument("--cores", type=int, default=2, help="cores of the Spark session")
    made.add_argument("--memory", default="1g", help="memory of the Spark driver")
    made.add_argument("--no-spark", action="store_true", help="part tasks in the process itself")
    made.add_argument("--folder", help="where workspaces and messages lie; default: the system's temporary folder")
    options = made.parse_args()
    config = {name: getattr(options, name) for name in ("rows", "bits", "features", "rounds", "cores", "memory")}
    config |= {"spark": not options.no_spark, "folder": options.folder}
    extra = {"bits": options.bits, "features": [options.features] * 2, "unit": "row", "isa": isa()}
    names = {peer: name for name, peer in PEERS.items()}
    print_cases(
        [
            Case(
                "lr",
                "lr-round",
                "benchmarks.ours.lr_round",
                config,
                peer,
                peer_config(names[peer], options.rows),
                extra,
            )
            for peer in chosen_peers(options.peer, PEERS)
        ],
        options.repeats,
    )


if __name__ == "__main__":
    main()
