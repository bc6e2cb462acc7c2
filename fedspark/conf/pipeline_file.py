"""The pipeline file: what the parties do together. All of them hold the same one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Literal

from pydantic import Field

from fedspark.conf.model import Finding, Model, Name, as_list, as_mapping, repeated
from fedspark.conf.options import Step, StepOptions
from fedspark.errors import ConfigError
from fedspark.party import Party, Role, Roster

_NEEDS_ARBITER = ("vertical_lr",)
_HIDING = (
    ("reveal", "count", "nobody knows whom to train on"),
    ("result", "guest", "hosts do not know whom to train on"),
)


class Parties(Model):
    """Who takes part, and as what."""

    guest: Name = Field(description="The party that has the label and starts the work.")
    hosts: list[Name] = Field(min_length=1, description="The parties that add columns.")
    arbiter: Name | None = Field(default=None, description="The party that holds a decryption key and no data.")


class Ids(Model):
    """What the ids of people are, alike for all parties."""

    type: Literal["string", "integer"] = Field(
        default="string", description="How ids are compared: as text, or as integers (then 007 is 7)."
    )


class PipelineConf(Model):
    """One pipeline of a project; a project may hold several."""

    project: Name = Field(description="Name of the project: pipelines and runs are filed under it.")
    pipeline: Name = Field(description="Name of the pipeline, unique in its project.")
    parties: Parties = Field(description="Who takes part.")
    ids: Ids = Field(default=Ids(), description="What the ids of people are.")
    steps: list[Step] = Field(min_length=1, description="What is done, in this order.")

    def roster(self) -> Roster:
        """The parties in order guest, hosts, arbiter, their identity keys not filled in."""
        parties = [Party(self.parties.guest, Role.GUEST)]
        parties += [Party(name, Role.HOST) for name in self.parties.hosts]
        if self.parties.arbiter is not None:
            parties.append(Party(self.parties.arbiter, Role.ARBITER))
        return Roster(tuple(parties))

    def step(self, name: str) -> StepOptions:
        """Options of the step of that name; ConfigError with the names there are."""
        for options in self.steps:
            if options.name == name:
                return options
        names = [options.name for options in self.steps]
        raise ConfigError(
            f"Pipeline {self.pipeline} has no step {name!r}; its steps are {', '.join(names)}.",
            remedy=_nearest(name, names) or None,
        )

    def digest(self) -> str:
        """SHA-256, in hex, of the canonical JSON with all defaults filled in: equal on all sides, or no run."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def flat(self) -> dict[str, str]:
        """Every value under one dotted key, steps by name (``steps.psi.key_bits``), to compare two files by."""
        content = self.model_dump(mode="json")
        content["steps"] = {step["name"]: step for step in content["steps"]}
        flat = dict(_flatten("", content))
        flat["steps"] = ", ".join(content["steps"])  # the order, which the keys do not show
        return flat

    @classmethod
    def findings(cls, data: Mapping[str, Any]) -> Iterable[Finding]:
        yield from _party_findings(as_mapping(data.get("parties")))
        yield from _name_findings(as_list(data.get("steps")))
        yield from _step_findings(as_list(data.get("steps")))
        yield from _arbiter_findings(data)
        yield from _count_findings(data)
        yield from _cache_findings(data)


