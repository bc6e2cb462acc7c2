"""Options of training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import Field

from fedspark.conf.model import Finding, KeyBits, Label, Model, Name, Text


class WarmStart(Model):
    """An earlier model whose weights training starts with; columns it does not have start at 0."""

    step: Name = Field(default="train", description="Name of the train step that made it.")
    run: Label | None = Field(default=None, description="Name of the run of that step; without it, this run.")
    pipeline: Name | None = Field(
        default=None, description="Pipeline of that run, of the same project; without it, this pipeline."
    )

    @classmethod
    def findings(cls, data: Mapping[str, Any]) -> Iterable[Finding]:
        if data.get("pipeline") is not None and data.get("run") is None:
            yield Finding(("run",), "is required with pipeline: the run of that pipeline that trained the model")


class TrainOptions(Model):
    """Train one model on an intersected table."""

    step: Literal["train"] = Field(default="train", description="The kind of this step.")
    name: Name = Field(default="train", description="Name of this step, unique in the pipeline; others refer to it.")
    table: Name = Field(description="Table to train on; an earlier psi step intersects it.")
    model: Literal["vertical_lr"] = Field(
        default="vertical_lr", description="Kind of model: vertical logistic regression with an arbiter."
    )
    l2: float = Field(default=0.001, gt=0, description="Weight of the L2 penalty; the intercept is not penalised.")
    max_rounds: int = Field(default=50, ge=1, le=1000, description="Rounds of optimisation at most.")
    tolerance: float = Field(
        default=1e-11,
        gt=0,
        description="Stop when the loss falls by less; with several hosts or weights, when the update's squared norm "
        "is less.",
    )
    class_weight: Literal["none", "balanced"] = Field(
        default="none",
        description="balanced: both classes weigh the same in all. It tells every host how many people have label 1. "
        "As with a weight column, every row then has a ciphertext of its own: a round takes five times as long and "
        "sends ten times as much.",
    )
    warm_start: WarmStart | None = Field(default=None, description="Earlier model to start from; without it, zeros.")
    key_bits: KeyBits = Field(default=2048, description="Size of the arbiter's Paillier key in bits.")
    validation: float = Field(
        default=0.3, gt=0, lt=1, description="Share of the people held out for validation, chosen by a hash of the id."
    )
    split_salt: Text = Field(
        default="fedspark-split-v1", description="Salt of that hash: the same salt gives the same split."
    )
