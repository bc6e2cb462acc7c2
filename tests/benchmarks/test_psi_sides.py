"""Our sides of the PSI cases find the common ids (they check that themselves), at sizes that take no time."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.ids import PARTIES, common, ids
from benchmarks.ours import psi_ecdh, psi_ot, psi_rsa_cached

CONFIG = {"rows": 300, "field_bits": 2, "bucket_rows": 64}


@pytest.mark.parametrize("side", [psi_ecdh, psi_ot])
def test_ids_in_memory_end_as_common_ids(side):
    done = side.prepare("crypto", CONFIG)()
    assert done.rows == 300
    assert done.cpu_s > 0
    assert done.bytes > 0


def test_a_query_on_kept_signatures_finds_half_of_its_ids():
    done = psi_rsa_cached.prepare("crypto", {"rows": 30, "times": 40, "bits": 2048})()
    assert (done.rows, done.bytes > 30 * (256 + 256 + 8)) == (30, True)


def test_with_csv_files_the_guest_writes_the_common_ids(tmp_path: Path):
    csv = {name: str(tmp_path / f"{name}.csv") for name in (*PARTIES, "result")}
    psi_ot.prepare("crypto", {**CONFIG, "csv": csv})()
    shared = set(ids("guest", 300)) & set(ids("host", 300))
    assert len(shared) == common(300)
    assert set(psi_ot.read_csv(csv["result"]).to_pylist()) == shared
