"""One party of an intersection as a process of its own, which kills itself with SIGKILL at chosen moments.

A moment is an object of a store: just before it is written or deleted, or just after. Every process of a party dies at
the first moment at which no earlier one has died, so a party that is started again and again dies once at each.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedspark.buckets import InProcessRunner
from fedspark.conf import PsiOptions
from fedspark.exchange.store import Store
from fedspark.party import Role
from fedspark.psi import cache, count, ot, rsa_cached, sizes
from fedspark.psi.align import Source
from fedspark.run import Run
from fedspark.steps.psi import PROTOCOLS
from tests.federation import Federation
from tests.psi.people import names, options, role_of, source, staged

TABLES = {"guest": staged(names(0, 40), label=True), "host": staged(names(10, 60))}
BUCKET_ROWS = 16
WAVES, PARTS = 2, 4
NOON = 1_800_014_400
"""The time at which every process thinks it lives."""


@dataclass(frozen=True)
class Life:
    """Where a party dies (a pattern of ``moment`` lines), and the folder of its diary."""

    folder: Path
    moments: str

    def diary(self, name: str) -> Path:
        """One line for everything that processes of this party did: task, wrote, deleted, died."""
        return self.folder / f"{name}.diary"


def federation(base: Path | None) -> Federation:
    """Parties whose keys follow from their names: the same ones in every process."""
    sizes.WAVE_PARTS = PARTS // WAVES
    ot.BUCKETS_PER_PART = 1
    cache.now = lambda: NOON
    return Federation(base=None if base is None else str(base), runner=InProcessRunner, keep_messages=False)


def live(base: Path, name: str, protocol: str, life: Life) -> None:
    """The whole life of one process."""
    diary = os.open(life.diary(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(line: str) -> None:
        os.write(diary, f"{line}\n".encode())

    watch_store(life, name, write)
    parties = federation(base)
    parties._runner = lambda: Noted(write)
    role(protocol)(parties.run(name, "psi"), source(TABLES[name]))


def role(protocol: str) -> Callable[[Run, Source], Any]:
    """A party's half of a protocol, and of what ecdh and rsa become under other options."""
    if protocol in PROTOCOLS:
        return lambda run, table: role_of(run, protocol)(run, options(BUCKET_ROWS, protocol), table)
    module, settings = {
        "count": (count, PsiOptions(table="people", protocol="ecdh", reveal="count", bucket_rows=BUCKET_ROWS)),
        "kept": (rsa_cached, PsiOptions(table="people", cache=True, bucket_rows=BUCKET_ROWS)),
    }[protocol]
    return lambda run, table: (module.guest if run.role is Role.GUEST else module.host)(run, settings, table)


def play(parties: Federation, protocol: str) -> dict[str, Any]:
    """All of them in this process."""
    half = role(protocol)
    return parties.play("psi", {name: lambda run, name=name: half(run, source(TABLES[name])) for name in TABLES})


class Noted(InProcessRunner):
    """Writes every task that begins into the diary."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def run(self, function: Any, parts: range, context: Any, on_done: Callable[[int], None]) -> list[Any]:
        title = name_of(function)

        def noted(context: Any, part: int) -> Any:
            self._write(f"task {title} {part}")
            return function(context, part)

        return super().run(noted, parts, context, on_done)


def name_of(function: Any) -> str:
    """The protocol's function in a task: of a message, the one that writes its parts."""
    return name_of(function.args[0]) if hasattr(function, "args") else str(function.__name__)


def watch_store(life: Life, name: str, write: Callable[[str], None]) -> None:
    """Die at moments that were not died at, and note what is done to objects."""
    chosen, created, deleted = re.compile(life.moments), Store.create, Store.delete

    def die_once(moment: str) -> None:
        if not chosen.search(moment):
            return
        mark = life.folder / f"{name}-{hashlib.sha256(moment.encode()).hexdigest()[:16]}.died"
        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        write(f"died {moment}")
        os.kill(os.getpid(), signal.SIGKILL)

    def create(self: Store, path: str, data: bytes) -> bool:
        die_once(f"before write {path}")
        new = created(self, path, data)
        if new:
            write(f"wrote {path}")
        die_once(f"after write {path}")
        return new

    def delete(self: Store, path: str) -> None:
        die_once(f"before delete {path}")
        deleted(self, path)
        write(f"deleted {path}")
        die_once(f"after delete {path}")

    Store.create = create  # type: ignore[method-assign]
    Store.delete = delete  # type: ignore[method-assign]
