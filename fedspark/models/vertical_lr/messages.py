"""What peers say in training, checked before it is used, and what this party says to people."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from fedspark.errors import Mismatch, PolicyRefused
from fedspark.models.vertical_lr import maths
from fedspark.models.vertical_lr.gradients import STOPS, Decision
from fedspark.party import Party

STEP = ("alpha", "beta", "stop")
"""What every data party is told at the end of a round; the guest is told the whole `Decision`."""


@dataclass(frozen=True)
class Facts:
    """What a data party says about its design matrix: also whether rows have weights (the guest's to say) and which
    model it starts from ("": none). Hosts and guest compare ``order`` and ``start``, the arbiter is not told them.
    """

    rows: int
    columns: int
    order: str
    weighted: bool
    start: str


def read_facts(message: Any, sender: Party) -> Facts:
    """The sizes that a data party sent; Mismatch for anything else."""
    try:
        facts = Facts(**message)
        if [type(value) for value in vars(facts).values()] != [int, int, str, bool, str]:
            raise TypeError
        if facts.columns < 1 or facts.rows < 1:
            raise TypeError
    except TypeError:
        raise _malformed("facts", sender) from None
    return facts


def check_facts(facts: Mapping[str, Facts]) -> int:
    """Training rows. Mismatch unless all parties train on the same people; PolicyRefused for too many columns."""
    rows = {fact.rows for fact in facts.values()}
    if len(rows) > 1 or len({fact.order for fact in facts.values()}) > 1:
        listed = ", ".join(f"{name} {fact.rows:,}" for name, fact in facts.items())
        raise Mismatch(
            f"The parties would train on different people or in another order (training rows: {listed}).",
            remedy="All must use the psi step of this run; start a new run label.",
        )
    if len({fact.start for fact in facts.values()}) > 1:
        listed = ", ".join(f"{name} {fact.start or 'none'}" for name, fact in facts.items())
        raise Mismatch(
            f"The parties would start from different models: {listed}.",
            remedy="Name a run and step in warm_start that all parties took part in.",
        )
    columns = sum(fact.columns for fact in facts.values())
    if columns >= min(rows):
        raise PolicyRefused(
            f"{columns} columns (all parties, intercept included) for {min(rows):,} training rows: gradients would "
            f"determine rows.",
            remedy="Match more people or choose fewer features.",
        )
    return min(rows)


def check_hosts(facts: Mapping[str, Facts], hosts: Iterable[Party], effective: int | None = None) -> None:
    """PolicyRefused when a host has so many columns that it could solve its first gradient for the labels.

    ``effective``: how many rows of equal weight the rows are worth, where they have weights; the guest's to check.
    """
    for host in hosts:
        fact = facts[host.name]
        rows = fact.rows if effective is None else effective
        if not maths.labels_hide(rows, fact.columns):
            fits = max(0, bisect.bisect_left(range(fact.columns), True, key=partial(_labels_show, rows)) - 1)
            counted = "" if rows == fact.rows else f", which by their weights count like {rows:,}"
            raise PolicyRefused(
                f"{host.name} has {fact.columns} columns for {fact.rows:,} training rows{counted}: from the sums that "
                f"it learns it could compute the label of every person. At most {fits} columns hide them.",
                remedy=f"Match more people{', cap the weight column,' if counted else ','} or let {host.name} choose "
                f"fewer features.",
            )


def _labels_show(rows: int, columns: int) -> bool:
    return not maths.labels_hide(rows, columns)


def read_numbers(message: Any, tag: str, sender: Party, count: int) -> list[int]:
    """Non-negative integers in hexadecimal; Mismatch for anything else."""
    try:
        values = [int(text, 16) for text in message[tag]]
        if len(values) != count or min(values) < 0:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise _malformed(tag, sender) from None
    return values


def read_go(message: Any, guest: bool) -> dict[str, Any]:
    """The arbiter's step lengths, at the guest also loss, decrease and change, all of them finite numbers."""
    names = tuple(Decision.__dataclass_fields__) if guest else STEP
    fields = message if isinstance(message, dict) else {}
    numbers = [fields.get(name) for name in names if name != "stop"]
    known = fields.get("stop") in STOPS and sorted(fields) == sorted(names)
    if not known or not all(isinstance(number, float) and math.isfinite(number) for number in numbers):
        raise Mismatch(
            "The arbiter's answer at the end of a round does not have the fields of this version.",
            remedy="Ask the arbiter which fedspark version it runs.",
        )
    return fields


def describe(number: int, told: Mapping[str, Any]) -> str:
    """'round 3: loss 0.412345, lower by 1.2e-04' as far as this party was told."""
    words = [] if told.get("loss") is None else [f"loss {told['loss']:.6f}"]
    if told.get("decrease"):
        words.append(f"lower by {told['decrease']:.1e}")
    if told["stop"]:
        words.append(f"stop: {told['stop']}")
    return f"round {number}: {', '.join(words) or 'done'}"


def _malformed(tag: str, sender: Party) -> Mismatch:
    return Mismatch(
        f"The message {tag!r} of {sender.name} does not have the form of this version.",
        remedy="Nothing of it was used. Ask the peer which fedspark version sent it.",
    )
