"""The table of benchmarks.tables: the same rows in files and servers, row n computed from n alone.

``id`` text in order, ``f0`` to ``f9`` floats of four decimals, ``age`` and ``visits`` integers, ``code`` a
short text, ``born`` a date. Who reads it asks for the id and the twelve numbers; the other two belong to no role.
"""

from __future__ import annotations

from collections.abc import Iterator

FLOATS = tuple(f"f{k}" for k in range(10))
READ = ("id", *FLOATS, "age", "visits")
"""The columns that both sides read, in this order."""

_STRIDE = 97
_FACTORS = (7919, 104_729, 15_485_863, 86_028_121, 49_979_687, 67_867_967, 32_452_843, 6_700_417, 2_750_159, 3_143_977)
_LARGEST = 9_999_991
_PIECE = 1 << 20


def pieces(rows: int) -> Iterator[object]:
    """The table as Arrow tables of at most a million rows, for files."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    for start in range(1, rows + 1, _PIECE):
        n = np.arange(start, min(start + _PIECE, rows + 1), dtype=np.int64)
        digits = pc.utf8_lpad(pa.array(n * _STRIDE).cast(pa.string()), 10, "0")
        columns = {"id": pc.binary_join_element_wise(pa.scalar("p"), digits, pa.scalar(""))}
        columns |= {name: n * factor % _LARGEST / 1e4 for name, factor in zip(FLOATS, _FACTORS, strict=True)}
        columns |= {"age": n % 90, "visits": n * 7919 % 100_003}
        columns |= {"code": pc.binary_join_element_wise(pa.scalar("c"), pa.array(n % 100).cast(pa.string()), "")}
        columns |= {"born": pa.array((n % 25_000 - 9_000).astype(np.int32), pa.date32())}
        yield pa.table(columns)


def selected(dialect: str, number: str) -> str:
    """The columns of row ``number`` in SQL of "clickhouse" or "mysql", for INSERT ... SELECT."""
    digits = {
        "clickhouse": "substring(toString(10000000000 + {0}), 2)",
        "mysql": "LPAD({0}, 10, '0')",
    }[dialect].format(f"{number} * {_STRIDE}")
    born = {
        "clickhouse": "toDate({0})",  # its oldest dates are of 1970
        "mysql": "DATE_ADD('1970-01-01', INTERVAL {0} DAY)",
    }[dialect].format(f"{number} % 25000")
    floats = [f"{number} * {factor} % {_LARGEST} / 10000e0" for factor in _FACTORS]
    columns = [f"concat('p', {digits})", *floats, f"{number} % 90", f"{number} * 7919 % 100003"]
    code = {"clickhouse": "toString({0})", "mysql": "CAST({0} AS CHAR)"}[dialect].format(f"{number} % 100")
    return ", ".join([*columns, f"concat('c', {code})", born])


def check(rows: int, expected: int) -> None:
    """AssertionError unless all rows came."""
    assert rows == expected, f"{rows} rows of {expected}"
