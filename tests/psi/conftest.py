from __future__ import annotations

import pytest

from fedspark.steps.psi import PROTOCOLS


@pytest.fixture(scope="session", params=sorted(PROTOCOLS))
def protocol(request: pytest.FixtureRequest) -> str:
    """Every protocol that a pipeline file can name, one after the other."""
    return request.param
