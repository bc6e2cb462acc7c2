from __future__ import annotations

from collections.abc import Iterator

import pytest

from fedspark.psi import cache, ot, sizes
from fedspark.steps.psi import PROTOCOLS

MORNING = 1_800_000_000


@pytest.fixture(scope="session", params=sorted(PROTOCOLS))
def protocol(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every protocol that a pipeline file can name, one after the other; all with parts of one bucket and waves of one
    part, so that small tables have several.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ot, "BUCKETS_PER_PART", 1)
        patch.setattr(sizes, "WAVE_PARTS", 1)
        yield request.param


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The time that epochs of kept signatures see, to be changed by tests: a morning at first. Waves have one part."""
    time = [MORNING]
    monkeypatch.setattr(cache, "now", lambda: time[0])
    monkeypatch.setattr(sizes, "WAVE_PARTS", 1)
    return time
