"""Tables on the terminal: steps of a run, messages that came and went."""

from __future__ import annotations

import json
import time
from typing import Any

from rich.console import Console
from rich.table import Table

from fedspark.conf.party_file import PartyConf
from fedspark.conf.pipeline_file import PipelineConf
from fedspark.exchange.inbox import inbox
from fedspark.run.opening import pinned_roster, place_of
from fedspark.run.status import OPENING


def status(party: PartyConf, pipeline: PipelineConf, label: str, *, as_json: bool) -> None:
    """State of every step of one run, as this party's workspace has it."""
    board = place_of(party, pipeline, label).status
    steps = [OPENING, *(options.name for options in pipeline.steps)]
    records = [board.get(step) or {"step": step, "state": "not begun"} for step in steps]
    if as_json:
        print(json.dumps({"run": label, "party": party.party, "steps": records}, indent=2, ensure_ascii=False))
        return
    table = Table("step", "state", "since (UTC)", "", title=f"{pipeline.project}/{pipeline.pipeline}, run {label}")
    for record in records:
        table.add_row(record["step"], record["state"], _clock(record.get("since")), _detail(record))
    Console().print(table)


def messages(party: PartyConf, pipeline: PipelineConf, label: str, *, sent: bool) -> None:
    """Messages to (or, with ``sent``, from) this party, with what is wrong with them, if anything."""
    place = place_of(party, pipeline, label)
    table = Table(
        "step", "round", "message", "to" if sent else "from", title=f"run {label}: {'sent' if sent else 'received'}"
    )
    for column in ("parts", "bytes"):
        table.add_column(column, justify="right")
    table.add_column("state")
    total = 0
    for entry in inbox(place.exchange, place.prefix, pinned_roster(party, pipeline), party.party):
        address = entry.address
        if (address.sender if sent else address.receiver) != party.party:
            continue
        total += entry.bytes
        other = address.receiver if sent else address.sender
        state = entry.state.value + (f": {entry.reason}" if entry.reason else "")
        table.add_row(address.step, str(address.round), address.tag, other, str(entry.parts), f"{entry.bytes:,}", state)
    Console().print(table)
    print(f"{table.row_count} messages, {total:,} bytes")


def _detail(record: dict[str, Any]) -> str:
    if "awaited" in record:
        return f"waits for {record['awaited']} until {_clock(record['deadline'])}"
    return str(record.get("message", ""))


def _clock(seconds: float | None) -> str:
    return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
