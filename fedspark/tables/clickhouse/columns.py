"""Columns as they are stored in ClickHouse: their types, their bytes in its native format, and hashes of their values
that Python and the server compute alike. No Spark.

A hash is of what is stored, 64 bits, vectorised here and portable SQL there (18.16 to current):

    integers, dates, booleans, times   intHash64 of the integer
    floats                             intHash64 of the bits of the Float64 (NaN and -0.0 are values like others)
    decimals                           intHash64 of the unscaled integer; with over 18 digits of both halves in turn
    text, bytes                        sipHash64 (SipHash-2-4, key 0)
    NULL                               a constant, which is none of these for '' or 0
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fedspark.tables.clickhouse.sql import quoted

U64 = npt.NDArray[np.uint64]

NULL_HASH = 0x9E3779B97F4A7C15
_INT_SEED = np.uint64(0x4CF2D2BAAE6DA887)
_DECIMAL = re.compile(r"decimal\((\d+),(\d+)\)")
_PLAIN = {
    **{f"{sign}int{bits}": f"{sign.upper()}Int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "float32": "Float32",
    "float64": "Float64",
    "boolean": "UInt8",
    "text": "String",
    "bytes": "String",
}
_TRUE, _FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")  # as Spark reads them
_DAY = 86_400_000_000
_DAYS = {
    "Date": (1, 49_672),  # 1970-01-02 to 2105-12-31: of days before and after, 18.16 shows others
    "Date32": (-25_567, 120_529),  # 1900-01-01 to 2299-12-31
}


@dataclass(frozen=True)
class Target:
    """A column to be stored: its ``type`` there, ``nullable`` or not; ``source`` is its type in the source's words."""

    name: str
    type: str
    nullable: bool
    source: str

    @property
    def sql_type(self) -> str:
        """The type as it is declared."""
        return f"Nullable({self.type})" if self.nullable else self.type

    @property
    def decimal(self) -> tuple[int, int] | None:
        """Digits and scale of a decimal."""
        found = re.fullmatch(r"Decimal\((\d+), (\d+)\)", self.type)
        return (int(found[1]), int(found[2])) if found else None

    @property
    def arrow(self) -> pa.DataType:
        """The type of the arrays that ``encoded`` and ``hashes`` take."""
        if self.decimal:
            return pa.decimal128(*self.decimal)
        fixed = {"String": pa.large_binary(), "Date": pa.date32(), "Date32": pa.date32()}
        if self.type.startswith("DateTime64"):
            return pa.timestamp("us")
        return fixed[self.type] if self.type in fixed else getattr(pa, self.type.lower())()


def target_type(meaning: str, modern: bool) -> str | None:
    """The type that holds all values of a ``meaning`` (see `whole`), or None; ``modern``: the server is 22.9 or later.

    Older servers have no type for dates before 1970 and no fractions of seconds. There dates become Date, which some
    do not fit in, and times text.
    """
    if found := _DECIMAL.fullmatch(meaning):
        return f"Decimal({found[1]}, {found[2]})" if int(found[1]) <= 38 else None
    if meaning == "date":
        return "Date32" if modern else "Date"
    if meaning == "timestamp":
        return "DateTime64(6, 'UTC')" if modern else "String"
    return _PLAIN.get(meaning)


def fitted(values: pa.Array, target: Target) -> tuple[pa.Array, pa.Array | None]:
    """The values in the target's Arrow type, and where they cannot be stored as they are, or None if all can.

    Those are null in the first array. Texts of a file that are to be another type count as what they say only where
    they are written plainly: integers as decimal digits, the boolean words of `types`, days and times in ISO 8601.
    """
    plain = pc.cast(values, pa.timestamp("us")) if pa.types.is_timestamp(values.type) else values
    if _is_text(values.type) and target.type != "String":
        plain = _written(values, target)
    try:
        cast = pc.cast(plain, target.arrow)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        cast = _one_by_one(plain, target.arrow)
    if target.arrow == pa.float32() and not pa.types.is_float32(values.type):
        same = pc.equal(pc.cast(cast, values.type), values)
        cast = pc.if_else(pc.or_(same, pc.is_nan(values)), cast, pa.scalar(None, cast.type))
    if target.type in _DAYS or target.type.startswith("DateTime64"):
        cast = _within(cast, target)
    if cast.null_count == values.null_count and (target.nullable or not values.null_count):
        return cast, None
    wrong = pc.and_(values.is_valid(), cast.is_null())
    return cast, wrong if target.nullable else pc.or_(wrong, values.is_null())


