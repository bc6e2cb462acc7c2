"""A party file for work that needs no other party: it may leave out what is for the others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from fedspark.conf import loader
from fedspark.conf.document import read_document
from fedspark.conf.party_file import OwnConf

_FOR_OTHERS = ("identity", "exchange", "peers")


def load_own(path: Path | str, overrides: Mapping[str, str] | None = None) -> OwnConf:
    """As `load_party`; a file with neither identity nor exchange nor peers is one too."""
    place = Path(os.path.abspath(path))
    document = read_document(Path(path))
    if not isinstance(document.data, dict) or any(key in document.data for key in _FOR_OTHERS):
        return loader.load_party(path, overrides)
    loader.override(document, OwnConf, overrides or {})
    return loader.validate(document, OwnConf, {"path": place, "directory": place.parent})
