"""Everything that is wrong with a file, in words: where, which rule, which value, and what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from fedspark.conf.document import Document
from fedspark.conf.model import ACROSS_KEYS, NAME_PATTERN, NAME_RULE, Finding, KeyPath
from fedspark.conf.references import CLEAR_SECRET
from fedspark.conf.secrets import MASK, is_secret_key
from fedspark.conf.shape import child, keys_of, shape_at
from fedspark.errors import ConfigError

_TAGGED = {"steps": 2, "tables": 2, "scores": 3}
"""Where pydantic adds the tag of the chosen model to a path: (steps, 2, psi, key_bits)."""
_SHORT = 80  # characters of a value
_LONG = 400  # characters of a rule or key path
_WORDS = {
    "string_type": "must be text (a number or true/false: in quotes)",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a mapping (key: value)",
    "model_type": "must be a mapping (key: value)",
    "model_attributes_type": "must be a mapping (key: value)",
    "bytes_type": "must be text",
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong; ``value`` is fit for printing, masked where it might be secret."""

    path: KeyPath
    rule: str
    value: str = ""
    hint: str = ""
    line: int | None = None

    def text(self, source: str) -> str:
        where = source if self.line is None else f"{source}:{self.line}" if self.line else f"{source}, with overrides"
        key = f" {_cut(key_text(self.path), _LONG)}:" if self.path else ""
        value = f" (found {self.value})" if self.value else ""
        return f"{where}:{key} {_cut(self.rule, _LONG)}{value}. {self.hint}".rstrip()


def key_text(path: KeyPath) -> str:
    """A key path as one writes it: ``steps[2].key_bits``, ``spark.conf["spark.executor.memory"]``."""
    text = ""
    for key in path:
        if isinstance(key, int) or not re.fullmatch(r"[A-Za-z0-9_-]+", key):
            text += f"[{key}]" if isinstance(key, int) else f'["{key}"]'
        else:
            text += f".{key}" if text else key
    return text


def error_of(problems: Iterable[Problem], source: str) -> ConfigError:
    """One error that lists all problems in the order of the file."""
    ordered = sorted(dict.fromkeys(problems), key=lambda problem: problem.line or 0)
    lines = [problem.text(source) for problem in ordered]
    text = lines[0] if len(lines) == 1 else f"{len(lines)} problems in {source}:\n" + "\n".join(lines) + "\n"
    it = "it" if len(lines) == 1 else "them"
    overridden = any(problem.line == 0 for problem in ordered)  # 'check' reads the file without --set
    if overridden:
        return ConfigError(text, remedy=f"Correct {it} where --set overrides the file, then run the command again.")
    return ConfigError(text, remedy=f"Correct {it}, then look again with 'fedspark check'.")


def problems_of(
    document: Document, model: type[BaseModel], error: ValidationError | None, found: Iterable[Finding]
) -> list[Problem]:
    """All problems of a document: of its form, of single keys (``error``) and across keys (``found``)."""
    problems = [Problem(flaw.path, flaw.rule, line=flaw.line) for flaw in document.flaws]
    findings = list(found)
    for detail in error.errors(include_url=False) if error else ():
        path = _path(detail["loc"], document.data)
        if detail["type"] == ACROSS_KEYS:
            inner = detail["ctx"]["findings"]
            findings += [Finding((*path, *item.path), item.rule, item.value, item.hint) for item in inner]
        else:
            problems.append(_problem(path, detail, model, document))
    known = {problem.path for problem in problems}
    seen: set[tuple[KeyPath, str]] = set()
    for finding in findings:
        if finding.path not in known and (finding.path, finding.rule) not in seen:
            seen.add((finding.path, finding.rule))
            value = _shown(finding.path, finding.value)
            problems.append(Problem(finding.path, finding.rule, value, finding.hint, document.line(finding.path)))
    return problems


def _path(loc: tuple[str | int, ...], data: Any) -> KeyPath:
    place = _TAGGED.get(str(loc[0])) if loc else None
    path = loc if place is None else (*loc[:place], *loc[place + 1 :])
    if path[:1] == ("scores",) and isinstance(child(child(data, "scores"), path[1]) if path[1:] else None, Mapping):
        path = (*path[:2], *(key for key in path[2:3] if not isinstance(key, int)), *path[3:])  # a list of one
    return path[:-1] if path and path[-1] == "[key]" else path


def _problem(path: KeyPath, detail: Mapping[str, Any], model: type[BaseModel], document: Document) -> Problem:
    kind, ctx, value = detail["type"], detail.get("ctx", {}), _shown(path, detail["input"])
    rule, hint = _WORDS.get(kind) or str(detail["msg"]).replace("Input should", "must"), ""
    if kind == "missing":
        rule, value = "is required and missing", ""
    elif kind == "extra_forbidden":
        keys = keys_of(shape_at(model, path[:-1], document.data))
        rule, value = f"unknown key; valid here: {', '.join(keys)}", ""
        free = [key for key in keys if key not in _keys_at(document.data, path[:-1])]
        hint = _nearest(path[-1], free) or _nearest(path[-1], keys)
    elif kind == "union_tag_not_found":
        path = (*path, ctx["discriminator"].strip("'"))
        rule, value = f"is required and missing; valid: {_kinds(model, path, document.data)}", ""
    elif kind == "union_tag_invalid":
        path = (*path, ctx["discriminator"].strip("'"))
        rule, value = f"unknown {path[-1]}; valid: {ctx['expected_tags'].replace(chr(39), '')}", _cut(repr(ctx["tag"]))
        hint = _nearest(ctx["tag"], re.findall(r"'([^']+)'", ctx["expected_tags"]))
    elif kind == "literal_error":
        rule = f"must be {ctx['expected']}"
        hint = _nearest(detail["input"], re.findall(r"'([^']+)'", ctx["expected"]))
    elif kind == "string_pattern_mismatch" and ctx.get("pattern") == NAME_PATTERN:
        rule = NAME_RULE
        hint = _name_hint(detail["input"])
    elif kind == CLEAR_SECRET:
        value = f"{MASK}, masked"
    return Problem(path, rule, value, hint, document.line(path))


def _keys_at(data: Any, path: KeyPath) -> list[str]:
    for key in path:
        data = child(data, key)
    return list(data) if isinstance(data, Mapping) else []


def _kinds(model: type[BaseModel], path: KeyPath, data: Any) -> str:
    choices = shape_at(model, path[:-1], data)
    return ", ".join(choice.model_fields[path[-1]].default for choice in choices)


def _nearest(word: Any, words: list[str]) -> str:
    near = get_close_matches(str(word).lower(), words, n=1, cutoff=0.5)
    return f"Did you mean {near[0]!r}?" if near else ""


def _name_hint(value: str) -> str:
    name = re.sub(r"[^a-z0-9_-]+", "-", value.lower()).strip("-_")
    return f"For example {name!r}." if name else ""


def _shown(path: KeyPath, value: Any) -> str:
    """The value for a message: masked at keys that may hold a secret, named by kind when it is large."""
    if value is None or isinstance(value, bytes):
        return ""
    if any(key in ("identity", "options") or is_secret_key(str(key)) for key in path):
        return f"{MASK}, masked"
    return _kind_of(value) or _cut(value if isinstance(value, (bool, int, float)) else repr(value))


def _kind_of(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, (list, tuple)) else ""


def _cut(value: Any, limit: int = _SHORT) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= limit else text[:limit] + "..."
