"""Options of evaluation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fedspark.conf.model import Model, Name


class EvaluateOptions(Model):
    """Measure a model on the training and validation people: AUC, KS, log-loss, accuracy."""

    step: Literal["evaluate"] = Field(default="evaluate", description="The kind of this step.")
    name: Name = Field(default="evaluate", description="Name of this step, unique in the pipeline.")
    model: Name = Field(default="train", description="Name of the train step whose model is measured.")
    threshold: float = Field(default=0.5, gt=0, lt=1, description="Probability from which a person counts as positive.")
