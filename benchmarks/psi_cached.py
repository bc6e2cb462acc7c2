"""One query on kept signatures, per id of the guest: ``python -m benchmarks.psi_cached --rows 1000 --times 1000``.

Case ``rsa-cached-crypto``: a host of ``rows`` x ``times`` ids, whose tags the guest holds in a directory, one bucket in
65,536 ids; half of the guest's ids are among them. What a query computes, in one process: hash, blind, sign, unblind,
tag, look up, and the columns as they travel; without sealing, Spark, and the host's own reading of its table. There is
no peer: what the signatures save is in ``psi --protocol rsa``.
"""

from __future__ import annotations

from benchmarks.harness import Case, parser, print_cases


def main() -> None:
    """Measure what the command line asks for."""
    made = parser(__doc__.splitlines()[0], rows=1000)
    made.add_argument("--times", type=int, default=1000, help="the host's ids for each of the guest's")
    options = made.parse_args()
    config = {name: getattr(options, name) for name in ("rows", "bits", "times")}
    extra = {"phase": "crypto", "unit": "guest id, both parties", **config}
    print_cases(
        [Case("psi", "rsa-cached-crypto", "benchmarks.ours.psi_rsa_cached", config, extra=extra)], options.repeats
    )


if __name__ == "__main__":
    main()
