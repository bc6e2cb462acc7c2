"""A party's private place: seeds, checkpoints, staged tables, prepared, aligned and result parts of its runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from fedspark.exchange.store import Store, StoreRef


@dataclass(frozen=True)
class Workspace:
    """The part of a private store that belongs to one run.

    Travels in task closures: it holds references only. ``ref`` points at the store that driver and executors share,
    ``prefix`` is this run's folder in it.
    """

    ref: StoreRef
    prefix: str

    @classmethod
    def at(cls, ref: StoreRef, project: str, pipeline: str, label: str) -> Workspace:
        """The folder of one run."""
        return cls(ref, f"runs/{project}/{pipeline}/{label}")

    def of_run(self, project: str, pipeline: str, label: str) -> Workspace:
        """The folder of another run in the same store, to read what it left."""
        return self.at(self.ref, project, pipeline, label)

    @property
    def store(self) -> Store:
        return self.ref.open()

    @property
    def label(self) -> str:
        """What users call the run."""
        return self.prefix.rpartition("/")[2]

    def name(self, path: str) -> str:
        """Full object name of ``path`` in this run's folder."""
        return f"{self.prefix}/{path}"

    def url(self, path: str) -> str:
        """Where a user finds ``path``."""
        return f"{self.ref.url.rstrip('/')}/{self.name(path)}"

    def create(self, path: str, data: bytes) -> bool:
        """Write once; False when something was there already (and stays)."""
        return self.store.create(self.name(path), data)

    def keep(self, path: str, data: bytes) -> None:
        """Write once; an equal rewrite is a no-op, an unequal one an error."""
        self.store.keep(self.name(path), data)

    def read(self, path: str) -> bytes:
        return self.store.read(self.name(path))

    def remove(self, folder: str) -> None:
        """Delete all objects in ``folder``: what no restart will ask for again."""
        self.store.delete_many([name for name, _ in self.store.list(self.name(folder))])

    def exists(self, path: str) -> bool:
        return self.store.size(self.name(path)) is not None

    def read_json(self, path: str) -> Any:
        return json.loads(self.read(path))
