"""The tables of the end-to-end cases hold the ids that the peers' files hold."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks import id_tables
from benchmarks.ids import PARTIES, ids


@pytest.mark.parametrize("rows", [1, 7, 100])
def test_tables_have_every_id_once_in_whatever_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int):
    monkeypatch.setattr(id_tables, "_PIECE", 8)
    for party in PARTIES:
        id_tables.write_table(str(tmp_path / party), party, rows)
        assert sorted(pq.read_table(tmp_path / party)["id"].to_pylist()) == ids(party, rows)
