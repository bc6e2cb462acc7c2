"""Paillier on columns, per value: ``python -m benchmarks.paillier --rows 10000 --peer phe``.

Cases ``encrypt`` (by public key), ``encrypt-owner`` (by the key's owner), ``decrypt``, ``decrypt-packed`` (per number,
31 numbers of 64 bits in a ciphertext on our side, one on the peers'), ``add``, and ``matvec16``: X^T [[d]] for 16-bit
entries, per row and feature. Same key size, same numbers, same precision on both sides. A peer that works number by
number costs the same per row however many there are, so it gets fewer (``peer_rows``).

``FEDSPARK_KERNELS=numpy`` measures the gmpy2 engine. Peers that are not installed anywhere are installed, with
``--install``, into a venv of their own in the cache directory.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.harness import Case, Peer, chosen_peers, isa, parser, print_cases
from fedspark.crypto.paillier import PrivateKey
from fedspark.crypto.randomness import Stream

CASES = ("encrypt", "encrypt-owner", "decrypt", "decrypt-packed", "add", "matvec16")
PACKAGES = ("phe==1.5.0", "fate_utils==0.1.0", "sf-heu==0.5.2b0", "gmpy2", "numpy")
VENV = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fedspark-bench" / "peers"
_PLACES = (".venv", str(VENV))
PEERS = {
    "phe": Peer("phe", "benchmarks.peers.phe_numbers", "phe", _PLACES),
    "fate-utils": Peer("fate-utils", "benchmarks.peers.fate_paillier", "fate_utils.paillier", _PLACES),
    "heu": Peer("heu", "benchmarks.peers.heu_numbers", "heu.phe", _PLACES),
}
_MOST_PEER_ROWS = {
    "encrypt": 100,
    "encrypt-owner": 100,
    "decrypt": 200,
    "decrypt-packed": 200,
    "add": 1000,
    "matvec16": 100,
}
_UNITS = {"matvec16": "row and feature", "decrypt-packed": "packed number"}


def install() -> None:
    """Make the peers' venv, if it is not there."""
    if not (VENV / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    subprocess.run([str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)


def main() -> None:
    """Measure what the command line asks for."""
    made = parser(__doc__.splitlines()[0], rows=10_000)
    made.add_argument("--peer", action="append", help=f"may be repeated: {', '.join(PEERS)}; default: all")
    made.add_argument("--case", action="append", choices=CASES, help="may be repeated; default: all")
    made.add_argument("--features", type=int, default=10, help="columns of X")
    made.add_argument("--install", action="store_true", help=f"install the peers into {VENV} first")
    options = made.parse_args()
    if options.install:
        install()
    key = PrivateKey.generate(Stream(os.urandom(32)), options.bits)
    config = {
        "rows": options.rows,
        "bits": options.bits,
        "features": options.features,
        "primes": [f"{key.p:x}", f"{key.q:x}"],
    }
    print_cases(
        [
            Case(
                bench="paillier",
                name=name,
                module="benchmarks.ours.paillier_columns",
                config=config,
                peer=peer,
                peer_config={"rows": min(options.rows, _MOST_PEER_ROWS[name])},
                extra={"bits": options.bits, "unit": _UNITS.get(name, "row"), "isa": isa()},
            )
            for name in options.case or CASES
            for peer in chosen_peers(options.peer, PEERS)
        ],
        options.repeats,
    )


if __name__ == "__main__":
    main()
