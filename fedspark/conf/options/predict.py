"""Options of scoring."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fedspark.conf.model import Label, Name
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
