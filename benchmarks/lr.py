"""One round of vertical logistic regression, per training row: ``python -m benchmarks.lr --rows 1000``.

Case ``lr-round``: guest, host and arbiter together, in one process without Spark, sealed messages included. The peer
``phe`` is an emulation of the per-element path of other libraries on phe, at few rows (its cost per row is constant).
"""

from __future__ import annotations

from benchmarks.harness import Case, Peer, chosen_peers, isa, parser, print_cases

PEERS = {"phe": Peer("phe, per element (emulation)", "benchmarks.peers.phe_lr", "phe")}
_PEER_ROWS = 40


def main() -> None:
    """Measure what the command line asks for."""
    made = parser(__doc__.splitlines()[0], rows=1000)
    made.add_argument("--peer", action="append", help=f"may be repeated: {', '.join(PEERS)}; default: all")
    made.add_argument("--features", type=int, default=10, help="features of each of guest and host")
    options = made.parse_args()
    config = {"rows": options.rows, "bits": options.bits, "features": options.features}
    extra = {"bits": options.bits, "features": [options.features] * 2, "unit": "row", "isa": isa()}
    print_cases(
        [
            Case("lr", "lr-round", "benchmarks.ours.lr_round", config, peer, {"rows": _PEER_ROWS}, extra)
            for peer in chosen_peers(options.peer, PEERS)
        ],
        options.repeats,
    )


if __name__ == "__main__":
    main()
