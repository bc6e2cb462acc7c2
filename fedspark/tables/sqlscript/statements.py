"""Statements of a dump, one after the other, as SQLGlot's tokens. Executors import this file: no Spark in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from fedspark.errors import TableError

_PIECE = 1 << 18
_LONGEST = 1 << 25
_MODIFIERS = {"IF", "NOT", "EXISTS", "TEMPORARY", "LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE", "TABLE", "INTO"}
_CHANGES = {"UPDATE", "DELETE", "TRUNCATE", "REPLACE", "LOAD", "RENAME", "DROP"}


@dataclass(frozen=True)
class Statement:
    """The ``tokens`` of one statement within ``text``, which begins at ``line`` (from 1) of the dump."""

    tokens: Sequence[Any]
    text: str
    line: int

    @property
    def kind(self) -> str:
        """Its first word, in upper case."""
        return str(self.tokens[0].text).upper()

    def source(self, first: int = 0, last: int = -1) -> str:
        """Its text from one token to another, both included."""
        return self.text[self.tokens[first].start : self.tokens[last].end + 1]

    def target(self) -> tuple[str | None, str, int]:
        """Database (None if not said) and name of the table of a CREATE TABLE or INSERT, and where its name ends."""
        at = 1
        while at < len(self.tokens) - 1 and self.tokens[at].text.upper() in _MODIFIERS and not _quoted(self.tokens[at]):
            at += 1
        if at + 2 < len(self.tokens) and self.tokens[at + 1].text == ".":
            return self.tokens[at].text, self.tokens[at + 2].text, at + 3
        return None, self.tokens[min(at, len(self.tokens) - 1)].text, at + 1

    def creates_table(self) -> bool:
        """Whether it is a CREATE TABLE."""
        return self.kind == "CREATE" and "TABLE" in (token.text.upper() for token in self.tokens[1:3])

    def changes(self, table: str) -> bool:
        """Whether it changes rows of ``table`` in a way that only a server can follow."""
        if self.kind not in _CHANGES:
            return False
        words = self.tokens[1:]
        if len(words) == 1:  # SQLGlot keeps the rest of what it does not parse as one text
            words = dialect().tokenize(words[0].text)
        return any(word.text == table and word.token_type.name != "STRING" for word in words)


def statements(where: str, lines: Iterable[str], limit: int) -> Iterator[Statement]:
    """The statements of a dump, routines left out. ``where`` begins messages; ``limit`` is in characters.

    TableError for a dump that is longer, for a statement of more than 32 Mi characters and for text that is no SQL;
    no message quotes the dump.
    """
    splitter = _Splitter(where)
    buffer: list[str] = []
    size = total = 0
    for line in lines:
        buffer.append(line if total else line.removeprefix("\ufeff"))
        size += len(line) + 1
        total += len(line) + 1
        if total > limit:
            raise too_large(where, limit)
        if size > splitter.due and line.rstrip().endswith(";"):
            rest, found = splitter.split("\n".join(buffer) + "\n", last=False)
            yield from found
            buffer, size = ([rest[:-1]], len(rest)) if rest else ([], 0)
    if buffer:
        yield from splitter.split("\n".join(buffer) + "\n", last=True)[1]


def too_large(where: str, limit: int) -> TableError:
    """A dump is for small tables."""
    remedy = (
        "Read the table from its server (`kind: mysql`), or have it exported as Parquet; raise `max_megabytes` where "
        "neither can be had."
    )
    return TableError(f"{where}: the dump is larger than {limit >> 20} MB.", remedy=remedy)


@cache
def dialect() -> Any:
    """SQLGlot's MySQL."""
    from sqlglot.dialects.mysql import MySQL

    return MySQL()


def _quoted(token: Any) -> bool:
    return bool(token.token_type.name == "IDENTIFIER")


class _Splitter:
    """Cuts text into statements; remembers the line it is at, and whether that is inside a routine."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.due = _PIECE
        self._line = 1
        self._in_routine = False

    def split(self, text: str, *, last: bool) -> tuple[str, list[Statement]]:
        """The text after the last whole statement, and the statements before it."""
        from sqlglot.errors import TokenError

        try:
            tokens = dialect().tokenize(text)
        except TokenError:
            # A line that ends within a text may end like a statement: only more of it can tell.
            if last or len(text) > _LONGEST:
                raise self._unreadable() from None
            self.due = 2 * len(text)
            return text, []
        self.due = _PIECE
        ends = [at for at, token in enumerate(tokens) if token.token_type.name == "SEMICOLON"]
        if last and tokens and (not ends or ends[-1] < len(tokens) - 1):
            ends.append(len(tokens))
        found, begin, done = [], 0, 0
        for end in ends:
            part = tokens[begin:end]
            if self._counts(part):
                found.append(Statement(part, text, self._line + part[0].line - 1))
            begin, done = end + 1, tokens[min(end, len(tokens) - 1)].end + 1
        if not ends and len(text) > _LONGEST:
            raise self._unreadable()
        rest = text[done:] if text[done:].strip() else ""
        self._line += text.count("\n", 0, len(text) - len(rest))
        return rest, found

    def _counts(self, tokens: Sequence[Any]) -> bool:
        """Whether a statement is one of the dump's own: those of routines stand between two DELIMITER lines."""
        switches = sum(
            token.text.upper() == "DELIMITER"
            and token.token_type.name == "VAR"
            and (at == 0 or tokens[at - 1].line < token.line)
            for at, token in enumerate(tokens)
        )
        inside = self._in_routine
        self._in_routine ^= switches % 2 == 1
        return bool(tokens) and not inside and not switches

    def _unreadable(self) -> TableError:
        remedy = "Write the dump again with mysqldump's own settings (--net-buffer-length=1M keeps statements short)."
        what = "a text or comment does not end, or a statement is longer than 32 MB"
        return TableError(f"{self.where}: it is not readable as SQL after line {self._line}: {what}.", remedy=remedy)
