"""What a step that intersects has cost this party: time by phase, bytes by message. For its record in the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fedspark.exchange.mailbox import Traffic
from fedspark.psi.align import Alignment
from fedspark.psi.sizes import padded_rows
from fedspark.psi.tally import Tally
from fedspark.run import Run

_RESUMED = "The step was resumed: this is the time of the process that finished it."
_SEALED = "As they lie in the exchange: sealed, with manifests."
_MEASURABLE = 0.01


@dataclass(frozen=True)
class Cost:
    """Begun with the step. ``resumed``: an earlier process had begun it already, and its time is not known."""

    run: Run
    began: float
    resumed: bool

    @staticmethod
    def begin(run: Run) -> Cost:
        """The cost of the run's current step, from now on."""
        left = run.workspace.store.list(run.workspace.name(run.path("psi")))
        return Cost(run, run.progress.now(), bool(left))

    def record(self, found: Alignment | Tally) -> dict[str, Any]:
        """Facts and tables of a record, as of now: sizes, bytes, seconds."""
        seconds = round(self.run.progress.now() - self.began, 3)
        every, me = self.run.mailbox.traffic(self.run.step_name), self.run.me.name
        sent = [one for one in every if one.sender == me]
        received = [one for one in every if one.receiver == me]
        facts = _buckets(found) | _traffic(sent, received, found.rows_mine)
        facts["time"] = {"value": seconds, "unit": "seconds"}
        return {"facts": facts, "tables": [self._time(seconds), _messages(sent, received)]}

    def _time(self, seconds: float) -> dict[str, Any]:
        spent = self.run.progress.times()
        rows: list[list[Any]] = [
            [one.title, round(one.seconds, 3), one.rows, _rate(one.rows, one.seconds)] for one in spent
        ]
        rest = max(0.0, seconds - sum(one.seconds for one in spent))
        rows += [["everything else", round(rest, 3)], ["in all", seconds]]
        columns = ["phase", {"name": "time", "unit": "seconds"}, "rows", "rows/s"]
        note = _RESUMED if self.resumed else ""
        return {"title": "Time", "columns": columns, "rows": rows, "note": note}


def _buckets(found: Alignment | Tally) -> dict[str, Any]:
    if not isinstance(found, Alignment):
        return {}
    buckets = found.parts * found.buckets_per_part
    return {
        "parts": found.parts,
        "buckets": buckets,
        "our rows per bucket": round(found.rows_mine / buckets),
        "bucket padded to": padded_rows(found.rows_mine, buckets),
    }


def _traffic(sent: Sequence[Traffic], received: Sequence[Traffic], rows: int) -> dict[str, Any]:
    there, back = (sum(one.bytes for one in way) for way in (sent, received))
    facts = {"bytes sent": _bytes(there), "bytes received": _bytes(back)}
    return facts | ({"bytes per row of ours": _bytes(round((there + back) / rows, 1))} if rows else {})


def _messages(sent: Sequence[Traffic], received: Sequence[Traffic]) -> dict[str, Any]:
    rows = [[one.tag, "sent to", one.receiver, one.messages, one.bytes] for one in sent]
    rows += [[one.tag, "received from", one.sender, one.messages, one.bytes] for one in received]
    columns = ["message", "", "party", "number", {"name": "size", "unit": "bytes"}]
    return {"title": "Messages", "columns": columns, "rows": rows, "note": _SEALED}


def _rate(rows: int | None, seconds: float) -> int | None:
    return None if rows is None or seconds < _MEASURABLE else round(rows / seconds)


def _bytes(value: float) -> dict[str, Any]:
    return {"value": value, "unit": "bytes"}
