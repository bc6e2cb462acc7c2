"""The local file: which party files and which pipeline ``fedspark local`` runs together on one machine."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field

from fedspark.conf.document import read_document
from fedspark.conf.loader import validate
from fedspark.conf.model import Model, Text
from fedspark.errors import ConfigError


class LocalFile(Model):
    """Content of the file; paths are taken from its directory."""

    pipeline: Text = Field(description="The pipeline file.")
    parties: list[Text] = Field(min_length=2, description="The party files of all its parties.")


class LocalConf:
    """Absolute paths of one pipeline file and its party files."""

    def __init__(self, pipeline: Path, parties: list[Path]) -> None:
        self.pipeline = pipeline
        self.parties = parties


def load_local(path: Path | str) -> LocalConf:
    """Load a local file; ConfigError lists all problems, and names a file that is not there."""
    content = validate(read_document(Path(path)), LocalFile, {})
    directory = Path(os.path.abspath(path)).parent
    conf = LocalConf(directory / content.pipeline, [directory / party for party in content.parties])
    for file in (conf.pipeline, *conf.parties):
        if not file.is_file():
            raise ConfigError(f"{path} names {file}, and there is no such file.")
    return conf
