"""A party's part of a trained model: one JSON file of a stated version, useless without the other parts.

Features are standardised with the mean and scale of the training rows: the score of a person is

    z = intercept + sum over all parties and features of weight (x - mean) / scale,   probability = 1 / (1 + e^-z).

``weight_raw`` = weight / scale is the weight per unit of the feature, for people to read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedspark.errors import ConfigError, Mismatch, TableError
from fedspark.exchange.signed import canonical_json
from fedspark.models.split import Split
from fedspark.party import Role
from fedspark.run import Run

VERSION: Literal[1] = 1
FILE = "model.json"
FEATURE = "x."


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Feature(_Part):
    """One of this party's features."""

    name: str
    mean: float
    scale: float = Field(gt=0)
    weight: float
    weight_raw: float


class Member(_Part):
    """A party that took part in training."""

    name: str
    role: str


class TrainingSplit(_Part):
    """How training people were told from validation people."""

    salt: str
    share: float


class Round(_Part):
    """One round as far as this party was told: J after it (guest), its decrease, and the squared norm of the update."""

    loss: float | None = None
    decrease: float | None = None
    change: float | None = None


class ModelPart(_Part):
    """What one party keeps of a model."""

    version: Literal[1] = VERSION
    kind: Literal["vertical_lr"] = "vertical_lr"
    project: str
    pipeline: str
    model_id: str
    party: str
    role: Role = Field(strict=False)
    members: list[Member]
    objective: str
    l2: float
    rows: int
    stop: str
    split: TrainingSplit
    features: list[Feature]
    intercept: float | None = None
    history: list[Round] = []

    @property
    def people(self) -> Split:
        """The training split, to choose the people of an evaluation."""
        return Split(self.split.salt, self.split.share)

    @property
    def rounds(self) -> int:
        """Updates of the weights; the evaluation of the start is not one."""
        return len(self.history) - 1

    def check_columns(self, columns: Sequence[str], table: str) -> None:
        """TableError naming features of the model that a prepared table with these columns does not have."""
        missing = [feature.name for feature in self.features if FEATURE + feature.name not in columns]
        if missing:
            raise TableError(
                f"Table {table!r} lacks features of the model {self.model_id}: {', '.join(missing)}.",
                remedy="Score a table with the columns of the training table; they may come in any order.",
            )

    def partial_scores(self, table: pa.Table) -> npt.NDArray[np.float64]:
        """This party's addend of z for every row (the guest's contains the intercept), float64[N]."""
        z = np.full(table.num_rows, self.intercept or 0.0)
        with np.errstate(over="ignore", invalid="ignore"):  # the caller refuses what is not finite
            for feature in self.features:
                x = table[FEATURE + feature.name].to_numpy()
                z += (x - feature.mean) / feature.scale * feature.weight
        return z

    def to_bytes(self) -> bytes:
        """Canonical JSON: equal parts, equal bytes."""
        return canonical_json(self.model_dump(mode="json"))


def load_part(data: bytes, party: str, where: str) -> ModelPart:
    """The part in a file; ConfigError when it is broken, of another version, or another party's."""
    try:
        content = json.loads(data)
        version = content["version"] if isinstance(content, Mapping) else None
    except (ValueError, KeyError):
        raise ConfigError(
            f"{where} is not a model file.", remedy="Name a model.json that a train step wrote."
        ) from None
    if version != VERSION:
        raise ConfigError(
            f"{where} is a model of format version {version!r}; this fedspark reads version {VERSION}.",
            remedy="Score with the fedspark that trained it, or train again.",
        )
    try:
        part = ModelPart.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in error.errors(include_input=False))
        raise ConfigError(
            f"{where} is not a valid model file: {problems}.", remedy="Restore the file, or train again."
        ) from None
    if part.party != party:
        raise ConfigError(
            f"{where} is the part of {part.party}, and this party is {party}.",
            remedy="Each party scores with its own part of the model.",
        )
    return part


def save(run: Run, part: ModelPart) -> str:
    """Write the part once into the current step's folder; its workspace path."""
    path = run.path(FILE)
    run.workspace.keep(path, part.to_bytes())
    return path


def load(run: Run, step: str, *, label: str | None = None, pipeline: str | None = None) -> ModelPart:
    """Our part of the model that train step ``step`` made, in this run or in the run ``label`` (of ``pipeline``).

    ConfigError when there is none.
    """
    place = run.workspace.of_run(run.pipeline.project, pipeline or run.pipeline.pipeline, label or run.label)
    path = run.at(step).path(FILE)
    if not place.exists(path):
        raise ConfigError(
            f"Step {step} has not trained a model in run {label or run.label}: there is no {place.url(path)}.",
            remedy="Run it first, or name another run." if label else f"Run step {step} first.",
        )
    return load_part(place.read(path), run.me.name, place.url(path))


def check_same_model(part: ModelPart, sender: str, meta: Mapping[str, Any]) -> None:
    """Mismatch unless the sender of a message used its part of the same model."""
    theirs = meta.get("model_id")
    if theirs != part.model_id:
        raise Mismatch(
            f"{sender} scored with model {theirs!r}, our part is of model {part.model_id!r}.",
            remedy="All parties must name the same train step of the same run.",
        )
