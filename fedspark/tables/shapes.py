"""Shapes of ids: what the keys of a table look like (digits, hashes, e-mail addresses, ...), without any key.

Two tables whose ids are written differently have nobody in common, and the protocol cannot say why: it sees equal or
not. So the parties may tell each other the shapes of their ids, and ``shape_hints`` puts into words where they differ.

``IdShapes`` counts exactly and stays with its party. ``shown`` makes of it the ``ShownShapes`` that may leave: whole
per cents, and nothing that fewer than 20 of the ids looked at, or fewer than 1 %, have or lack. Who receives it learns
of which kinds the ids are, roughly how many of each, and how long; not a single id, and nothing of a single odd one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fedspark.errors import Mismatch

SAMPLE = 10_000
KINDS = ("text", "integer", "date")
LONGEST = 129
FEWEST = 20
_MAX_COUNT = 1 << 48
_MAX_SHOWN = 6
_NO_CASE, _LOWER, _UPPER, _MIXED = range(4)


class Pattern(StrEnum):
    """Classes of ids. An id belongs to the first whose expressions it matches, in the order of ``_EXPRESSIONS``."""

    DIGITS = "digits"
    COMPOSITE = "composite"
    HEXADECIMAL = "hexadecimal"
    UUID = "uuid"
    EMAIL = "e-mail"
    PHONE = "phone"
    ISO_DATE = "iso-date"
    DATE = "date"
    SPREADSHEET = "spreadsheet-number"
    GROUPED = "grouped-digits"
    BASE64 = "base64"
    WORDS = "words"
    MIXED = "letters-and-digits"
    OTHER = "other"


DIGESTS = {32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}
_HEX = "|".join(f"[0-9A-Fa-f]{{{length}}}" for length in DIGESTS)
# RE2: no look-ahead, so several expressions must match where one cannot say it.
_EXPRESSIONS: dict[Pattern, tuple[str, ...]] = {
    Pattern.DIGITS: (r"^-?[0-9]+$",),
    Pattern.COMPOSITE: ("\x1f",),
    Pattern.HEXADECIMAL: (f"^(?:{_HEX})$",),
    Pattern.UUID: (r"^\{?[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}\}?$",),
    Pattern.EMAIL: (r"^[^@\s]+@[^@\s]+\.[^@\s.]+$",),
    Pattern.PHONE: (r"^\+[0-9]{7,15}$",),
    Pattern.ISO_DATE: (r"^[0-9]{4}-[01][0-9]-[0-3][0-9](?:[T ][0-9:.,+Z-]+)?$",),
    Pattern.DATE: (
        r"^(?:[0-3]?[0-9][./-][0-3]?[0-9][./-](?:[0-9]{2}|[0-9]{4})|[0-9]{4}[./][01]?[0-9][./][0-3]?[0-9])$",
    ),
    Pattern.SPREADSHEET: (r"^-?[0-9]+(?:[.,]0{1,2}|(?:[.,][0-9]+)?[eE]\+[0-9]+)$",),
    Pattern.GROUPED: (r"^\+?\(?[0-9]+(?:[ ()./-]+[0-9]+)+$",),
    Pattern.BASE64: (r"^[A-Za-z0-9+/_-]{16,}={0,2}$", "[a-z]", "[A-Z]", "[0-9+/=]"),
    Pattern.WORDS: (r"^\pL[\pL\pM .'’-]*$",),
    Pattern.MIXED: (r"^[\pL\pM\pN _./:#-]+$", r"\pL", r"\pN"),
}
_PATTERNS = tuple(Pattern)
_INDEX = {pattern: index for index, pattern in enumerate(_PATTERNS)}
_CASED = (Pattern.HEXADECIMAL, Pattern.UUID, Pattern.EMAIL, Pattern.WORDS, Pattern.MIXED, Pattern.COMPOSITE,
          Pattern.OTHER)  # fmt: skip


class Shape(NamedTuple):
    """Shape of an id: its class, its characters (129 for 129 or more), its letters (0 none or without meaning, 1 lower,
    2 upper, 3 both cases), and whether it is a number of several digits that begins with 0.
    """

    pattern: Pattern
    length: int
    case: int
    zero: bool


@dataclass(frozen=True)
class IdShapes:
    """How many ids have which shape. Private: exact counts, for this party's own tasks and files; see ``shown``.

    ``kind`` is what the source column held before it became text: "text", "integer" or "date" ("text" for a key of
    several columns).
    """

    kind: str
    counts: Mapping[Shape, int]

    @property
    def total(self) -> int:
        """Ids that were looked at."""
        return sum(self.counts.values())

    def merge(self, other: IdShapes) -> IdShapes:
        """Counts of both; ValueError when they are not of one kind, as chunks of one table are."""
        if self.kind != other.kind:
            raise ValueError(f"shapes of {self.kind} and of {other.kind} columns do not add up")
        return IdShapes(self.kind, dict(Counter(self.counts) + Counter(other.counts)))

    def to_json(self) -> dict[str, Any]:
        """JSON data for this party's own files, equal for equal counts; ``from_json`` gives them back."""
        rows = [
            [str(shape.pattern), shape.length, shape.case, int(shape.zero), count]
            for shape, count in sorted(self.counts.items())
        ]
        return {"kind": self.kind, "shapes": rows}

    @classmethod
    def from_json(cls, value: Any) -> IdShapes:
        """What ``to_json`` wrote; ValueError for anything else."""
        if not isinstance(value, dict) or set(value) != {"kind", "shapes"} or not isinstance(value["shapes"], list):
            raise ValueError("shapes are an object with the fields kind and shapes, a list")
        if value["kind"] not in KINDS:
            raise ValueError(f"the kind of shapes is one of {', '.join(KINDS)}")
        counts: dict[Shape, int] = {}
        for row in value["shapes"]:
            shape, count = _row(row)
            if shape in counts:
                raise ValueError(f"the shape {row[:4]} occurs twice")
            counts[shape] = count
        return cls(value["kind"], counts)

    def shown(self) -> ShownShapes:
        """The outline that may leave this party."""
        classes = [(pattern, self._of(pattern)) for pattern in _PATTERNS]
        sizes = {pattern: sum(counts.values()) for pattern, counts in classes}
        kept = [(pattern, counts) for pattern, counts in classes if not _few(sizes[pattern], self.total)]
        kept = sorted(kept, key=lambda item: -sizes[item[0]])[:_MAX_SHOWN]
        # Shares are of what is shown: the rest, which may be one id, leaves no gap to 100.
        whole = sum(sizes[pattern] for pattern, _ in kept)
        return ShownShapes(
            self.kind, tuple(_shown_class(pattern, counts, _share(sizes[pattern], whole)) for pattern, counts in kept)
        )

    def describe(self) -> str:
        """What ``shown`` says, in words: ``32 lower-case hexadecimal digits (as md5)``."""
        return self.shown().describe()

    def _of(self, pattern: Pattern) -> dict[Shape, int]:
        return {shape: count for shape, count in self.counts.items() if shape.pattern is pattern}


