"""A good party file and a good pipeline file, and a way to write and refuse others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fedspark.conf import load_party, load_pipeline
from fedspark.errors import ConfigError
from fedspark.party import identity_text

PARTY = f"""\
party: hospital
identity: file:keys/hospital.key
workspace:
  files: work/hospital
exchange:
  url: exchange
peers:
  laboratory: {identity_text(bytes(range(32)))}
tables:
  patients:
    kind: csv
    path: data/*.csv
    id: patient_id
    label: malignant
"""

PIPELINE = """\
project: breast-cancer
pipeline: demo
parties:
  guest: hospital
  hosts: [laboratory]
  arbiter: authority
steps:
  - step: load
    tables: [patients, newcomers]
  - step: psi
    table: patients
  - step: train
    table: patients
  - step: evaluate
  - step: predict
    table: newcomers
"""


@pytest.fixture
def party_text() -> str:
    return PARTY


@pytest.fixture
def pipeline_text() -> str:
    return PIPELINE


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def write_file(content: str | bytes) -> Path:
        path = tmp_path / "file.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


@pytest.fixture
def refused_party(write: Callable[[str | bytes], Path]) -> Callable[..., str]:
    """Text of the error with which a party file is refused."""

    def refuse(content: str | bytes, **options: object) -> str:
        with pytest.raises(ConfigError) as caught:
            load_party(write(content), **options)  # type: ignore[arg-type]
        return str(caught.value)

    return refuse


@pytest.fixture
def refused_pipeline(write: Callable[[str | bytes], Path]) -> Callable[[str | bytes], str]:
    """Text of the error with which a pipeline file is refused."""

    def refuse(content: str | bytes) -> str:
        with pytest.raises(ConfigError) as caught:
            load_pipeline(write(content))
        return str(caught.value)

    return refuse
