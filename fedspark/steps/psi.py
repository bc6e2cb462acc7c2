"""PSI: find the people that all data parties have, and bring everybody's rows into the same order."""

from __future__ import annotations

import importlib
from typing import Any

from fedspark.conf import PsiOptions
from fedspark.conf.options.psi import PsiSettings
from fedspark.party import Role
from fedspark.psi.align import Alignment
from fedspark.run import Run
from fedspark.steps.load import staged_source

PROTOCOLS = {
    "rsa": "fedspark.psi.rsa_blind",
    "ecdh": "fedspark.psi.ecdh",
    "ot": "fedspark.psi.ot",
}


def run_step(run: Run, options: PsiOptions) -> None:
    """Intersect the table with all other data parties; an arbiter has no part in it."""
    if run.role is Role.ARBITER:
        return
    alignment = intersect(run, options, options.table)
    run.write_record(psi_record(options.name, options.protocol, alignment))


def intersect(run: Run, settings: PsiSettings, table: str) -> Alignment:
    """This party's half of the protocol that ``settings`` name, on a staged table."""
    _, source = staged_source(run, table)
    protocol = importlib.import_module(PROTOCOLS[settings.protocol])
    half = protocol.guest if run.role is Role.GUEST else protocol.host
    alignment: Alignment = half(run, settings, source)
    run.progress.say(f"{table}: {alignment.rows:,} people in common of {alignment.rows_mine:,} of ours")
    return alignment


def psi_record(step: str, protocol: str, alignment: Alignment) -> dict[str, Any]:
    """The section of the report: sizes and match rate."""
    learned = "Each learned who of its own people is in this set, and the others' row counts."
    if len(alignment.rows_by_party) > 2:
        learned = "Each learned who of its own is in it, and all row counts; the guest also who is at each single host."
    share = alignment.rows / alignment.rows_mine if alignment.rows_mine else 0.0
    return {
        "step": step,
        "kind": f"psi, {protocol}",
        "title": "Intersection",
        "text": f"People that all data parties have. {learned}",
        "headline": {"people in common": alignment.rows},
        "facts": {
            "people in common": alignment.rows,
            "share of our rows": {"value": share, "unit": "share"},
            **{f"rows of {name}": rows for name, rows in alignment.rows_by_party.items()},
            "parts": alignment.parts,
        },
    }