@dataclass(frozen=True)
class ShownClass:
    """One class of ids as it is shown: its share among all classes shown, the share of its ids with leading zeros, the
    shares in lower, upper and both cases; all whole per cents. Lengths in characters are those that enough ids have;
    0 where no length is that common.
    """

    pattern: Pattern
    share: int
    zeros: int
    case: tuple[int, int, int]
    shortest: int
    longest: int
    commonest: int

    @property
    def digest(self) -> str | None:
        """The hash function whose hexadecimal digits these would be."""
        return DIGESTS.get(self.commonest) if self.pattern is Pattern.HEXADECIMAL else None

    def describe(self, kind: str = "text") -> str:
        """A plural phrase: ``11 digits, leading zeros in 3 %``."""
        text = _PHRASES[self.pattern].format(length=self._length(), case=self._case())
        if self.pattern is Pattern.DIGITS and kind == "integer":
            text = f"integers of {text}"
        if self.pattern is Pattern.ISO_DATE and kind == "date":
            text = "dates of a date column"
        if self.digest:
            text += f" (as {self.digest}{' or a UUID without dashes' if self.commonest == 32 else ''})"
        return text + (f", leading zeros in {self.zeros} %" if self.zeros else "")

    def _length(self) -> str:
        if not self.longest:
            return ""
        if self.shortest == self.longest:
            return f"{self.longest} " if self.longest < LONGEST else f"{LONGEST} or more "
        return f"{self.shortest} to {self.longest} "

    def _case(self) -> str:
        lower, upper, mixed = self.case
        return next((word for share, word in ((lower, "lower-case "), (upper, "upper-case ")) if share == 100),
                    "mixed-case " if mixed or (lower and upper) else "")  # fmt: skip


