"""Which protocol runs where a pipeline says ``protocol: auto``: chosen by the sizes of the tables, with the reason.

| tag | from -> to | content | bytes |
|---|---|---|---|
| rows | each data party -> each other | row count; whether our tags for this guest lie there from an earlier run | 30 |

Every party computes the choice from the same numbers, so nobody has to send it; ``agree`` refuses a party whose table
has other rows then. Learned: the row counts, which ``size`` shows anyway, and which hosts keep tags.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from fedspark.conf.options.psi import PsiSettings
from fedspark.errors import Mismatch
from fedspark.party import Party, Role
from fedspark.psi.agree import ANNOUNCED
from fedspark.psi.align import Source
from fedspark.psi.rsa_epochs import serves
from fedspark.run import Run

UNEQUAL = 100
"""From more than so many times the rows on, the larger table decides what the protocol costs."""


@dataclass(frozen=True)
class Choice:
    """A protocol, and why it was chosen: empty where the pipeline names it."""

    protocol: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.protocol}, chosen because {self.reason}" if self.reason else self.protocol


def decide(run: Run, settings: PsiSettings, source: Source) -> Choice:
    """The protocol of this step, equal at all parties; for ``auto`` after an exchange of row counts."""
    if settings.protocol != "auto":
        return Choice(settings.protocol)
    if settings.reveal == "count":
        return Choice("ecdh", "it can count people without showing them")
    others = [party for party in run.roster.data_parties if party.name != run.me.name]
    mine = run.once("psi/announcing", lambda: {"rows": source.rows, "cached": keeps_tags(run, settings, source)})
    for party in others:
        run.send("rows", party, mine)

    def hear() -> dict[str, Any]:
        return {run.me.name: mine} | {party.name: _announcement(run, party) for party in others}

    told = run.once(ANNOUNCED, hear)
    rows = {party.name: told[party.name]["rows"] for party in run.roster.data_parties}
    choice = choose(rows, run.roster.guest.name, {name for name in told if told[name]["cached"]})
    run.progress.say(f"protocol {choice}")
    return choice


def choose(rows: Mapping[str, int], guest: str, cached: Collection[str] = ()) -> Choice:
    """One protocol for all pairs of the guest and a host, by ``rows`` of every data party. ``cached`` are the hosts
    that keep tags for this guest.

    Tables of about one size are what ot is fastest for. Where one has more than ``UNEQUAL`` times the rows of the
    other in any pair, the smaller side should do little: tags of the larger table that were computed before serve
    again with rsa, else ecdh sends least.
    """
    shown = ", ".join(f"{name} {count:,}" for name, count in rows.items())
    hosts = [name for name in rows if name != guest]
    unequal = [host for host in hosts if _ratio_exceeds(rows[guest], rows[host])]
    if not unequal:
        return Choice("ot", f"the tables (rows: {shown}) differ by {UNEQUAL} times at most")
    reason = f"the tables (rows: {shown}) differ by more than {UNEQUAL} times"
    if all(host in cached for host in hosts) and all(rows[guest] < rows[host] for host in unequal):
        return Choice("rsa", f"{reason}, and tags of {', '.join(hosts)} for {guest} are there from before")
    return Choice("ecdh", reason)


def keeps_tags(run: Run, settings: PsiSettings, source: Source) -> bool:
    """Whether this party, as a host, has signed ids of this very table for this guest from an earlier run, and the
    pipeline says that they may be used.
    """
    return run.role is Role.HOST and settings.cache and serves(run, settings, source)


def _ratio_exceeds(one: int, other: int) -> bool:
    return max(one, other) > UNEQUAL * max(1, min(one, other))


def _announcement(run: Run, party: Party) -> dict[str, Any]:
    message = run.receive("rows", party).json()
    good = isinstance(message, dict) and {key: type(value) for key, value in message.items()} == {
        "rows": int,
        "cached": bool,
    }
    if not good or message["rows"] < 0:
        raise Mismatch(
            f"The message 'rows' of {party.name} is malformed: it must have rows as a number, and cached.",
            remedy="Ask them which fedspark version they run.",
        )
    return dict(message)
