"""The LR case measures whole rounds of the real protocol."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import lr
from benchmarks.aligned_rows import align
from benchmarks.ours import lr_round
from benchmarks.peers import lr_rounds
from fedspark.psi.align import PartFiles
from tests.federation import Federation

CONFIG = {"rows": 3000, "bits": 2048, "features": 3, "rounds": 1, "spark": False, "cores": 1, "memory": "1g"}


def test_a_round_has_its_rows_bytes_and_seconds(tmp_path: Path) -> None:
    work = lr_round.prepare("lr-round", {**CONFIG, "folder": str(tmp_path)})
    done = work()
    assert abs(done.rows - 3000) < 200
    assert done.bytes is not None
    assert 100 * done.rows < done.bytes < 120 * done.rows + 40_000
    assert done.cpu_s is not None
    assert 0 < done.cpu_s < 1e-3 * done.rows
    assert done.extra["spark_share"] is None
    assert not list(tmp_path.iterdir())


def test_a_peer_s_decryption_of_sums_is_spread_over_the_rows_of_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([10.0, 14.0, 34.0])  # 4 s of rows, 20 s of sums
    monkeypatch.setattr(lr_rounds, "process_cpu", lambda: next(seconds))
    config = {"features": 5, **lr.peer_config("phe", 100_000)}
    done = lr_rounds.measured(config, lambda: "sums", lambda sums: sums + " opened", "sums opened".__eq__)
    assert done.rows == config["rows"] == 40
    assert done.cpu_s == pytest.approx(4.0 + 20.0 * 40 / 100_000)
    assert done.extra == {"decrypt_us_per_sum": 2_000_000.0}


def test_a_peer_s_round_at_as_many_rows_as_ours_counts_all_of_its_decryption(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([0.0, 4.0, 24.0])
    monkeypatch.setattr(lr_rounds, "process_cpu", lambda: next(seconds))
    config = {"features": 5, **lr.peer_config("heu", 30)}
    assert lr_rounds.measured(config, lambda: 1, lambda sums: sums, bool).cpu_s == 24.0


def test_a_peer_that_finds_other_sums_has_no_figure() -> None:
    config = {"features": 5, **lr.peer_config("phe", 100)}
    with pytest.raises(AssertionError):
        lr_rounds.measured(config, lambda: 1, lambda sums: sums, (2).__eq__)


def test_made_rows_are_those_of_the_same_people_at_both_parties() -> None:
    federation = Federation()
    files = {}
    for name, features in (("guest", 2), ("host", 3)):
        run = federation.run(name, "psi")
        alignment = align(run, 150_000, features, name == "guest")
        files[name] = [
            PartFiles(run.workspace, alignment.files).read(part).read_all() for part in range(alignment.parts)
        ]
    keys = {name: [key for table in tables for key in table["key"].to_pylist()] for name, tables in files.items()}
    assert keys["guest"] == keys["host"]
    assert len(set(keys["guest"])) == 150_000
    digests = {name: [table["digest"].to_pylist() for table in tables] for name, tables in files.items()}
    assert digests["guest"] == digests["host"]
    columns = [
        np.concatenate([t[c].to_numpy() for t in files[p]]) for p, c in (("guest", "x.guest_0"), ("host", "x.host_0"))
    ]
    assert abs(np.corrcoef(columns)[0, 1]) > 0.01
    assert 0.1 < np.concatenate([table["label"].to_numpy() for table in files["guest"]]).mean() < 0.9
