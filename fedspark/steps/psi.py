"""PSI: find the people that all data parties have, and bring everybody's rows into the same order."""

from __future__ import annotations

import importlib
from typing import Any

from fedspark.conf import PsiOptions
from fedspark.conf.options.psi import PsiSettings
from fedspark.party import Role
from fedspark.psi.agree import refuse_untold
from fedspark.psi.align import Alignment, Source
from fedspark.psi.choose import Choice, decide
from fedspark.psi.looks import Looks, poor_match
from fedspark.psi.tally import Tally
from fedspark.run import Run
from fedspark.steps.cost import Cost
from fedspark.steps.load import staged_source

PROTOCOLS = {
    "rsa": "fedspark.psi.rsa_blind",
    "ecdh": "fedspark.psi.ecdh",
    "ot": "fedspark.psi.ot",
}
COUNT = "fedspark.psi.count"
"""The protocol under ``reveal: count``; its group is that of ecdh."""
CACHED = "fedspark.psi.rsa_cached"
"""Protocol rsa with ``cache: true``, named or chosen."""


def run_step(run: Run, options: PsiOptions) -> None:
    """Intersect the table with all other data parties; an arbiter has no part in it."""
    if run.role is Role.ARBITER:
        return
    cost = Cost.begin(run)
    choice, found = intersect(run, options, options.table)
    run.write_record(psi_record(run, options, choice, found, cost))


def intersect(run: Run, settings: PsiSettings, table: str) -> tuple[Choice, Alignment | Tally]:
    """This party's half of the protocol that ``settings`` name, or that is chosen by sizes, on a staged table.

    An Alignment is left where this party learns who is common, else a Tally. PolicyRefused, before anything is sent,
    where this party could not check its own limit.
    """
    refuse_untold(run, settings)
    _, source = staged_source(run, table)
    return match(run, settings, source)


def match(run: Run, settings: PsiSettings, source: Source) -> tuple[Choice, Alignment | Tally]:
    """The same on what a party brings, wherever it comes from."""
    choice = decide(run, settings, source)
    protocol = importlib.import_module(_module(settings, choice))
    half = protocol.guest if run.role is Role.GUEST else protocol.host
    found: Alignment | Tally = half(run, settings, source)
    common = "only the guest knows how many people are" if found.rows is None else f"{found.rows:,} people"
    run.progress.say(f"{source.name}: {common} in common of {found.rows_mine:,} of ours")
    poor = _poor(run, found)
    if poor:
        run.progress.say(f"check: {poor}")
    return choice, found


def _poor(run: Run, found: Alignment | Tally) -> str:
    return "" if found.rows is None else poor_match(run, found.rows, found.rows_by_party)


def _module(settings: PsiSettings, choice: Choice) -> str:
    if settings.reveal == "count":
        return COUNT
    if settings.cache and choice.protocol == "rsa":
        return CACHED
    return PROTOCOLS[choice.protocol]


def psi_record(run: Run, settings: PsiSettings, choice: Choice, found: Alignment | Tally, cost: Cost) -> dict[str, Any]:
    """The section of the report: sizes and match rate, who learned what, and what it has cost so far."""
    facts: dict[str, Any] = {}
    if found.rows is not None:
        facts |= {
            "people in common": found.rows,
            "share of our rows": _share(found.rows, found.rows_mine),
            "share of the smallest table": _share(found.rows, min(found.rows_by_party.values())),
        }
    facts |= {f"rows of {name}": rows for name, rows in found.rows_by_party.items()}
    facts["protocol"] = str(choice)
    if _module(settings, choice) == CACHED:
        facts["signed ids of the host"] = "kept for later runs, which can be linked"
    if isinstance(found, Alignment) and found.unmatched_files is not None:
        facts["our other rows, kept without columns of the hosts"] = found.unmatched_rows
    looks, poor = Looks.of(run), _poor(run, found)
    checks, so_far = [poor] if poor else looks.hints, cost.record(found)
    return {
        "step": settings.name,
        "kind": f"psi, {choice.protocol}",
        "title": "Intersection",
        "text": "\n\n".join(
            [f"People that all data parties have. {_learned(run, settings)}", *(f"Check: {text}" for text in checks)]
        ),
        "headline": {} if found.rows is None else {"people in common": found.rows},
        "facts": facts | so_far["facts"],
        "tables": [*_ids(looks), *so_far["tables"]],
    }


def _share(rows: int, whole: int) -> dict[str, Any]:
    return {"value": rows / whole if whole else 0.0, "unit": "share"}


def _ids(looks: Looks) -> list[dict[str, Any]]:
    """What ids look like, if parties were told."""
    if not looks.ids:
        return []
    note = "Of some ids, and as far as a party lets others see (policy show_id_shapes)."
    rows = [[name, words or "not shown"] for name, words in looks.ids.items()]
    return [{"title": "Ids", "columns": ["party", "ids look like"], "rows": rows, "note": note}]


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
