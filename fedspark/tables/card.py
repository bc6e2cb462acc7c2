"""The card of a staged table: what later steps, reports and people need to know about it, without a value in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class ColumnCard:
    """One column of the source.

    ``type`` is the source's word for its type. ``role`` is id, label, weight, time, feature or ignored; ``read_as``
    says what a column with a role became, ``null_share`` how many of its values were missing: both None if it was not
    read.
    """

    name: str
    type: str
    role: str
    null_share: float | None = None
    read_as: str | None = None


@dataclass(frozen=True)
class TableCard:
    """What was staged.

    ``rows`` counts the staged rows, ``dropped`` the rows of repeated ids that were left out, ``skipped`` the malformed
    lines that were, ``unread`` the lines with a value that is none of its column's type; ``skipped_lines`` and
    ``unread_values`` are words for the first of these, masked. ``notes`` are what the reader has to say (`Source`).
    ``label_counts`` maps "0" and "1" to rows, and is None without a label. ``constant`` names the features with one
    value in all rows. ``period`` is the first and the last day, in UTC, of a table with a time. ``distinct_share`` is
    about how many different keys there are for each row (`KeySample`), None if that was not looked for.

    ``checksum`` is the sum of a hash of every staged row (`metrics.content_sum`), in decimal: equal for equal content
    in any order. ``origin`` is what the source says of its own state (`Source`). ``sample`` is the share of ids that
    was asked for. ``bytes`` is the size of the chunks in the store. ``shapes`` is what some of the ids look like
    (`IdShapes` as JSON), None if nobody looked.
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
    unread: int = 0
    unread_values: tuple[str, ...] = ()
    period: tuple[str, str] | None = None
    distinct_share: float | None = None
    origin: dict[str, str | int] = field(default_factory=dict)
    sample: float | None = None

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
        for key in ("features", "constant", "skipped_lines", "unread_values", "notes"):
            content[key] = tuple(data.get(key, ()))
        content["period"] = tuple(data["period"]) if data.get("period") else None
        return cls(**content)
