"""Everything that is wrong with a table, gathered first and said at once; ids only masked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from fedspark.errors import TableError

EXAMPLES = 3
_LISTED = 20


def mask(text: str) -> str:
    """First and last character and the length of an id; nothing but the length below four characters."""
    shown = f"{text[0]}***{text[-1]}" if len(text) > 3 else "***"
    plural = "" if len(text) == 1 else "s"
    return f"{shown} ({len(text)} character{plural})"


def examples(ids: Sequence[str]) -> str:
    """``, for example p***1 (8 characters)``: up to three masked ids, or nothing."""
    return for_example([mask(text) for text in ids[:EXAMPLES]])


def for_example(texts: Sequence[str]) -> str:
    """``, for example a, b``, of what may be shown as it is, or nothing."""
    return f", for example {', '.join(texts)}" if texts else ""


def rows(count: int) -> str:
    """``1 row`` or ``n rows``."""
    return "1 row" if count == 1 else f"{count} rows"


def listed(names: Iterable[str]) -> str:
    """The names with commas between them, cut after the twentieth."""
    texts = list(names)
    more = f" and {len(texts) - _LISTED} more" if len(texts) > _LISTED else ""
    return ", ".join(texts[:_LISTED]) + more


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that ``name`` was most likely meant to be: equal but for case or spaces, else similar but for these."""
    candidates = {candidate.strip().casefold(): candidate for candidate in reversed(list(names))}
    close = get_close_matches(name.strip().casefold(), candidates, n=1, cutoff=0.6)
    return candidates[close[0]] if close else None


def meant(name: str, names: Iterable[str], otherwise: str) -> str:
    """``Did you mean 'age'?``, or the remedy ``otherwise`` where no name comes near."""
    close = nearest(name, names)
    return f"Did you mean {close!r}?" if close else otherwise


def repeated_keys(count: int, ids: Sequence[str]) -> tuple[str, str]:
    """Problem and remedy for ``count`` rows whose key an earlier row has; ``ids`` are some of the keys, not masked."""
    remedy = "Make ids unique at the source, or set `duplicates: drop` to keep one row of each."
    return f"{rows(count)} whose key is there already{examples(ids)}", remedy


@dataclass
class Problems:
    """Problems of one table. ``where`` names it and its path, as every message begins."""

    where: str
    found: list[tuple[str, str]] = field(default_factory=list)

    def add(self, problem: str, remedy: str) -> None:
        """One more thing that is wrong (a clause), and what to do about it (a sentence)."""
        self.found.append((problem, remedy))

    def __bool__(self) -> bool:
        return bool(self.found)

    def check(self) -> None:
        """Raise TableError with everything found, each problem beside its remedy; do nothing when nothing was."""
        if len(self.found) == 1:
            problem, remedy = self.found[0]
            raise TableError(f"{self.where}: {problem}.", remedy=remedy)
        if self.found:
            texts = [f"({number}) {problem}. {remedy}" for number, (problem, remedy) in enumerate(self.found, 1)]
            summary = f"{self.where} has {len(texts)} problems: {' '.join(texts)}"
            raise TableError(summary, remedy="Nothing of it was staged: correct all of them, then load it again.")
