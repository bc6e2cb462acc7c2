"""What the ids of all parties look like: told before anything is computed, so that a poor match can be explained.

Parties show shapes of ids (``tables.shapes``) to those who show theirs: ``agree`` says in the message ``size`` who
does, and has the shapes in the message ``nonce``. They are frozen when a step begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from fedspark.psi.align import Source
from fedspark.run import Run
from fedspark.tables.shape_hints import hints
from fedspark.tables.shapes import ShownShapes

POOR = 0.01
"""Where less of the smallest table is common, people are told what may be the reason."""

_SHOWN, _LOOKS = "psi/shapes", "psi/looks"


@dataclass(frozen=True)
class Looks:
    """``ids`` says in words what those of each party look like, None where they are not shown; ``hints`` are sentences
    on where ours are written otherwise than those of others. No id is in it.
    """

    ids: dict[str, str | None] = field(default_factory=dict)
    hints: list[str] = field(default_factory=list)

    @staticmethod
    def of(run: Run) -> Looks:
        """What the run's current step has found out; empty before that."""
        path = run.path(f"{_LOOKS}.json")
        return Looks(**run.workspace.read_json(path)) if run.workspace.exists(path) else Looks()

    def explain(self) -> str:
        """Why few people may be common, in sentences."""
        if self.hints:
            return " ".join(self.hints)
        hidden = [name for name, words in self.ids.items() if words is None]
        if hidden or not self.ids:
            who = f"What the ids of {' and '.join(hidden)} look like is not shown. " if hidden else ""
            return f"{who}Check that all sides use the same kind of id, written alike."
        (first, *_) = self.ids.values()
        return f"The ids look alike on all sides ({first}): check that they are the same numbers of the same people."


def shown_shapes(run: Run, source: Source) -> ShownShapes | None:
    """What others may be told about our ids; None when the policy forbids it or nobody has looked."""
    show = run.party_conf.policy.show_id_shapes
    frozen = run.once(_SHOWN, lambda: source.shapes.shown().to_json() if show and source.shapes else None)
    return None if frozen is None else ShownShapes.from_json(frozen, run.me.name)


def compare(run: Run, shapes: Mapping[str, ShownShapes | None], rows: Mapping[str, int]) -> None:
    """Keep what the ids of all parties look like (``shapes``, and ``rows`` of the table, by party), and say where ours
    are written otherwise, and whose table is empty.
    """
    mine = shapes[run.me.name]
    empty = [f"The table of {name} is empty." for name, count in rows.items() if not count]
    looks = Looks(
        {name: None if one is None else one.describe() for name, one in shapes.items()},
        empty
        + [
            hint
            for name, theirs in shapes.items()
            if name != run.me.name and mine is not None and theirs is not None
            for hint in hints(mine, theirs, run.me.name, name)
        ],
    )
    run.once(_LOOKS, lambda: asdict(looks))
    for hint in looks.hints:
        run.progress.say(f"check: {hint}")


def poor_match(run: Run, rows: int, rows_by_party: Mapping[str, int]) -> str:
    """A sentence or more when ``rows`` common people are suspiciously few; else nothing."""
    smallest = min(rows_by_party.values(), default=0)
    if not smallest or rows >= POOR * smallest:
        return ""
    share = f"{100 * rows / smallest:.2g} % of the smallest table" if rows else "No id"
    return f"{share} is common to all. {Looks.of(run).explain()}"
