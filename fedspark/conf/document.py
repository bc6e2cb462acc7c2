"""YAML as configuration needs it: no code, no repeated keys, no surprises, and the line of every key.

Plain words are YAML 1.2: ``true`` and ``false`` are booleans (a column may be called ``no``); ``1e-9`` is a number;
``007`` and ``2024-01-01`` are texts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fedspark.conf.model import KeyPath
from fedspark.errors import ConfigError

_SIZE_LIMIT = 1 << 20
_NODE_LIMIT = 100_000
_PREFIX = "tag:yaml.org,2002:"
_FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)


class _Loader(yaml.SafeLoader):
    """SafeLoader with the plain words of YAML 1.2; only its composer is used, nothing is constructed by tag."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own way, not shared with the parent


for _tag, _pattern, _first in (
    ("null", re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")),
    ("int", re.compile(r"[-+]?(0|[1-9][0-9]*)"), list("-+0123456789")),
    ("float", _FLOAT, list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(_PREFIX + _tag, re.compile(f"(?:{_pattern.pattern})$"), _first)


@dataclass(frozen=True)
class Flaw:
    """Something that the file's form has wrong: where and which rule."""

    path: KeyPath
    line: int
    rule: str


@dataclass
class Document:
    """A file's content, the line (from 1) of every key path, and what is wrong with its form."""

    source: str
    data: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    flaws: list[Flaw] = field(default_factory=list)

    def line(self, path: KeyPath) -> int | None:
        """Line of the key, or of the nearest key above it that the file has."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return None

    def forget(self, path: KeyPath) -> None:
        """Line 0, that is none, for a key path that no longer comes from the file, and for all below it."""
        self.lines = {key: line for key, line in self.lines.items() if key[: len(path)] != path}
        self.flaws = [flaw for flaw in self.flaws if flaw.path[: len(path)] != path]
        self.lines[path] = 0


def read_document(path: Path) -> Document:
    """Read one YAML file. ConfigError when it cannot be read, is not UTF-8 or is not YAML."""
    try:
        with path.open("rb") as file:
            content = file.read(_SIZE_LIMIT + 1)
    except OSError as error:
        raise ConfigError(
            f"The configuration file {path} cannot be read: {error.strerror}.", remedy="Name an existing YAML file."
        ) from None
    if len(content) > _SIZE_LIMIT:
        raise ConfigError(f"{path} is larger than 1 MiB, so it is no configuration file.", remedy="Name a YAML file.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}:{line}: the file is not UTF-8 text (byte 0x{content[error.start]:02x}).",
            remedy="Save it in UTF-8.",
        ) from None
    return parse_document(text, str(path))


def parse_document(text: str, source: str) -> Document:
    """Parse YAML text; ConfigError with the line when it is not YAML. The text is never quoted: it may be secret."""
    document = Document(source)
    try:
        node = _compose(text)
        if node is not None:
            document.data = _Builder(document).build(node, (), ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        begun = f" (begun in line {error.context_mark.line + 1})" if error.context_mark else ""
        reason = ", ".join(part for part in (error.context and error.context + begun, error.problem) if part)
        raise ConfigError(
            f"{source}:{line}: not YAML: {reason}.", remedy="Mind indentation, colons and quotes."
        ) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{source}:{line}: a character that YAML forbids.", remedy="Remove it.") from None
    except RecursionError:
        raise ConfigError(f"{source}: nested too deeply.", remedy="Configuration has a few levels only.") from None
    return document


def _compose(text: str) -> yaml.Node | None:
    loader = _Loader(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


class _Builder:
    """Turns YAML nodes into plain values and notes lines and flaws on the way."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._nodes = 0

    def build(self, node: yaml.Node, path: KeyPath, above: tuple[yaml.Node, ...]) -> Any:
        self._nodes += 1
        if node in above or self._nodes > _NODE_LIMIT:
            raise ConfigError(
                f"{self._document.source}:{_line(node)}: aliases repeat without end.", remedy="Remove them."
            )
        self._document.lines.setdefault(path, _line(node))
        if isinstance(node, yaml.MappingNode) and node.tag == _PREFIX + "map":
            return self._mapping(node, path, (*above, node))
        if isinstance(node, yaml.SequenceNode) and node.tag == _PREFIX + "seq":
            return [self.build(item, (*path, index), (*above, node)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and (build := _SCALARS.get(node.tag)) is not None:
            try:
                return build(node.value)
            except ValueError:
                pass
        self._flaw(path, node, f"tag {node.tag.replace(_PREFIX, '!!')!r} cannot be used here: plain values only")
        return None

    def _mapping(self, node: yaml.MappingNode, path: KeyPath, above: tuple[yaml.Node, ...]) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._flaw(path, key_node, "a key must be a plain word")
                continue
            key = str(key_node.value)
            if key in mapping:
                first = self._document.lines[(*path, key)]
                self._flaw((*path, key), key_node, f"the key is there twice, first in line {first}")
                continue
            self._document.lines[(*path, key)] = _line(key_node)
            mapping[key] = self.build(value_node, (*path, key), above)
        return mapping

    def _flaw(self, path: KeyPath, node: yaml.Node, rule: str) -> None:
        self._document.flaws.append(Flaw(path, _line(node), rule))


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _number(text: str) -> float:
    return float(re.sub(r"\.(?=inf|nan)", "", text.lower()))


_SCALARS: dict[str, Any] = {
    _PREFIX + "null": lambda text: None,
    _PREFIX + "bool": lambda text: text.lower() == "true",
    _PREFIX + "int": int,
    _PREFIX + "float": _number,
    _PREFIX + "str": str,
}
