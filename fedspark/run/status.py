"""Where each step of a run stands, as small JSON files in the party's own workspace: the contract for schedulers.

``status/<project>/<pipeline>/<run label>/<step>.json`` holds ``state`` (running, waiting, failed, done), ``since``
(seconds since 1970), and while waiting ``awaited`` (object name) and ``deadline``. A job in client mode also tells
by its exit status (75: not yet).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fedspark.exchange.store import Missing, StoreRef

RUNNING, WAITING, FAILED, DONE = "running", "waiting", "failed", "done"
OPENING = "handshake"


@dataclass(frozen=True)
class StatusBoard:
    """Writes and reads the states of one run."""

    ref: StoreRef
    prefix: str
    clock: Callable[[], float] = time.time

    def put(self, step: str, state: str, **facts: Any) -> None:
        record = {"step": step, "state": state, "since": round(self.clock(), 3), **facts}
        data = json.dumps(record, sort_keys=True, ensure_ascii=False).encode()
        self.ref.open().replace(f"{self.prefix}/{step}.json", data)

    def get(self, step: str) -> dict[str, Any] | None:
        try:
            record: dict[str, Any] = json.loads(self.ref.open().read(f"{self.prefix}/{step}.json"))
        except Missing:
            return None
        return record
