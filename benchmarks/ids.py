"""The ids of the PSI cases: equal sizes on both sides, every second id in common. Standard library only."""

from __future__ import annotations

PARTIES = ("guest", "host")


def ids(party: str, rows: int) -> list[str]:
    """``rows`` ids of one party: u000000000 upwards for the guest, from half of that for the host."""
    first = 0 if party == "guest" else rows - common(rows)
    return [f"u{number:09d}" for number in range(first, first + rows)]


def common(rows: int) -> int:
    """How many ids both parties have."""
    return rows // 2
