"""CI accepts a skipped test for one reason only."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci/skips.py"
LEFT_OUT = {
    "test_by_function": "def test_it(): pytest.skip('no Java')",
    "test_by_mark": "@pytest.mark.skip\ndef test_it(): pass",
    "test_by_module": "pytest.skip('not today', allow_module_level=True)",
    "test_by_import": "pytest.importorskip('a_package_that_is_absent')",
    "test_by_xfail": "@pytest.mark.xfail\ndef test_it(): assert False",
}


@pytest.fixture
def judge(tmp_path):
    """Run pytest on modules (name: source), then the script on its report: (exit status, output)."""

    def run(modules: dict[str, str]) -> tuple[int, str]:
        for name, source in modules.items():
            (tmp_path / f"{name}.py").write_text(f"import pytest\n{source}\n")
        report = tmp_path / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", "."]
        quick = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        subprocess.run(command, cwd=tmp_path, env=quick, capture_output=True)
        done = subprocess.run([sys.executable, str(SCRIPT), str(report)], capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    return run


def test_only_a_test_that_waits_for_the_shared_data_may_be_left_out(judge):
    status, output = judge({"test_a": "def test_waits(): pytest.skip('no shared data here')\ndef test_runs(): pass"})
    assert status == 0
    assert "skipped: test_a::test_waits: " in output
    assert "no shared data here" in output
    assert "1 in all, 0 of them not accepted" in output


def test_every_other_way_to_leave_a_test_out_fails(judge):
    status, output = judge(LEFT_OUT)
    assert status == 1
    for name in LEFT_OUT:
        assert f"NOT ACCEPTED: {name}" in output
    assert f"{len(LEFT_OUT)} in all, {len(LEFT_OUT)} of them not accepted" in output
    assert "no Java" in output
    assert "not today" in output


def test_a_missing_report_is_not_taken_for_success(tmp_path):
    done = subprocess.run([sys.executable, str(SCRIPT), str(tmp_path / "none.xml")], capture_output=True, text=True)
    assert done.returncode == 2
    assert "no readable report" in done.stderr
