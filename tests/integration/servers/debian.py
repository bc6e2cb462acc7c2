"""Programs that tests need: found, or installed with apt-get by the rules of `.ci/setup`, or a skip with the reason."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import NoReturn

import pytest

_CONTAINER = ("/.dockerenv", "/run/.containerenv")
_LOCKED = "/var/lib/dpkg/lock"


def found_or_installed(package: str, *programs: str) -> str:
    """Path of the first of ``programs`` that is there, perhaps after installing a Debian package with apt-get."""
    if (program := _found(programs)) is not None:
        return program
    if shutil.which("apt-get") is None or not _may_install():
        unavailable(f"{programs[0]} is not installed; FEDSPARK_INSTALL=1 lets root install it from {package}")
    said = _install(package)
    if (program := _found(programs)) is None:
        unavailable(f"{programs[0]} is not installed, and apt-get install {package} failed: {said[-500:]}")
    return program


def file_found_or_installed(package: str, path: str) -> str:
    """``path``, perhaps after installing the Debian package that has it."""
    if not os.path.exists(path):
        if shutil.which("apt-get") is None or not _may_install():
            unavailable(f"{path} is not there; FEDSPARK_INSTALL=1 lets root install it from {package}")
        said = _install(package)
        if not os.path.exists(path):
            unavailable(f"{path} is not there, and apt-get install {package} failed: {said[-500:]}")
    return path


def unavailable(reason: str) -> NoReturn:
    """Skip the test, or fail it where FEDSPARK_NEEDS_SERVERS=1 says that nothing may be missing."""
    if os.environ.get("FEDSPARK_NEEDS_SERVERS") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _found(programs: tuple[str, ...]) -> str | None:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/local/sbin"
    return next((found for program in programs if (found := shutil.which(program, path=path))), None)


def _may_install() -> bool:
    wish = os.environ.get("FEDSPARK_INSTALL")
    if wish == "0" or os.geteuid() != 0:
        return False
    in_container = any(map(os.path.exists, _CONTAINER)) or any(
        os.environ.get(name) for name in ("KUBERNETES_SERVICE_HOST", "container")
    )
    return wish == "1" or os.environ.get("CI", "false") != "false" or in_container or _cgroup_of_container()


def _cgroup_of_container() -> bool:
    try:
        groups = Path("/proc/1/cgroup").read_text()
    except OSError:
        return False
    return any(name in groups for name in ("docker", "kubepods", "containerd", "lxc"))


def _install(package: str) -> str:
    """What apt-get said; it is run again while another one holds its lock, for a minute."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    deadline = time.monotonic() + 60
    said = ""
    for command in (["update"], ["install", "-y", "--no-install-recommends", package]):
        while True:
            run = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0", *command]
            done = subprocess.run(run, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
            said = f"{done.stdout}{done.stderr}".strip()
            if done.returncode == 0 or _LOCKED not in said or time.monotonic() > deadline:
                break
            time.sleep(2)
    return said
