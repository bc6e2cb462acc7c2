"""Options of scoring."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import Field

from fedspark.conf.model import Finding, Label, Name
from fedspark.conf.options.psi import PsiSettings


class PredictOptions(PsiSettings):
    """Intersect another table and score the people in it."""

    step: Literal["predict"] = Field(default="predict", description="The kind of this step.")
    name: Name = Field(default="predict", description="Name of this step, unique in the pipeline.")
    table: Name = Field(description="Table to score; an earlier step loads it. It needs no label.")
    model: Name = Field(default="train", description="Name of the train step whose model is applied.")
    model_run: Label | None = Field(
        default=None, description="Name of an earlier run that trained the model; without it, this run."
    )
    model_pipeline: Name | None = Field(
        default=None, description="Pipeline of that run, of the same project; without it, this pipeline."
    )

    @classmethod
    def findings(cls, data: Mapping[str, Any]) -> Iterable[Finding]:
        yield from super().findings(data)
        if data.get("result") == "guest":
            rule = "must be both: hosts compute their part of the scores, so they have to know whom to score"
            yield Finding(("result",), rule, "guest")
        if data.get("reveal") == "count":
            yield Finding(("reveal",), "must be people: nobody can be scored who is only counted", "count")
