"""Options of training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fedspark.conf.model import KeyBits, Model, Name, Text


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
        description="Stop when the loss falls by less; with several hosts, when the update's squared norm is less.",
    )
    key_bits: KeyBits = Field(default=2048, description="Size of the arbiter's Paillier key in bits.")
    validation: float = Field(
        default=0.3, gt=0, lt=1, description="Share of the people held out for validation, chosen by a hash of the id."
    )
    split_salt: Text = Field(
        default="fedspark-split-v1", description="Salt of that hash: the same salt gives the same split."
    )
