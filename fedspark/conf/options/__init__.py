"""What each kind of step can be told: one file per kind."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fedspark.conf.options.evaluate import EvaluateOptions
from fedspark.conf.options.load import LoadOptions
from fedspark.conf.options.predict import PredictOptions
from fedspark.conf.options.psi import PsiOptions
from fedspark.conf.options.train import TrainOptions

StepOptions = LoadOptions | PsiOptions | TrainOptions | EvaluateOptions | PredictOptions
Step = Annotated[StepOptions, Field(discriminator="step")]

__all__ = [
    "EvaluateOptions",
    "LoadOptions",
    "PredictOptions",
    "PsiOptions",
    "Step",
    "StepOptions",
    "TrainOptions",
]
