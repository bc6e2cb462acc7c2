"""What every kind of place has in common that the guest's scores are written to.

scores:
  predict:
    kind: clickhouse
    host: warehouse.example
    user: fedspark
    password: env:CLICKHOUSE_PASSWORD
    database: marketing
    table: scores
    if_exists: append
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fedspark.conf.model import Model

RUN = "run"
"""The column that says, under ``if_exists: append``, which run a row is of."""


class SinkConf(Model):
    """A kind of sink adds where the table lies, and ``place``."""

    kind: str
    if_exists: Literal["refuse", "replace", "append"] = Field(
        default="refuse",
        description="What to do when the table is there. refuse: write nothing. replace: all its rows give way to "
        "those of this run, at once. append: rows of other runs stay, and a column `run` holds the name of each row's "
        "run; those of an earlier run of the same name, whatever its pipeline, give way.",
    )

    @property
    def place(self) -> str:
        """The one table, for people and to tell two sinks apart; without user and secrets."""
        raise NotImplementedError
