"""The benchmark of table readers: the same rows everywhere, and sides that share a process. No timing is asserted."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from benchmarks import people, tables
from benchmarks.cpu import forget_peaks, own_peak_mb, peaks_mb
from benchmarks.harness import Case, Peer, run_case
from benchmarks.ours.table_reader import _count
from benchmarks.table_sources import KINDS, source

HERE = "tests.benchmarks.sides"


def test_files_of_both_kinds_hold_the_same_rows_and_are_written_once(tmp_path: Path) -> None:
    with source("csv", tmp_path) as csv, source("parquet", tmp_path) as parquet:
        places = csv(1000), parquet(1000)
        written = [os.stat(place["path"]).st_mtime_ns for place in places]
        assert [os.stat(make(1000)["path"]).st_mtime_ns for make in (csv, parquet)] == written
    table = pq.read_table(places[1]["path"])
    read = pyarrow.csv.read_csv(places[0]["path"]).cast(table.schema)
    assert read.equals(table)
    assert table.column_names == [*people.READ, "code", "born"]
    assert pc.count_distinct(table["id"]).as_py() == table.num_rows == 1000


def test_a_table_of_several_pieces_goes_on_where_the_last_one_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pa.concat_tables(people.pieces(10))
    monkeypatch.setattr(people, "_PIECE", 4)
    assert [piece.num_rows for piece in people.pieces(10)] == [4, 4, 2]
    assert pa.concat_tables(people.pieces(10)).combine_chunks().equals(whole.combine_chunks())


@pytest.mark.parametrize("dialect", ["clickhouse", "mysql"])
def test_servers_compute_as_many_columns_as_files_have(dialect: str) -> None:
    columns = people.selected(dialect, "seq")
    assert columns.count("seq") == len(people.READ) + 2
    assert all(f"seq * {factor} % " in columns for factor in people._FACTORS)


def test_every_kind_has_a_case_for_each_of_its_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["tables"])
    options = tables._parser().parse_args()
    assert options.rows == [100_000]
    assert set(tables.PEERS) == set(KINDS)
    for kind in KINDS:
        made = tables.cases(kind, 10, {"kind": kind}, Path("/nowhere"), options)
        assert [case.peer for case in made] == [peer for peer, _ in tables.PEERS[kind]]
        assert all(case.config["table"]["features"] == [*people.READ[1:]] for case in made)


def test_a_peer_beside_us_is_measured_in_our_process_and_another_is_not() -> None:
    for beside in (True, False):
        line = run_case(
            Case("made-up", "count", HERE, {"rows": 7}, Peer("it", "tests.benchmarks.aside", beside=beside)), 2
        )
        assert line["peer"] == "it"
        assert (line["process"] == line["peer_process"]) is beside


def test_our_side_counts_rows_and_a_side_that_lost_some_fails() -> None:
    batch = pa.RecordBatch.from_pydict({"x": [1, 2, 3]})
    assert [row.to_pydict() for row in _count(iter([batch, batch]))] == [{"n": [6]}]
    with pytest.raises(AssertionError, match="6 rows of 7"):
        people.check(6, 7)


def test_peaks_are_those_since_they_were_forgotten() -> None:
    held = bytearray(200 << 20)
    held[:: 1 << 12] = b"x" * len(held[:: 1 << 12])
    before = own_peak_mb()
    del held
    forget_peaks()
    assert own_peak_mb() < before - 100
    assert "java" not in peaks_mb() or peaks_mb()["java"] > 0
