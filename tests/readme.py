"""The blocks of README.md that stand for an entry of `tables`, or another part of a party file, by what they are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()

_BLOCK = re.compile(r"^<!-- (table|party): (\w+) -->\n```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)

TABLES: dict[str, str] = {name: text for what, name, text in _BLOCK.findall(README) if what == "table"}
"""Text of the entry `customers` of `tables`, by kind."""

PARTS: dict[str, str] = {name: text for what, name, text in _BLOCK.findall(README) if what == "party"}
"""Text of other top-level keys of a party file, by key."""


def table(kind: str) -> dict[str, Any]:
    """The keys of the table of that kind."""
    (conf,) = yaml.safe_load(TABLES[kind]).values()
    return dict(conf)
