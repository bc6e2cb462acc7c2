"""PSI: find the people that all data parties have, and bring everybody's rows into the same order."""

from __future__ import annotations

import importlib
from typing import Any

from fedspark.conf import PsiOptions
from fedspark.conf.options.psi import PsiSettings
from fedspark.party import Role
from fedspark.psi.agree import refuse_untold
from fedspark.psi.align import Alignment
from fedspark.psi.choose import Choice, decide
from fedspark.psi.tally import Tally
from fedspark.run import Run
from fedspark.steps.load import staged_source

PROTOCOLS = {
    "rsa": "fedspark.psi.rsa_blind",
    "ecdh": "fedspark.psi.ecdh",
    "ot": "fedspark.psi.ot",
}
COUNT = "fedspark.psi.count"
"""The protocol under ``reveal: count``; its group is that of ecdh."""


def run_step(run: Run, options: PsiOptions) -> None:
    """Intersect the table with all other data parties; an arbiter has no part in it."""
    if run.role is Role.ARBITER:
        return
    choice, found = intersect(run, options, options.table)
    run.write_record(psi_record(run, options, choice, found))


def intersect(run: Run, settings: PsiSettings, table: str) -> tuple[Choice, Alignment | Tally]:
    """This party's half of the protocol that ``settings`` name, or that is chosen by sizes, on a staged table.

    An Alignment is left where this party learns who is common, else a Tally. PolicyRefused, before anything is sent,
    where this party could not check its own limit.
    """
    refuse_untold(run, settings)
    _, source = staged_source(run, table)
    choice = decide(run, settings, source)
    protocol = importlib.import_module(_module(settings, choice))
    half = protocol.guest if run.role is Role.GUEST else protocol.host
    found: Alignment | Tally = half(run, settings, source)
    common = "only the guest knows how many people are" if found.rows is None else f"{found.rows:,} people"
    run.progress.say(f"{table}: {common} in common of {found.rows_mine:,} of ours")
    return choice, found


def _module(settings: PsiSettings, choice: Choice) -> str:
    if settings.reveal == "count":
        return COUNT
    return PROTOCOLS[choice.protocol]


def psi_record(run: Run, settings: PsiSettings, choice: Choice, found: Alignment | Tally) -> dict[str, Any]:
    """The section of the report: sizes and match rate, and who learned what."""
    facts: dict[str, Any] = {}
    if found.rows is not None:
        share = found.rows / found.rows_mine if found.rows_mine else 0.0
        facts |= {"people in common": found.rows, "share of our rows": {"value": share, "unit": "share"}}
    facts |= {f"rows of {name}": rows for name, rows in found.rows_by_party.items()}
    facts["protocol"] = str(choice)
    if isinstance(found, Alignment):
        facts["parts"] = found.parts
        if found.unmatched_files is not None:
            facts["our other rows, kept without columns of the hosts"] = found.unmatched_rows
    return {
        "step": settings.name,
        "kind": f"psi, {choice.protocol}",
        "title": "Intersection",
        "text": f"People that all data parties have. {_learned(run, settings)}",
        "headline": {} if found.rows is None else {"people in common": found.rows},
        "facts": facts,
    }


def _learned(run: Run, settings: PsiSettings) -> str:
    several = len(run.roster.hosts) > 1
    if settings.reveal == "count":
        knows = "Both" if settings.result == "both" else "The guest alone"
        return f"{knows} learned how many they are, nobody who; and both the other's row count."
    if settings.result == "guest":
        single = ", and who is at each single host" if several else ""
        return f"The guest alone learned who of its people is in this set{single}; the others learned row counts only."
    if several:
        return "Each learned who of its own is in it, and all row counts; the guest also who is at each single host."
    return "Each learned who of its own people is in this set, and the others' row counts."