_PHRASES = {
    Pattern.DIGITS: "{length}digits",
    Pattern.COMPOSITE: "keys of several columns",
    Pattern.HEXADECIMAL: "{length}{case}hexadecimal digits",
    Pattern.UUID: "{case}UUIDs with dashes",
    Pattern.EMAIL: "{case}e-mail addresses",
    Pattern.PHONE: "phone numbers with + and country prefix",
    Pattern.ISO_DATE: "dates as YYYY-MM-DD",
    Pattern.DATE: "dates that are not written as YYYY-MM-DD",
    Pattern.SPREADSHEET: "numbers as spreadsheets write them (12.0 or 1.2E+10)",
    Pattern.GROUPED: "digits in groups with blanks, dashes or the like between them",
    Pattern.BASE64: "{length}characters as of base64",
    Pattern.WORDS: "{case}words",
    Pattern.MIXED: "{length}{case}letters and digits",
    Pattern.OTHER: "texts of no known form",
}


@dataclass(frozen=True)
class ShownShapes:
    """Shapes as another party may see them, commonest class first. Empty when the ids are too few to say."""

    kind: str
    classes: tuple[ShownClass, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON data of at most 1 kB for the other parties; no text in it but the names of kinds and classes."""
        fields = [
            {"class": str(one.pattern), "share": one.share, "zeros": one.zeros, "case": list(one.case),
             "lengths": [one.shortest, one.longest, one.commonest]}
            for one in self.classes
        ]  # fmt: skip
        return {"kind": self.kind, "shapes": fields}

    @classmethod
    def from_json(cls, value: Any, sender: str) -> ShownShapes:
        """What ``to_json`` of the party ``sender`` wrote; Mismatch for anything else."""
        if not isinstance(value, dict) or set(value) != {"kind", "shapes"} or value["kind"] not in KINDS:
            raise _malformed(sender, f"a kind ({', '.join(KINDS)}) and shapes")
        if not isinstance(value["shapes"], list) or len(value["shapes"]) > _MAX_SHOWN:
            raise _malformed(sender, f"a list of at most {_MAX_SHOWN} shapes")
        classes = tuple(_class_from_json(item, sender) for item in value["shapes"])
        if len({one.pattern for one in classes}) < len(classes):
            raise _malformed(sender, "every class once")
        shares = [one.share for one in classes]
        if shares != sorted(shares, reverse=True) or (shares and abs(sum(shares) - 100) > len(shares)):
            raise _malformed(sender, "shares in per cent, largest first")
        return cls(value["kind"], classes)

    def describe(self) -> str:
        """``11 digits, leading zeros in 3 %``; with several classes, the share of each before it."""
        if not self.classes:
            return "too few ids to say"
        if len(self.classes) == 1:
            return self.classes[0].describe(self.kind)
        return "; ".join(f"{one.share} %: {one.describe(self.kind)}" for one in self.classes)

    def share(self, pattern: Pattern) -> int:
        """Per cent of the ids that are of the class."""
        return next((one.share for one in self.classes if one.pattern is pattern), 0)


def shapes_of(keys: pa.Array | pa.ChunkedArray, kind: str = "text") -> IdShapes:
    """Shapes of normalised keys (text; nulls are left out) of a source column of that kind.

    Of more than 10,000 keys, 10,000 evenly spaced ones are looked at, so that a table sorted by kind of id is seen
    whole; always the same ones. Every chunk counts by what was looked at. Takes about 10 ms.
    """
    if kind not in KINDS:
        raise ValueError(f"the kind of a key column is one of {', '.join(KINDS)}, not {kind!r}")
    if len(keys) > SAMPLE:
        keys = keys.take(pa.array(np.linspace(0, len(keys) - 1, SAMPLE).astype(np.int64)))
    if isinstance(keys, pa.ChunkedArray):
        keys = keys.combine_chunks()
    texts = keys.cast(pa.string()).drop_null()
    patterns = _classify(texts)
    lengths = np.minimum(pc.utf8_length(texts).to_numpy(zero_copy_only=False), LONGEST).astype(np.int64)
    zeros = (patterns == _INDEX[Pattern.DIGITS]) & (lengths > 1) & _mask(pc.starts_with(texts, "0"))
    codes = np.ravel_multi_index((patterns, lengths, _cases(texts, patterns), zeros), _DIMENSIONS)
    values, counts = np.unique(codes, return_counts=True)
    places = zip(*(axis.tolist() for axis in np.unravel_index(values, _DIMENSIONS)), strict=True)
    shapes = (Shape(_PATTERNS[pattern], length, case, bool(zero)) for pattern, length, case, zero in places)
    return IdShapes(kind, dict(zip(shapes, counts.tolist(), strict=True)))


_DIMENSIONS = (len(_PATTERNS), LONGEST + 1, 4, 2)


def _classify(texts: pa.Array) -> np.ndarray:
    """int64[len(texts)]: the class of every text. Ids are much alike, so few are left after the first expressions."""
    found = np.full(len(texts), _INDEX[Pattern.OTHER])
    left = np.arange(len(texts))
    for pattern, expressions in _EXPRESSIONS.items():
        if not len(left):
            break
        hit = np.ones(len(left), bool)
        for expression in expressions:
            hit &= _mask(pc.match_substring_regex(texts, expression))
            if not hit.any():
                break
        found[left[hit]] = _INDEX[pattern]
        if hit.any():
            left, texts = left[~hit], texts.filter(pa.array(~hit))
    return found


def _cases(texts: pa.Array, patterns: np.ndarray) -> np.ndarray:
    cases = np.full(len(texts), _NO_CASE)
    cased = np.isin(patterns, [_INDEX[pattern] for pattern in _CASED])
    some = texts.filter(pa.array(cased))
    lower, upper = (_mask(pc.match_substring_regex(some, expression)) for expression in (r"\p{Ll}", r"\p{Lu}"))
    cases[cased] = _LOWER * lower + _UPPER * upper
    return cases


def _mask(values: pa.Array) -> np.ndarray:
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=bool)


def _few(part: int, whole: int) -> bool:
    return part < FEWEST or part * 100 < whole


def _share(part: int, whole: int) -> int:
    """Whole per cents; 0 or 100 where few have it or few lack it, and else neither."""
    if _few(part, whole):
        return 0
    return 100 if _few(whole - part, whole) else min(99, max(1, round(100 * part / whole)))


def _shown_class(pattern: Pattern, counts: Mapping[Shape, int], share: int) -> ShownClass:
    whole = sum(counts.values())
    lengths: Counter[int] = Counter()
    for shape, count in counts.items():
        lengths[shape.length] += count
    common = {length: count for length, count in lengths.items() if not _few(count, whole)}
    lower, upper, mixed = (_share(_sum(counts, case), whole) for case in (_LOWER, _UPPER, _MIXED))
    return ShownClass(
        pattern,
        share,
        zeros=_share(sum(count for shape, count in counts.items() if shape.zero), whole),
        case=(lower, upper, mixed),
        shortest=min(common, default=0),
        longest=max(common, default=0),
        commonest=min(common, key=lambda length: (-common[length], length), default=0),
    )


def _sum(counts: Mapping[Shape, int], case: int) -> int:
    return sum(count for shape, count in counts.items() if shape.case == case)


def _row(row: Any) -> tuple[Shape, int]:
    """A shape and its count, of one list in the JSON of ``IdShapes``."""
    if not isinstance(row, list) or len(row) != 5 or row[0] not in _PATTERNS or not _within(row[1:], 0, _MAX_COUNT):
        raise ValueError("a shape is a list of class, length, case, zero and count")
    pattern, length, case, zero, count = row
    if length > LONGEST or case > _MIXED or zero > 1 or count < 1:
        raise ValueError(f"length, case, zero or count of a shape is out of range: {row[1:]}")
    return Shape(Pattern(pattern), length, case, bool(zero)), count


def _class_from_json(item: Any, sender: str) -> ShownClass:
    fields = {"class", "share", "zeros", "case", "lengths"}
    if not isinstance(item, dict) or set(item) != fields or item["class"] not in _PATTERNS:
        raise _malformed(sender, "shapes of a known class with share, zeros, case and lengths")
    case, lengths = item["case"], item["lengths"]
    if any(not isinstance(numbers, list) or len(numbers) != 3 for numbers in (case, lengths)):
        raise _malformed(sender, "three numbers as case and as lengths")
    if not _within([item["share"], item["zeros"], *case], 0, 100) or not _within(lengths, 0, LONGEST):
        raise _malformed(sender, f"whole per cents, and lengths from 0 to {LONGEST}")
    shortest, longest, commonest = lengths
    if not item["share"] or sum(case) > 102 or not shortest <= commonest <= longest:
        raise _malformed(sender, "shares and lengths that fit together")
    return ShownClass(Pattern(item["class"]), item["share"], item["zeros"], (case[0], case[1], case[2]), *lengths)


def _within(numbers: Iterable[Any], least: int, most: int) -> bool:
    return all(type(number) is int and least <= number <= most for number in numbers)


def _malformed(sender: str, rule: str) -> Mismatch:
    return Mismatch(
        f"The shapes of ids that {sender} shows are malformed: they must have {rule}.",
        remedy="Ask them which fedspark version they run.",
    )
