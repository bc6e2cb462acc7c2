"""Tables on the terminal: steps of a run, messages that came and went."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fedspark.conf.party_file import PartyConf
from fedspark.conf.pipeline_file import PipelineConf
from fedspark.exchange.inbox import inbox
from fedspark.exchange.manifest import Address
from fedspark.run.opening import pinned_roster, place_of
from fedspark.run.status import IDLE, OPENING, RUNNING, WAITING

if TYPE_CHECKING:
    from fedspark.steps.psi_cache import Found

_WIDE = 200  # columns where nobody looks at a terminal


def status(party: PartyConf, pipeline: PipelineConf, label: str, *, as_json: bool) -> None:
    """State of every step of one run, as this party's workspace has it."""
    board = place_of(party, pipeline, label).status
    steps = [OPENING, *(options.name for options in pipeline.steps)]
    records = [board.get(step) or {"step": step, "state": "not begun"} for step in steps]
    if as_json:
        print(json.dumps({"run": label, "party": party.party, "steps": records}, indent=2, ensure_ascii=False))
        return
    name = f"{pipeline.project}/{pipeline.pipeline}"
    known = board.labels()
    if label not in known:
        there = f"Runs of it here: {', '.join(known)}." if known else "There is no run of it here."
        print(f"Run {label} of {name} is not begun at {party.party}. {there}")
        return
    table = Table("step", "state", "since (UTC)", title=f"{name}, run {label}")
    table.add_column("detail", overflow="fold")
    for record in records:
        state = "not ours" if record["state"] == IDLE else record["state"]
        table.add_row(record["step"], state, _clock(record.get("since")), _detail(record))
    _console().print(table)


def messages(party: PartyConf, pipeline: PipelineConf, label: str, *, sent: bool) -> None:
    """Messages to (or, with ``sent``, from) this party, with what is wrong with them, if anything."""
    place = place_of(party, pipeline, label)
    table = Table(
        "step", "round", "message", "to" if sent else "from", title=f"run {label}: {'sent' if sent else 'received'}"
    )
    for column in ("parts", "bytes"):
        table.add_column(column, justify="right")
    table.add_column("state", overflow="fold")
    total = 0
    order = {options.name: position for position, options in enumerate(pipeline.steps)}

    def in_order(address: Address) -> tuple[int, str, int, str, str, str]:
        step = address.step
        return order.get(step, len(order)), step, address.round, address.tag, address.sender, address.receiver

    entries = inbox(place.exchange, place.prefix, pinned_roster(party, pipeline), party.party)
    for entry in sorted(entries, key=lambda entry: in_order(entry.address)):
        address = entry.address
        if (address.sender if sent else address.receiver) != party.party:
            continue
        total += entry.bytes
        other = address.receiver if sent else address.sender
        state = entry.state.value + (f": {entry.reason}" if entry.reason else "")
        table.add_row(address.step, str(address.round), address.tag, other, str(entry.parts), f"{entry.bytes:,}", state)
    _console().print(table)
    print(f"{table.row_count} messages, {total:,} bytes")


def epochs(found: Sequence[Found]) -> None:
    """What is kept for repeated intersections, and until when."""
    table = Table("table", "with", "epoch", "rows", "until (UTC)", "bytes", "state", title="kept signatures")
    for column in (3, 5):
        table.columns[column].justify = "right"
    for one in found:
        words = (one.table, one.peer, one.name, f"{one.rows:,}", _clock(one.expires), f"{one.bytes:,}", one.state)
        table.add_row(*words)
    _console().print(table)


def imported(record: dict[str, Any]) -> None:
    """What an import has copied: every column on both sides."""
    rows = record["rows"]
    table = Table("column", "from", "to", title=f"import {record['import']}: {rows['stored']:,} rows")
    for name in ("nulls read", "nulls stored"):
        table.add_column(name, justify="right")
    table.add_column("checksum read", no_wrap=True)
    table.add_column("checksum stored", no_wrap=True)
    for column in record["columns"]:
        nulls, checksum = column["nulls"], column["checksum"]
        table.add_row(
            *(Text(column[key]) for key in ("column", "from", "to")),
            *(f"{nulls[side]:,}" for side in ("read", "stored")),
            *(checksum[side] for side in ("read", "stored")),
        )
    _console().print(table)
    if record.get("left out"):
        print(f"left out, as the party file ignores them: {', '.join(record['left out'])}")
    print(f"from {record['from']}")
    print(f"to   {record['to']}")


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else _WIDE)


def _detail(record: dict[str, Any]) -> str:
    if record["state"] == RUNNING and "awaits" in record:
        since, seen = _clock(record["awaits_since"]), _clock(record["seen"])
        return f"waits for {record['awaits']} since {since}; last sign of life {seen}"
    if record["state"] == WAITING:
        return f"waits for {record['awaited']} until {_clock(record['deadline'])}"
    return str(record.get("message", ""))


def _clock(seconds: float | None) -> str:
    return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