def encoded(values: pa.Array, target: Target) -> list[bytes]:
    """An array of the target's Arrow type in ClickHouse's native format."""
    pieces: list[bytes] = []
    if target.nullable:
        pieces.append(values.is_null().cast(pa.uint8()).to_numpy(zero_copy_only=False).tobytes())
    if pa.types.is_large_binary(values.type):
        return [*pieces, _strings(values)]
    numbers = _numbers(values)
    if target.type == "Date":
        numbers = numbers.astype(np.uint16)
    return [*pieces, numbers.tobytes()]


def hashes(values: pa.Array) -> U64:
    """The hash of every value of an array of a target's Arrow type."""
    kind = values.type
    if pa.types.is_large_binary(kind):
        hashed = siphash(values)
    elif pa.types.is_decimal(kind) and kind.precision > 18:
        halves = _numbers(values).view(np.uint64).reshape(-1, 2)
        hashed = int_hash(int_hash(halves[:, 0]) ^ halves[:, 1])
    elif pa.types.is_floating(kind):
        hashed = int_hash(_numbers(values).astype(np.float64).view(np.uint64))
    else:
        numbers = _numbers(values)
        signed = numbers if numbers.dtype == np.uint64 else numbers.astype(np.int64)
        hashed = int_hash(signed.view(np.uint64))
    if values.null_count:
        hashed[values.is_null().to_numpy(zero_copy_only=False)] = NULL_HASH
    return hashed


def hash_sql(target: Target) -> str:
    """``hashes`` of a column as the server computes it."""
    name = quoted(target.name)
    bits = f"reinterpretAsString({name})"
    if target.type == "String":
        plain = f"sipHash64({name})"
    elif target.decimal:
        plain = _decimal_sql(bits, target.decimal[0])
    elif target.type.startswith("Float"):
        plain = f"intHash64(reinterpretAsUInt64(reinterpretAsString(toFloat64({name}))))"
    elif target.type.startswith("DateTime64"):
        plain = f"intHash64(toUnixTimestamp64Micro({name}))"
    elif target.type == "Date32":
        plain = f"intHash64(toInt64(toInt32({name})))"
    else:
        plain = f"intHash64({name if target.type == 'UInt64' else f'toInt64({name})'})"
    return f"ifNull({plain}, toUInt64({NULL_HASH}))" if target.nullable else plain


def int_hash(values: U64) -> U64:
    """ClickHouse's intHash64: the finaliser of MurmurHash3."""
    mixed = values ^ _INT_SEED
    mixed ^= mixed >> np.uint64(33)
    mixed *= np.uint64(0xFF51AFD7ED558CCD)
    mixed ^= mixed >> np.uint64(33)
    mixed *= np.uint64(0xC4CEB9FE1A85EC53)
    mixed ^= mixed >> np.uint64(33)
    return mixed


def siphash(values: pa.Array) -> U64:
    """SipHash-2-4 with key 0 of byte strings; of nulls anything."""
    from pandas.util import hash_array

    objects = values.fill_null(b"").to_numpy(zero_copy_only=False)
    mixed = hash_array(objects, hash_key="\0" * 16, categorize=False)
    # pandas spreads SipHash's output by the finaliser of SplitMix64, which is taken back here.
    mixed = mixed ^ (mixed >> np.uint64(31)) ^ (mixed >> np.uint64(62))
    mixed *= np.uint64(pow(0x94D049BB133111EB, -1, 1 << 64))
    mixed ^= (mixed >> np.uint64(27)) ^ (mixed >> np.uint64(54))
    mixed *= np.uint64(pow(0xBF58476D1CE4E5B9, -1, 1 << 64))
    mixed ^= (mixed >> np.uint64(30)) ^ (mixed >> np.uint64(60))
    return mixed


def _decimal_sql(bits: str, digits: int) -> str:
    """The text of bits lacks zero bytes at its end, and reinterpreting puts them back."""
    if digits <= 18:
        return f"intHash64(toInt64(reinterpretAsInt{32 if digits <= 9 else 64}({bits})))"
    low, high = (f"reinterpretAsUInt64(substring({bits}, {start}, 8))" for start in (1, 9))
    return f"intHash64(bitXor(intHash64({low}), {high}))"


