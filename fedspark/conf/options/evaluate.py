"""Options of evaluation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fedspark.conf.model import Model, Name


class EvaluateOptions(Model):
    """Measure a model on the training and validation people: AUC, KS, log-loss, accuracy, calibration, lift."""

    step: Literal["evaluate"] = Field(default="evaluate", description="The kind of this step.")
    name: Name = Field(default="evaluate", description="Name of this step, unique in the pipeline.")
    model: Name = Field(default="train", description="Name of the train step whose model is measured.")
    threshold: float = Field(default=0.5, gt=0, lt=1, description="Probability from which a person counts as positive.")
    thresholds: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        default=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
        max_length=99,
        description="Probabilities at which the report shows confusion, precision and recall.",
    )
