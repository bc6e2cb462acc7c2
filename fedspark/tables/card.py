"""The card of a staged table: what later steps, reports and people need to know about it, without a value in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class ColumnCard:
    """One column of the source.

    ``role`` is id, label, weight, feature or ignored; ``null_share`` is None if it was not read.
    """

    name: str
    type: str
    role: str
    null_share: float | None = None


@dataclass(frozen=True)
class TableCard:
    """What was staged.

    ``rows`` counts the staged rows, ``dropped`` the rows of repeated ids that were left out, ``skipped`` the malformed
    lines that were; ``skipped_lines`` are words for the first of these, masked. ``notes`` are what the reader has to
    say (`Source`). ``label_counts`` maps "0" and "1" to rows, and is None without a label. ``constant`` names the
    features with one value in all rows. ``checksum`` is the sum of a hash of every staged row (`metrics.content_sum`),
    in decimal: equal for equal content in any order. ``bytes`` is the size of the chunks in the store. ``shapes`` is
    what some of the ids look like (`IdShapes` as JSON), None if nobody looked.
    """

    name: str
    rows: int
    dropped: int
    columns: tuple[ColumnCard, ...]
    features: tuple[str, ...]
    label_counts: dict[str, int] | None
    constant: tuple[str, ...]
    checksum: str
    bytes: int
    seconds: float
    shapes: dict[str, Any] | None = None
    skipped: int = 0
    skipped_lines: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether the table has no row; then nothing but its columns was checked."""
        return self.rows == 0

    @property
    def ids(self) -> tuple[str, ...]:
        """Names of the id columns, in the order in which they make up the key."""
        return tuple(column.name for column in self.columns if column.role == "id")

    def to_json(self) -> dict[str, Any]:
        """The card as JSON data; ``from_json`` gives it back."""
        return {**asdict(self), "empty": self.empty}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TableCard:
        """The card that ``to_json`` wrote."""
        content = {key: value for key, value in data.items() if key != "empty"}
        content["columns"] = tuple(ColumnCard(**column) for column in data["columns"])
        for key in ("features", "constant", "skipped_lines", "notes"):
            content[key] = tuple(data.get(key, ()))
        return cls(**content)
