"""From a file (and overrides) to a checked configuration, or to one error that lists all that is wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from fedspark.conf.document import Document, Flaw, parse_document, read_document
from fedspark.conf.model import KeyPath, Model
from fedspark.conf.options import LoadOptions, PredictOptions
from fedspark.conf.party_file import PartyConf
from fedspark.conf.pipeline_file import PipelineConf
from fedspark.conf.problems import Problem, error_of, problems_of
from fedspark.conf.shape import is_settings, shape_at
from fedspark.errors import ConfigError
from fedspark.party import Role

_M = TypeVar("_M", bound=Model)


def load_party(path: Path | str, overrides: Mapping[str, str] | None = None) -> PartyConf:
    """Load a party file. ``overrides`` maps dotted keys to YAML values: ``{"spark.master": "local[2]"}``.

    Relative paths are taken from the directory of the file, also those in overrides. ConfigError lists all problems.
    """
    place = Path(os.path.abspath(path))
    document = read_document(Path(path))
    override(document, PartyConf, overrides or {})
    return validate(document, PartyConf, {"path": place, "directory": place.parent})


def load_pipeline(path: Path | str) -> PipelineConf:
    """Load a pipeline file. ConfigError lists all problems."""
    return validate(read_document(Path(path)), PipelineConf, {})


def party_from(content: Mapping[str, Any], directory: Path | str, source: str = "party") -> PartyConf:
    """A party configuration from content at hand; relative paths are taken from ``directory``. Raises as load_party."""
    place = Path(os.path.abspath(directory))
    return validate(Document(source, dict(content)), PartyConf, {"path": place / source, "directory": place})


def pipeline_from(content: Mapping[str, Any], source: str = "pipeline") -> PipelineConf:
    """A pipeline configuration from content at hand. Raises as load_pipeline."""
    return validate(Document(source, dict(content)), PipelineConf, {})


def check_together(party: PartyConf, pipeline: PipelineConf) -> None:
    """Check that a party file serves a pipeline: a role, a key for every peer, the tables. ConfigError lists all."""
    source = str(party.path)
    roster = pipeline.roster()
    me = next((member for member in roster if member.name == party.party), None)
    if me is None:
        names = ", ".join(member.name for member in roster)
        rule = f"takes no part in pipeline {pipeline.pipeline}, whose parties are {names}"
        raise error_of([Problem(("party",), rule, repr(party.party))], source)
    problems = [
        Problem(("peers", peer.name), f"is missing: pipeline {pipeline.pipeline} needs this peer's identity key")
        for peer in roster.others(me)
        if peer.name not in party.peers
    ]
    if party.role is not None and party.role != me.role.value:
        rule = f"is not what pipeline {pipeline.pipeline} says: {me.role.value}"
        problems.append(Problem(("role",), rule, repr(party.role)))
    wanted = [name for step in pipeline.steps if isinstance(step, LoadOptions) for name in step.tables]
    problems += [
        Problem(("tables", name), f"is missing: pipeline {pipeline.pipeline} loads this table")
        for name in wanted
        if me.role is not Role.ARBITER and name not in party.tables
    ]
    if me.role is Role.GUEST:
        others = {step.name for step in pipeline.steps if not isinstance(step, PredictOptions)}
        rule = f"is no predict step of pipeline {pipeline.pipeline}"
        problems += [Problem(("scores", name), rule) for name in party.scores if name in others]
    if problems:
        raise error_of(problems, source)


def validate(document: Document, model: type[_M], context: dict[str, Path]) -> _M:
    if not isinstance(document.data, Mapping):
        found = {type(None): "nothing", list: "a list"}.get(type(document.data), "a single value")
        raise ConfigError(
            f"{document.source}: must be a mapping (key: value), and holds {found}.",
            remedy="conf/example holds commented files to begin with.",
        )
    result, error = None, None
    try:
        result = model.model_validate(document.data, context=context)
    except ValidationError as caught:
        error = caught
    findings = model.findings(document.data) if error or document.flaws else ()
    problems = problems_of(document, model, error, findings)
    if problems or result is None:
        raise error_of(problems, document.source) from None
    return result


def override(document: Document, model: type[Model], overrides: Mapping[str, str]) -> None:
    """Put every override into the document, as if the file had said so."""
    if not isinstance(document.data, dict):
        return
    for dotted, text in overrides.items():
        path = _override_path(model, dotted, document.data)
        value = parse_document(text, f"override {dotted}")
        target: Any = document.data
        for position, key in enumerate(path[:-1]):
            target = target.setdefault(key, {})
            if not isinstance(target, dict):
                rule = f"cannot be overridden: {'.'.join(map(str, path[: position + 1]))} is not a mapping"
                raise ConfigError(f"override {dotted}: {rule}.", remedy="Override the whole key instead.")
        target[path[-1]] = value.data
        document.forget(path)
        document.flaws += [Flaw((*path, *flaw.path), 0, flaw.rule) for flaw in value.flaws]


def _override_path(model: type[Model], dotted: str, data: Any) -> KeyPath:
    """Split at dots, except inside a mapping of settings: spark.conf.spark.executor.memory has three keys."""
    parts = dotted.split(".")
    if not all(parts):
        raise ConfigError(f"override {dotted!r}: not a dotted key.", remedy="Write for example spark.master=local[2].")
    for length in range(1, len(parts)):
        if is_settings(shape_at(model, tuple(parts[:length]), data)):
            return (*parts[:length], ".".join(parts[length:]))
    return tuple(parts)
