"""The weight of a person is in the guest's aligned rows, beside the label, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from fedspark.psi.align import Alignment
from fedspark.run import Run
from tests.federation import Federation
from tests.psi.people import aligned, chunks_of, names, number_of, options, role_of, source, staged


@pytest.mark.parametrize("protocol", ["ecdh", "rsa"])
def test_weights_are_aligned_with_the_people_that_they_belong_to(tmp_path: Path, protocol: str):
    people = names(0, 40)
    guest = staged(people, label=True)
    weights = pa.array([number_of(key) / 4.0 for key in people], pa.float64())
    guest = guest.add_column(guest.column_names.index("label") + 1, "weight", weights)
    chunks = chunks_of(guest, tmp_path, rows=7)
    assert chunks.schema == guest.schema
    sources = {"guest": source(guest, chunks), "host": source(staged(names(10, 60)))}

    def half(name: str) -> Callable[[Run], Alignment]:
        return lambda run: role_of(run, protocol)(run, options(8, protocol), sources[name])

    federation = Federation(arbiter=False)
    found = federation.play("psi", {name: half(name) for name in sources})
    rows = aligned(federation, "guest", found["guest"])
    assert rows.column_names == ["bucket", "digest", "key", "id.pid", "label", "weight", "x.number"]
    assert set(rows["key"].to_pylist()) == set(names(10, 40))
    assert rows["weight"].to_pylist() == [number_of(key) / 4.0 for key in rows["key"].to_pylist()]
    assert "weight" not in aligned(federation, "host", found["host"]).column_names
