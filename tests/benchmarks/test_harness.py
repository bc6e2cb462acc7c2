"""The harness: what a line says, its arithmetic, and peers that are absent or fail. No timing is asserted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks import harness, ids, inputs
from benchmarks.harness import KEYS, Case, Peer, SideFailed, chosen_peers, record, run_case
from benchmarks.worker import Work, measure

HERE = "tests.benchmarks.sides"


def measured(cpu_s: float, *, rows: int = 100, per: int = 1, size: int | None = None, **extra: Any) -> dict[str, Any]:
    """A round as a worker reports it."""
    common = {"wall_s": 2 * cpu_s, "peak_rss_mb": 10 * cpu_s, "bytes": size, "extra": extra}
    return {"rows": rows, "units": rows * per, "cpu_s": cpu_s, **common}


def case(peer: Peer | None, **peer_config: Any) -> Case:
    return Case("made-up", "count", HERE, {"rows": 7}, peer, peer_config, {"bits": 2048})


def test_a_line_begins_with_exactly_the_keys_that_every_benchmark_has():
    line = record("psi", "rsa", [measured(1.0)], "none", [], {"phase": "crypto"})
    assert tuple(line)[: len(KEYS)] == KEYS
    assert line["phase"] == "crypto"
    assert json.loads(json.dumps(line)) == line


def test_the_figures_are_medians_and_the_ratio_is_peer_by_ours():
    ours = [measured(3.0, size=1200), measured(1.0, size=1200), measured(2.0, size=1200)]
    theirs = [measured(0.4, rows=10), measured(9.0, rows=10), measured(0.6, rows=10)]
    line = record("psi", "rsa", ours, "other", theirs, {})
    assert line["cpu_us_per_row"] == 20_000
    assert line["peer_cpu_us_per_row"] == 60_000
    assert line["ratio"] == 3
    assert (line["rows"], line["peer_rows"]) == (100, 10)
    assert (line["bytes_per_row"], line["peer_bytes_per_row"]) == (12, None)
    assert (line["wall_s"], line["peak_rss_mb"], line["spread"], line["repeats"]) == (4, 30, 1, 3)


def test_a_case_per_row_and_feature_divides_by_both():
    line = record("paillier", "matvec16", [measured(1.0, per=10)], "other", [measured(2.0, rows=50, per=10)], {})
    assert (line["rows"], line["cpu_us_per_row"], line["peer_cpu_us_per_row"], line["ratio"]) == (100, 1000, 4000, 4)


def test_other_fields_are_medians_of_floats_and_the_first_of_anything_else():
    ours = [measured(1.0, host_us=5.0, engine="gmpy2"), measured(1.0, host_us=7.0, engine="gmpy2")]
    line = record("psi", "rsa", ours, "other", [measured(1.0, host_us=8.0)], {})
    assert (line["host_us"], line["engine"], line["peer_host_us"]) == (6, "gmpy2", 8)


def test_a_peer_without_figures_leaves_them_null_and_no_ratio():
    line = record("psi", "rsa", [measured(1.0)], "absent: other", [], {})
    assert (line["peer"], line["peer_cpu_us_per_row"], line["ratio"]) == ("absent: other", None, None)


def test_work_that_measures_itself_replaces_what_the_worker_saw():
    seen = measure(lambda: Work(5, 10, per=2, cpu_s=123.0, peak_rss_mb=4.0, extra={"a": 1}))
    assert (seen["rows"], seen["units"], seen["bytes"], seen["cpu_s"], seen["peak_rss_mb"]) == (5, 10, 10, 123.0, 4.0)


def test_both_sides_are_measured_in_processes_of_their_own():
    line = run_case(case(Peer("sums", HERE, "json"), rows=3), repeats=2)
    assert (line["peer"], line["rows"], line["peer_rows"], line["repeats"]) == ("sums", 7, 3, 2)
    assert line["ratio"] > 0
    assert line["cpu_us_per_row"] > 0
    assert line["process"] != line["peer_process"]


def test_a_peer_that_is_not_installed_is_reported_as_absent():
    line = run_case(case(Peer("nobody", HERE, "no_such_package_anywhere", (".venv.no-such",))), repeats=1)
    assert (line["peer"], line["peer_cpu_us_per_row"], line["ratio"]) == ("absent: nobody", None, None)
    assert line["cpu_us_per_row"] > 0


@pytest.mark.parametrize("when", ["prepare", "measure"])
def test_a_peer_that_fails_is_reported_as_failed_with_its_reason(when: str):
    line = run_case(case(Peer("broken", HERE, "json"), fails=when), repeats=2)
    assert (line["peer"], line["peer_cpu_us_per_row"], line["ratio"]) == ("failed: broken", None, None)
    assert line["peer_error"] == "ArithmeticError: asked to fail"
    assert line["repeats"] == 2


def test_a_failure_of_our_own_side_ends_the_run():
    own = Case("made-up", "count", HERE, {"rows": 7, "fails": "measure"})
    with pytest.raises(SideFailed, match="asked to fail"):
        run_case(own, repeats=1)


def test_a_peer_is_looked_for_in_its_own_environment(monkeypatch: pytest.MonkeyPatch):
    there = str(harness.CHECKOUT / ".venv.spu/bin/python")
    monkeypatch.setattr(harness, "can_import", lambda python, package: python == there)
    assert Peer("spu", HERE, "spu", (".venv", ".venv.spu")).python() == there
    monkeypatch.setenv("FEDSPARK_PEERS_PYTHON", "/somewhere/python")
    monkeypatch.setattr(harness, "can_import", lambda python, package: python == "/somewhere/python")
    assert Peer("spu", HERE, "spu").python() == "/somewhere/python"


def test_an_unknown_peer_is_named_with_the_known_ones():
    with pytest.raises(SystemExit, match="unknown peer x; known here: phe"):
        chosen_peers(["x"], {"phe": 1})


def test_every_second_id_of_both_parties_is_in_common():
    for rows in (1, 2, 7, 100):
        guest, host = (ids.ids(party, rows) for party in ids.PARTIES)
        assert len(set(guest)) == len(set(host)) == rows
        assert len(set(guest) & set(host)) == ids.common(rows)


def test_inputs_are_equal_whenever_they_are_made_and_have_the_stated_precision():
    assert inputs.residuals(20) == inputs.residuals(20)
    assert all(-1 <= number < 1 and (number * 2**20).is_integer() for number in inputs.residuals(200))
    assert all(-(2**15) <= entry < 2**15 for row in inputs.matrix16(30, 4) for entry in row)
