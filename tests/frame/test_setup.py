"""The set-up script says what is missing, and never calls an unfinished environment finished."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ["bash", "cat", "chmod", "date", "dirname", "env", "grep", "id", "mkdir", "mv", "rm", "sed", "touch"]


class Checkout:
    """A checkout that holds only the set-up, on a machine whose PATH has only a few tools and the Java we give it."""

    def __init__(self, path: Path) -> None:
        self.path = path / "checkout"
        self.bin = path / "bin"
        self.jvms = path / "jvms"
        for directory in (self.path / ".ci", self.path / "locks", self.bin, self.jvms):
            directory.mkdir(parents=True)
        shutil.copy(ROOT / ".ci/setup", self.path / ".ci/setup")
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool) or pytest.fail(f"{tool} is not on PATH"))

    def java(self, home: Path, version: int) -> Path:
        launcher = home / "bin/java"
        launcher.parent.mkdir(parents=True)
        launcher.write_text(
            f'#!/bin/sh\necho "    java.home = {home}" >&2\necho "    java.specification.version = {version}" >&2\n'
        )
        launcher.chmod(0o755)
        return home

    def python_without_network(self) -> str:
        """A stand-in for a Python that makes a venv (of itself) and has a pip that can install nothing."""
        python = self.bin / "python-stand-in"
        python.write_text(
            "#!/bin/bash\n"
            'case "$*" in\n'
            '    "-m venv "*) to=${@: -1}/bin/python; mkdir -p "${to%/*}"; cat "$0" >"$to"; chmod +x "$to" ;;\n'
            '    *"pip install"*) exit 1 ;;\n'
            "esac\n"
        )
        python.chmod(0o755)
        return str(python)

    def setup(self, target: str, **environment: str) -> subprocess.CompletedProcess[str]:
        known = {"PATH": str(self.bin), "HOME": str(self.path), "FEDSPARK_JVM_DIRS": str(self.jvms)}
        return subprocess.run(
            ["bash", str(self.path / ".ci/setup"), target],
            env=known | {"FEDSPARK_INSTALL": "0"} | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def recorded_java(self) -> str | None:
        record = self.path / ".venv/java_home"
        return record.read_text().strip() if record.exists() else None


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def test_a_machine_without_java_is_told_what_to_install(checkout):
    done = checkout.setup("java")
    assert done.returncode == 1
    assert "Spark needs Java 17 or 21, and none was found" in done.stderr
    assert "apt-get install openjdk-17-jre-headless" in done.stderr
    assert "FEDSPARK_INSTALL=1" in done.stderr
    assert checkout.recorded_java() is None


def test_a_java_of_another_version_is_named_and_not_used(checkout):
    home = checkout.java(checkout.jvms / "jdk-25", 25)
    done = checkout.setup("java")
    assert done.returncode == 1
    assert f"Found, but of no use: {home} (Java 25)" in done.stderr


@pytest.mark.parametrize("version", [17, 21])
def test_a_java_in_a_usual_place_is_found_beside_an_unfit_one_that_java_home_names(checkout, version):
    unfit = checkout.java(checkout.jvms / "jdk-11", 11)
    home = checkout.java(checkout.jvms / "jdk-fit", version)
    done = checkout.setup("java", JAVA_HOME=str(unfit))
    assert done.returncode == 0, done.stderr
    assert f"JAVA_HOME={unfit} is not Java 17 or 21" in done.stderr
    assert checkout.recorded_java() == str(home)


def test_the_java_of_java_home_replaces_the_one_found_before(checkout, tmp_path):
    checkout.java(checkout.jvms / "jdk-17", 17)
    checkout.setup("java")
    wanted = checkout.java(tmp_path / "jdk-21", 21)
    assert checkout.setup("java", JAVA_HOME=str(wanted)).returncode == 0
    assert checkout.recorded_java() == str(wanted)


def test_a_java_that_was_removed_is_looked_for_again(checkout):
    first = checkout.java(checkout.jvms / "jdk-17", 17)
    checkout.setup("java")
    shutil.rmtree(first)
    second = checkout.java(checkout.jvms / "jdk-21", 21)
    assert checkout.setup("java").returncode == 0
    assert checkout.recorded_java() == str(second)


def test_a_python_that_is_too_old_or_absent_is_refused_by_name(checkout):
    (checkout.path / "locks/test.txt").write_text("")
    done = checkout.setup("venv", PYTHON="/nowhere/python3.8")
    assert done.returncode == 1
    assert "PYTHON=/nowhere/python3.8 is not a Python 3.11 or newer" in done.stderr


def test_a_failed_install_leaves_no_stamp_and_the_next_run_starts_over(checkout):
    (checkout.path / "locks/test.txt").write_text("numpy==2.4.6\n")
    for _ in range(2):
        done = checkout.setup("venv", PYTHON=checkout.python_without_network())
        assert done.returncode == 1
        assert "the packages of locks/test.txt could not be installed" in done.stderr
        assert (checkout.path / ".venv/bin/python").exists()
        assert not (checkout.path / ".venv/packages").exists()
    assert ".venv is unfinished or was made for other packages: making it anew" in done.stderr


def test_an_environment_of_the_users_own_is_moved_aside_not_deleted(checkout):
    (checkout.path / "locks/test.txt").write_text("numpy==2.4.6\n")
    (checkout.path / ".venv").mkdir()
    (checkout.path / ".venv/mine").write_text("kept")
    checkout.setup("venv", PYTHON=checkout.python_without_network())
    (aside,) = checkout.path.glob(".venv.aside.*")
    assert (aside / "mine").read_text() == "kept"
