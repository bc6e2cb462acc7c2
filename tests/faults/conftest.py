"""An undisturbed run of the example: what every disturbed one is compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedspark.conf import PartyConf
from fedspark.run.session import start_session
from tests.example import Example


@pytest.fixture(scope="session")
def spark_starts() -> list[str]:
    """The parties that asked for a Spark session in the undisturbed run."""
    return []


@pytest.fixture(scope="session")
def calm(spark: Any, tmp_path_factory: pytest.TempPathFactory, spark_starts: list[str]) -> Example:
    """All steps of all parties, as threads with tasks in this process, finished. Read only."""
    example = Example.make(tmp_path_factory.mktemp("calm") / "example")

    def start(party: PartyConf, name: str) -> Any:
        spark_starts.append(party.party)
        return start_session(party, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedspark.run.opening.start_session", start)
        errors = example.play()
    assert errors == {}
    return example


@pytest.fixture(scope="session")
def greeted(tmp_path_factory: pytest.TempPathFactory) -> Example:
    """Files, tables and a finished handshake; to be copied."""
    example = Example.make(tmp_path_factory.mktemp("greeted") / "example")
    example.greet()
    return example


@pytest.fixture
def example(greeted: Example, tmp_path: Path) -> Example:
    """The parties have met and nothing has been done yet."""
    return greeted.copy(tmp_path / "example")
