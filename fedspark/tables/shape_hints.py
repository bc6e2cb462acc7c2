"""Where the ids of two parties are written differently, in sentences for people.

Only what both parties may see goes in: the outline of ``shapes.ShownShapes``. Every hint says what the ids of either
side look like and what to do about it. Ids that look alike give no hint, which does not prove that they are the same
ids.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fedspark.tables.shapes import IdShapes, Pattern, ShownClass, ShownShapes

_DIFFERENT = 10  # per cents in which two tables with the same kind of id are not expected to differ
_ZEROS = 2
_HASHED = (Pattern.HEXADECIMAL, Pattern.BASE64)
_DATES = (Pattern.ISO_DATE, Pattern.DATE)
_FIXED_LENGTH = (Pattern.DIGITS, Pattern.MIXED, Pattern.ISO_DATE)

_OTHER_COLUMN = "Name in `id` of both party files the column that holds the same kind of id"
_PAIRS: dict[frozenset[Pattern], str] = {
    frozenset({Pattern.HEXADECIMAL, Pattern.BASE64}): "If both are hashes, write both in hexadecimal digits.",
    frozenset({Pattern.HEXADECIMAL, Pattern.UUID}): "If both are UUIDs, write both with dashes or both without.",
    frozenset({Pattern.PHONE, Pattern.DIGITS}): "If both are phone numbers, write both with + and country prefix, "
    "or both without.",
    frozenset({Pattern.DIGITS, Pattern.SPREADSHEET}): "Write those of the spreadsheet again from their source, as "
    "plain digits: a spreadsheet may have rounded them.",
    frozenset({Pattern.DIGITS, Pattern.MIXED}): "If the numbers are the same and only one side writes letters with "
    "them, add the letters to the others or take them away.",
    frozenset(_DATES): "Write all dates as YYYY-MM-DD.",
}


@dataclass(frozen=True)
class _Sides:
    """What both sides look like, and how a sentence names them."""

    mine: ShownShapes
    theirs: ShownShapes
    me: str
    peer: str

    def differ(self, mine: str, theirs: str) -> str:
        return f"The ids of {self.peer} look like {theirs}; ours (of {self.me}) like {mine}"


def hints(mine: IdShapes | ShownShapes, theirs: IdShapes | ShownShapes, me: str, peer: str) -> list[str]:
    """Sentences on how the ids of ``peer`` are written otherwise than those of ``me``, for people of ``me``.

    Shapes of one's own may come as counted: only what would be shown is used. Empty when the shapes agree, or when one
    side has too few ids to say.
    """
    ours, others = (shapes.shown() if isinstance(shapes, IdShapes) else shapes for shapes in (mine, theirs))
    if not ours.classes or not others.classes:
        return []
    sides = _Sides(ours, others, me, peer)
    patterns = [one.pattern for one in (*ours.classes, *others.classes)]
    overlap = sum(min(ours.share(pattern), others.share(pattern)) for pattern in set(patterns))
    first, second = ours.classes[0], others.classes[0]
    if first.pattern is not second.pattern and overlap < 50:
        return [_other_kind(sides, first, second)]
    return [*_same_class(sides), *_one_sided(sides)]


def _other_kind(sides: _Sides, mine: ShownClass, theirs: ShownClass) -> str:
    """Most ids of the two sides are of different classes."""
    text = sides.differ(mine.describe(sides.mine.kind), theirs.describe(sides.theirs.kind))
    return f"{text}. {_remedy(sides, mine, theirs)}"


def _remedy(sides: _Sides, mine: ShownClass, theirs: ShownClass) -> str:
    pair = frozenset({mine.pattern, theirs.pattern})
    if Pattern.COMPOSITE in pair:
        return "Name the same columns in the same order in `id` of both party files."
    if pair in _PAIRS:
        return _PAIRS[pair]
    if mine.pattern in _HASHED or theirs.pattern in _HASHED:
        hashed, plain = ("ours", "theirs") if mine.pattern in _HASHED else ("theirs", "ours")
        return f"Hash {plain} the same way, or {hashed} not at all: the intersection hides ids without that."
    if Pattern.GROUPED in pair and pair & {Pattern.DIGITS, Pattern.PHONE}:
        return "Take blanks, dashes and the like out of the numbers on both sides."
    if pair & set(_DATES):
        return f"{_OTHER_COLUMN}; a date alone hardly tells people apart."
    return f"{_OTHER_COLUMN}."


def _same_class(sides: _Sides) -> Iterator[str]:
    """Differences inside classes that both sides have."""
    for mine in sides.mine.classes:
        theirs = next((one for one in sides.theirs.classes if one.pattern is mine.pattern), None)
        if theirs is None or min(mine.share, theirs.share) < _DIFFERENT:
            continue
        yield from _hashes(sides, mine, theirs)
        zeros = list(_zeros(sides, mine, theirs))
        yield from zeros or _lengths(sides, mine, theirs)
        yield from _cases(sides, mine, theirs)


def _hashes(sides: _Sides, mine: ShownClass, theirs: ShownClass) -> Iterator[str]:
    if mine.digest and theirs.digest and mine.digest != theirs.digest:
        yield f"{sides.differ(mine.describe(), theirs.describe())}. Hash both with the same function."


def _zeros(sides: _Sides, mine: ShownClass, theirs: ShownClass) -> Iterator[str]:
    """Leading zeros on one side only: the other has lost them, or never had any."""
    without, having = sorted((mine, theirs), key=lambda one: one.zeros)
    if without.zeros or having.zeros < _ZEROS or without.longest > having.longest:
        return
    texts = [_numbers(one, shapes.kind) for one, shapes in ((mine, sides.mine), (theirs, sides.theirs))]
    yield (
        f"{sides.differ(*texts)}. Set ids.type to integer in the pipeline file, which drops leading zeros "
        "on both sides, or pad the shorter ones with zeros."
    )


def _numbers(one: ShownClass, kind: str) -> str:
    what = "integers" if kind == "integer" else "digits in text"
    return f"{what} with leading zeros in {one.zeros} %" if one.zeros else f"{what} without leading zeros"


def _lengths(sides: _Sides, mine: ShownClass, theirs: ShownClass) -> Iterator[str]:
    """Lengths of which none is common to both."""
    if mine.pattern not in _FIXED_LENGTH or not mine.longest or not theirs.longest:
        return
    if mine.shortest <= theirs.longest and theirs.shortest <= mine.longest:
        return
    texts = [one.describe(kind) for one, kind in ((mine, sides.mine.kind), (theirs, sides.theirs.kind))]
    if mine.pattern is Pattern.ISO_DATE:
        texts = [f"{text} of {one.commonest} characters" for text, one in zip(texts, (mine, theirs), strict=True)]
        remedy = "Write dates without the time of day, or both with it."
    elif mine.pattern is Pattern.DIGITS:
        remedy = "Look for a country prefix, a check digit or padding that only one side writes."
    else:
        remedy = "Look for a prefix, a check digit or padding that only one side writes."
    yield f"{sides.differ(*texts)}. {remedy}"


def _cases(sides: _Sides, mine: ShownClass, theirs: ShownClass) -> Iterator[str]:
    if all(abs(first - second) < _DIFFERENT for first, second in zip(mine.case, theirs.case, strict=True)):
        return
    phrase = ShownClass(mine.pattern, 100, 0, (0, 0, 0), *(3 * (mine.longest if mine.digest else 0,))).describe()
    yield (
        f"Of both sides ids look like {phrase}, but {_letters(theirs)} at {sides.peer} and {_letters(mine)} with us "
        f"({sides.me}). Upper and lower case are different ids: write both in lower case."
    )


def _letters(one: ShownClass) -> str:
    words = zip(one.case, ("lower case", "upper case", "both cases mixed"), strict=True)
    parts = [f"in {word}" if share == 100 else f"{share} % in {word}" for share, word in words if share]
    return " and ".join(parts) or "without letters"


def _one_sided(sides: _Sides) -> Iterator[str]:
    """Classes that some ids of one side have, and none of the other."""
    for shapes, others, who, whom in (
        (sides.theirs, sides.mine, sides.peer, f"ours (of {sides.me})"),
        (sides.mine, sides.theirs, sides.me, f"those of {sides.peer}"),
    ):
        for one in shapes.classes:
            if one.share >= _DIFFERENT and not others.share(one.pattern):
                yield (
                    f"{one.share} % of the ids of {who} look like {one.describe(shapes.kind)}; {whom} hardly ever do. "
                    "People who are written so on one side only cannot be matched."
                )
