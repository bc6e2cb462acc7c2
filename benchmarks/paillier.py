"""Paillier on columns, per value: ``python -m benchmarks.paillier --rows 1000 --peer phe``.

Cases ``encrypt`` (by public key), ``encrypt-owner`` (by the key's owner), ``decrypt``, ``add``, and ``matvec16``:
X^T [[d]] for 16-bit entries, per row and feature. Same key, same numbers, same precision on both sides. A peer that
works number by number costs the same per row however many there are, so it gets fewer (``peer_rows``).
"""

from __future__ import annotations

import os

from benchmarks.harness import Case, Peer, chosen_peers, isa, parser, print_cases
from fedspark.crypto.paillier import PrivateKey
from fedspark.crypto.randomness import Stream

CASES = ("encrypt", "encrypt-owner", "decrypt", "add", "matvec16")
PEERS = {"phe": Peer("phe", "benchmarks.peers.phe_numbers", "phe")}
_MOST_PEER_ROWS = {"encrypt": 100, "encrypt-owner": 100, "decrypt": 200, "add": 1000, "matvec16": 100}


def main() -> None:
    """Measure what the command line asks for."""
    made = parser(__doc__.splitlines()[0], rows=1000)
    made.add_argument("--peer", action="append", help=f"may be repeated: {', '.join(PEERS)}; default: all")
    made.add_argument("--case", action="append", choices=CASES, help="may be repeated; default: all")
    made.add_argument("--features", type=int, default=10, help="columns of X")
    options = made.parse_args()
    key = PrivateKey.generate(Stream(os.urandom(32)), options.bits)
    config = {"rows": options.rows, "features": options.features, "primes": [f"{key.p:x}", f"{key.q:x}"]}
    print_cases(
        [
            Case(
                bench="paillier",
                name=name,
                module="benchmarks.ours.paillier_columns",
                config=config,
                peer=peer,
                peer_config={"rows": min(options.rows, _MOST_PEER_ROWS[name])},
                extra={"bits": options.bits, "unit": "row and feature" if name == "matvec16" else "row", "isa": isa()},
            )
            for name in options.case or CASES
            for peer in chosen_peers(options.peer, PEERS)
        ],
        options.repeats,
    )


if __name__ == "__main__":
    main()
