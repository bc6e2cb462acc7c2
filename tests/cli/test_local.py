"""``fedspark local``: one process a party, and none left behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fedspark.cli import local
from fedspark.conf.local_file import LocalConf
from tests.example import PARTIES, Example, fedspark


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> dict[str, subprocess.Popen[bytes]]:
    """The processes that ``local`` starts, by party."""
    original, processes = local._start, {}

    def note(party: Path, *arguments: Any) -> subprocess.Popen[bytes]:
        processes[party.stem] = original(party, *arguments)
        return processes[party.stem]

    monkeypatch.setattr(local, "_start", note)
    return processes


def play(monkeypatch: pytest.MonkeyPatch, *scripts: str) -> tuple[int, list[int | None]]:
    """Run little Python scripts in place of parties; the exit status of all, and how each of them ended."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(party: Path, _pipeline: Path, _label: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-S", "-u", "-c", scripts[int(party.name)]]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
        return processes[-1]

    monkeypatch.setattr(local, "_start", start)
    code = local.run_all(LocalConf(Path("pipeline"), [Path(str(n)) for n in range(len(scripts))]), "1")
    ends = [process.returncode for process in processes]
    for process in processes:
        assert process.stdout is not None
        process.stdout.close()
    return code, ends


def test_a_party_that_fails_ends_the_others_and_its_status_is_the_commands(tmp_path, started):
    example = Example.make(tmp_path / "example", tables={})
    (example.directory / "keys/authority.key").unlink()
    outcome = fedspark("local", str(example.file("local")))
    assert outcome.code == 78
    assert {name: process.returncode for name, process in started.items()} == {
        "hospital": -15, "laboratory": -15, "authority": 78,
    }  # fmt: skip
    said = " ".join(outcome.out.split())
    assert "fedspark: ConfigError" in said
    assert "keys/authority.key" in said
    assert "Traceback" not in said
    assert set(started) == set(PARTIES)
    for process in started.values():
        assert process.stdout is not None
        process.stdout.close()


def test_all_parties_that_finish_give_status_0(monkeypatch):
    assert play(monkeypatch, "print('a')", "pass") == (0, [0, 0])


def test_lines_of_all_parties_are_shown(monkeypatch, capsys):
    play(monkeypatch, "print('from one')", "import sys; print('from two é', file=sys.stderr)")
    out = capsys.readouterr().out
    assert "from one\n" in out
    assert "from two é\n" in out


def test_a_party_that_is_killed_counts_as_failed(monkeypatch):
    code, ends = play(monkeypatch, "import os; os.kill(os.getpid(), 9)", "import time; time.sleep(600)")
    assert (code, ends) == (128 + 9, [-9, -15])


def test_a_party_that_does_not_listen_is_killed_after_a_grace(monkeypatch, tmp_path):
    monkeypatch.setattr(local, "_GRACE_SECONDS", 0.3)
    ready = tmp_path / "ready"
    deaf = f"import signal, time; signal.signal(15, signal.SIG_IGN); open({str(ready)!r}, 'w'); time.sleep(600)"
    failing = f"import os, time\nwhile not os.path.exists({str(ready)!r}): time.sleep(0.01)\nos._exit(65)"
    assert play(monkeypatch, deaf, failing) == (65, [-9, 65])


def test_an_interrupted_command_leaves_no_party_behind(monkeypatch):
    def interrupted(_processes: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(local, "_wait", interrupted)
    processes: list[Any] = []
    original = local._stop
    monkeypatch.setattr(local, "_stop", lambda held: (original(held), processes.extend(held.values())))
    with pytest.raises(KeyboardInterrupt):
        play(monkeypatch, "import time; time.sleep(600)", "import time; time.sleep(600)")
    assert [process.returncode for process in processes] == [-15, -15]
    for process in processes:
        process.stdout.close()
