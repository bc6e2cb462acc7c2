"""Numbers out of text, as `values.number` says: what Java's parser takes, without its letters for types and its hex."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

_BLANK = "".join(map(chr, range(33)))
_PLAIN = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_JAVA = re.compile(r"[+-]?(NaN|Infinity)")
_ANY_CASE = re.compile(r"nan|[+-]?inf(inity)?")
_ARROW = r"^-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"


def numbers_of(values: pa.Array) -> pa.DoubleArray:
    """Numbers or texts, each as it is or by a dictionary, as doubles; null where there is nothing, or no number."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if not _is_text(values.type):
        return pc.cast(values, pa.float64(), safe=False)
    try:
        found = pc.cast(values, pa.float64())
    except pa.ArrowInvalid:
        return _one_by_one(values)
    # Arrow also knows nan(1), and infinities by other names.
    return found if pc.all(pc.is_finite(found), min_count=0).as_py() else _one_by_one(values)


def number(text: str) -> float | None:
    """One text as a number, if it is one."""
    trimmed = text.strip(_BLANK)
    if _PLAIN.fullmatch(trimmed) or _JAVA.fullmatch(trimmed) or _ANY_CASE.fullmatch(trimmed.lower()):
        return float(trimmed)
    return None


def _one_by_one(values: pa.Array) -> pa.DoubleArray:
    """The many that Arrow reads in the same way by Arrow, each of the others by itself."""
    values = values.cast(pa.string())
    plain = pc.fill_null(pc.match_substring_regex(values, _ARROW), False)
    try:
        found = pc.cast(pc.if_else(plain, values, pa.scalar(None, pa.string())), pa.float64())
    except pa.ArrowInvalid:  # a number beyond all doubles
        return pa.array([None if text is None else number(text) for text in values.to_pylist()], pa.float64())
    others = pc.and_(pc.invert(plain), pc.is_valid(values))
    if not others.true_count:
        return found
    replaced = pa.array([number(text) for text in values.filter(others).to_pylist()], pa.float64())
    return pc.replace_with_mask(found, others, replaced)


def _is_text(data_type: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_string(data_type) or types.is_large_string(data_type) or types.is_string_view(data_type))