def _flatten(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flatten(f"{prefix}.{key}" if prefix else key, inner)
    elif isinstance(value, list):
        yield prefix, ", ".join(item if isinstance(item, str) else json.dumps(item) for item in value)
    else:
        yield prefix, value if isinstance(value, str) else json.dumps(value)


def _nearest(word: Any, words: Iterable[str]) -> str:
    near = get_close_matches(word, list(words), n=1) if isinstance(word, str) else []
    return f"Did you mean {near[0]!r}?" if near else ""


def _party_findings(parties: Mapping[str, Any]) -> Iterator[Finding]:
    hosts = as_list(parties.get("hosts"))
    places: list[tuple[tuple[str | int, ...], Any]] = [(("parties", "guest"), parties.get("guest"))]
    places += [(("parties", "hosts", index), host) for index, host in enumerate(hosts)]
    places.append((("parties", "arbiter"), parties.get("arbiter")))
    seen: set[str] = set()
    for path, name in places:
        if isinstance(name, str):
            if name in seen:
                yield Finding(path, "names a party twice: every party has one role and its own name", name)
            seen.add(name)


def _name_of(step: Mapping[str, Any]) -> Any:
    return step.get("name", step.get("step"))


def _name_findings(steps: list[Any]) -> Iterator[Finding]:
    names = [_name_of(as_mapping(step)) for step in steps]
    for name in repeated(names):
        second = names.index(name, names.index(name) + 1)
        rule = f"step {name!r} is there already (steps[{names.index(name)}]): names are unique"
        yield Finding(("steps", second, "name"), rule, hint="Without `name`, a step is named after its kind.")


def _arbiter_findings(data: Mapping[str, Any]) -> Iterator[Finding]:
    if as_mapping(data.get("parties")).get("arbiter") is not None:
        return
    for index, step in enumerate(as_list(data.get("steps"))):
        options = as_mapping(step)
        model = options.get("model", "vertical_lr")
        if options.get("step") == "train" and model in _NEEDS_ARBITER:
            yield Finding(("parties", "arbiter"), f"is required by steps[{index}]: {model} needs an arbiter")
            return


def _count_findings(data: Mapping[str, Any]) -> Iterator[Finding]:
    hosts = as_list(as_mapping(data.get("parties")).get("hosts"))
    for index, step in enumerate(as_list(data.get("steps"))):
        if len(hosts) > 1 and as_mapping(step).get("reveal") == "count":
            rule = f"must be people with {len(hosts)} hosts: what all of them share cannot be counted pair by pair"
            yield Finding(("steps", index, "reveal"), rule, "count", hint="Make a pipeline with each host.")


def _cache_findings(data: Mapping[str, Any]) -> Iterator[Finding]:
    hosts = as_list(as_mapping(data.get("parties")).get("hosts"))
    for index, step in enumerate(as_list(data.get("steps"))):
        if len(hosts) > 1 and as_mapping(step).get("cache") is True:
            rule = f"must be false with {len(hosts)} hosts: what each keeps has an order of its own"
            yield Finding(("steps", index, "cache"), rule, True, hint="Make a pipeline with each host.")


class _Seen:
    """What the steps so far have made: loaded tables, intersected tables (and of which why nobody, or not everybody,
    has the rows), models.
    """

    def __init__(self) -> None:
        self.tables: list[str] = []
        self.aligned: list[str] = []
        self.hidden: dict[str, str] = {}
        self.models: list[str] = []


def _step_findings(steps: list[Any]) -> Iterator[Finding]:
    seen = _Seen()
    for index, raw in enumerate(steps):
        step = as_mapping(raw)
        for finding in _one_step(step, seen):
            yield Finding(("steps", index, *finding.path), finding.rule, finding.value, finding.hint)


def _one_step(step: Mapping[str, Any], seen: _Seen) -> Iterator[Finding]:
    kind, table = step.get("step"), step.get("table")
    if kind == "load":
        for position, name in enumerate(as_list(step.get("tables"))):
            if name in seen.tables:
                yield Finding(("tables", position), f"table {name!r} is loaded already")
            seen.tables.append(name)
    if kind in ("psi", "train", "predict") and isinstance(table, str):
        yield from _known(("table",), table, seen.tables, "is not loaded by an earlier step; loaded so far")
    if kind == "psi" and isinstance(table, str):
        if table in seen.aligned:
            yield Finding(("table",), f"table {table!r} is intersected already")
        seen.aligned.append(table)
        for key, value, why in _HIDING:
            if step.get(key) == value:
                seen.hidden.setdefault(table, f"has {key}: {value}, so {why}")
    if kind == "train" and isinstance(table, str) and table in seen.hidden:
        yield Finding(("table",), f"the psi step on {table!r} {seen.hidden[table]}", table)
    if kind == "train" and isinstance(table, str) and table in seen.tables:
        rule = "is not intersected by an earlier psi step; intersected so far"
        yield from _known(("table",), table, seen.aligned, rule)
    earlier = as_mapping(step.get("warm_start"))
    if kind == "train" and step.get("warm_start") is not None and earlier.get("run") is None:
        model = earlier.get("step", "train")
        if isinstance(model, str):
            rule = "is no earlier train step; train steps so far"
            yield from _known(("warm_start", "step"), model, seen.models, rule)
    if kind == "train" and isinstance(_name_of(step), str):
        seen.models.append(_name_of(step))
    if step.get("model_pipeline") is not None and step.get("model_run") is None:
        yield Finding(
            ("model_run",), "is required with model_pipeline: the run of that pipeline that trained the model"
        )
    if kind in ("evaluate", "predict") and step.get("model_run") is None:
        model = step.get("model", "train")
        if isinstance(model, str):
            yield from _known(("model",), model, seen.models, "is no earlier train step; train steps so far")


def _known(path: tuple[str, ...], name: str, known: list[str], rule: str) -> Iterator[Finding]:
    if name not in known:
        texts = [text for text in known if isinstance(text, str)]
        yield Finding(path, f"{name!r} {rule}: {', '.join(texts) or 'none'}", hint=_nearest(name, texts))