def _within(values: pa.Array, target: Target) -> pa.Array:
    if target.type in _DAYS:
        first, last = _DAYS[target.type]
        number = values.view(pa.int32()).cast(pa.int64())
    else:
        first, last = (_DAYS["Date32"][0] * _DAY, (_DAYS["Date32"][1] + 1) * _DAY - 1)
        number = values.view(pa.int64())
    inside = pc.and_(pc.greater_equal(number, first), pc.less_equal(number, last))
    return pc.if_else(inside, values, pa.scalar(None, values.type))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _written(texts: pa.Array, target: Target) -> pa.Array:
    """Texts that a cast to the target's type takes for what is written, without those it would take for others.

    Arrow sees an integer in 0x1A. Of all that is text at its source, only booleans become UInt8.
    """
    if target.type == "UInt8":
        word = pc.ascii_lower(pc.ascii_trim_whitespace(texts))
        known = pa.array([True] * len(_TRUE) + [False] * len(_FALSE))
        return known.take(pc.index_in(word, pa.array([*_TRUE, *_FALSE], word.type)))
    trimmed = pc.ascii_trim_whitespace(texts)
    if pa.types.is_integer(target.arrow):
        whole = pc.match_substring_regex(trimmed, r"^[+-]?[0-9]+$")
        return pc.if_else(whole, pc.replace_substring_regex(trimmed, r"^\+", ""), pa.scalar(None, texts.type))
    if pa.types.is_timestamp(target.arrow):
        return _times(trimmed)
    return trimmed


def _times(texts: pa.Array) -> pa.Array:
    """Times in UTC, wherever one says no zone; null of what is none."""
    zoned = pc.fill_null(pc.match_substring_regex(texts, r"[T ].*(Z|[+-]\d{2}(:?\d{2})?)$"), False)
    nothing = pa.scalar(None, texts.type)
    parts = []
    for part, kind in ((pc.if_else(zoned, nothing, texts), pa.timestamp("us")),
                       (pc.if_else(zoned, texts, nothing), pa.timestamp("us", "UTC"))):  # fmt: skip
        try:
            parts.append(pc.cast(part, kind))
        except pa.ArrowInvalid:
            parts.append(_one_by_one(part, kind))
    plain, in_zones = parts
    return pc.coalesce(plain, pc.cast(in_zones, pa.timestamp("us")))


def _one_by_one(values: pa.Array, wanted: pa.DataType) -> pa.Array:
    """As a cast, with nulls for what it refuses; for batches that have such a value."""
    found = []
    for value in values:
        try:
            found.append(pc.cast(value, wanted))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            found.append(pa.scalar(None, wanted))
    return pa.array([value.as_py() for value in found], wanted)


def _numbers(values: pa.Array) -> npt.NDArray[np.generic]:
    """The values as the server stores them, little-endian, anything in place of nulls."""
    kind = values.type
    if pa.types.is_decimal(kind):
        halves = _words(values, 16).view(np.int64).reshape(-1, 2)
        if kind.precision > 18:
            return np.ascontiguousarray(halves)
        return halves[:, 0].astype(np.int32 if kind.precision <= 9 else np.int64)
    if pa.types.is_timestamp(kind):
        return _words(values, 8).view(np.int64)
    if pa.types.is_date32(kind):
        return _words(values, 4).view(np.int32)
    return _words(values, kind.bit_width // 8).view(kind.to_pandas_dtype())


def _words(values: pa.Array, width: int) -> npt.NDArray[np.uint8]:
    data = values.buffers()[1]
    if data is None:
        return np.zeros(len(values) * width, np.uint8)
    return np.frombuffer(data, np.uint8)[values.offset * width : (values.offset + len(values)) * width]


def _strings(values: pa.Array) -> bytes:
    """Every string after its length, which is a varint."""
    filled = values.fill_null(b"") if values.null_count else values
    count = len(filled)
    offsets = np.frombuffer(filled.buffers()[1], np.int64)[filled.offset : filled.offset + count + 1]
    lengths = np.diff(offsets)
    data = filled.buffers()[2]
    content = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]] if data is not None else np.zeros(0, np.uint8)
    if not count:
        return b""
    digits = np.ones(count, np.int64)  # of a length, to the base of 128
    for exponent in range(1, 10):
        more = lengths >> (7 * exponent) > 0
        if not more.any():
            break
        digits += more
    # Where each length begins: after all strings before, and their lengths.
    starts = offsets[:-1] - offsets[0] + np.concatenate([[0], np.cumsum(digits[:-1])])
    out = np.empty(len(content) + int(digits.sum()), np.uint8)
    is_content = np.ones(len(out), np.bool_)
    for place in range(int(digits.max())):
        longer = digits > place
        at = starts[longer] + place
        last = digits[longer] == place + 1
        out[at] = (lengths[longer] >> (7 * place)) & 0x7F | np.where(last, 0, 0x80)
        is_content[at] = False
    out[is_content] = content
    return out.tobytes()
