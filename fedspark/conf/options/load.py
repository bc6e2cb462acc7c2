"""Options of the step that takes a snapshot of source tables."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fedspark.conf.model import Model, Name


class LoadOptions(Model):
    """Read tables from their sources, check them, and stage a snapshot that all later steps use."""

    step: Literal["load"] = Field(default="load", description="The kind of this step.")
    name: Name = Field(default="load", description="Name of this step, unique in the pipeline.")
    tables: list[Name] = Field(
        min_length=1, description="Tables to load, by the name that every party gives its own one in its party file."
    )
    sample: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Share of the ids to keep, chosen by a hash of the id: all parties keep the same people, in every "
        "run. Null: all.",
    )
