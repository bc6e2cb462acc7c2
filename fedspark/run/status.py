"""Where each step of a run stands, as small JSON files in the party's own workspace: the contract for schedulers.

``status/<project>/<pipeline>/<run label>/<step>.json`` holds ``state`` (running, waiting, failed, done, or idle: the
step is done, and this party had no part in it), ``since`` (seconds since 1970), and while waiting ``awaited`` (object
name) and ``deadline``. A step that waits inside a running process is running; its last longer wait is in ``awaits``
(in words) and ``awaits_since``, and ``seen`` is the last sign of life. A job in client mode also tells by its exit
status (75: not yet).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fedspark.exchange.store import Missing, StoreRef

RUNNING, WAITING, FAILED, DONE, IDLE = "running", "waiting", "failed", "done", "idle"
OPENING = "handshake"


@dataclass(frozen=True)
class StatusBoard:
    """Writes and reads the states of one run."""

    ref: StoreRef
    prefix: str
    clock: Callable[[], float] = time.time

    def put(self, step: str, state: str, **facts: Any) -> None:
        self._write(step, {"step": step, "state": state, "since": round(self.clock(), 3), **facts})

    def note_wait(self, step: str, awaits: str, since: float) -> None:
        """Say that the step runs and waits for ``awaits`` (in words), since an epoch second."""
        now, record = round(self.clock(), 3), self.get(step)
        if record is None or record["state"] != RUNNING:
            record = {"step": step, "state": RUNNING, "since": now}
        self._write(step, {**record, "awaits": awaits, "awaits_since": round(since, 3), "seen": now})

    def labels(self) -> list[str]:
        """Labels of all runs of the same pipeline that this party has begun, sorted."""
        folder = self.prefix.rpartition("/")[0]
        names = [name.removeprefix(f"{folder}/") for name, _ in self.ref.open().list(folder)]
        return sorted({name.partition("/")[0] for name in names if "/" in name})

    def _write(self, step: str, record: dict[str, Any]) -> None:
        data = json.dumps(record, sort_keys=True, ensure_ascii=False).encode()
        self.ref.open().replace(f"{self.prefix}/{step}.json", data)

    def get(self, step: str) -> dict[str, Any] | None:
        try:
            record: dict[str, Any] = json.loads(self.ref.open().read(f"{self.prefix}/{step}.json"))
        except Missing:
            return None
        return record
