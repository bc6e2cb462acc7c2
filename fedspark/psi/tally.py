"""What an intersection leaves where a party does not learn who is common."""

from __future__ import annotations

from dataclasses import dataclass

from fedspark.psi.align import Source
from fedspark.psi.sizes import Plan


@dataclass(frozen=True)
class Tally:
    """Beside an ``Alignment`` the other thing that a role may return. ``rows`` is how many people are common, None
    where this party is not told; ``rows_by_party`` the rows of every data party's table. Nobody's rows are kept.
    """

    table: str
    rows: int | None
    rows_mine: int
    rows_by_party: dict[str, int]

    @staticmethod
    def of(source: Source, plan: Plan, rows: int | None) -> Tally:
        """The tally of our table after an intersection."""
        return Tally(source.name, rows, source.rows, dict(plan.rows))
