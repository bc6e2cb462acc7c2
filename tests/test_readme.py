"""README.md says what is true: its walk-through runs as it stands, and what it names exists."""

from __future__ import annotations

import csv
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import fedspark.errors
from fedspark.cli.commands import cli
from fedspark.conf import load_party
from tests import readme

CHECKOUT = Path(__file__).resolve().parents[1]
README = readme.README
PATIENCE_SECONDS = 400

_MARKED = re.compile(r"^<!-- walk: (\w+) ?(\S*) -->\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FENCE = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")


@dataclass(frozen=True)
class Block:
    """One marked block: what to do with it (file, merge, run, terminals), to which file, and its text."""

    action: str
    file: str
    text: str


BLOCKS = [Block(*match.groups()) for match in _MARKED.finditer(README)]


class Walk:
    """A newcomer's directory, in which the blocks are carried out."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "walk"
        self.directory.mkdir()
        tools = directory / "bin"
        tools.mkdir()
        command = tools / "fedspark"
        command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m fedspark "$@"\n')
        command.chmod(0o755)
        path = os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environment = {
            **os.environ,
            "PATH": path,
            "PYTHONPATH": str(CHECKOUT),
            # A JVM that starts fast and stays small.
            "JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        }

    def do(self, block: Block) -> str:
        """Carry out one block; what it printed."""
        if block.action == "file":
            (self.directory / block.file).parent.mkdir(exist_ok=True)
            (self.directory / block.file).write_text(block.text)
            return ""
        if block.action == "terminals":
            return self.side_by_side(block.text.splitlines())
        return self.sh(block.text)

    def sh(self, text: str) -> str:
        """Standard output of a shell script; fails the test unless it ends with 0."""
        with self.start(text) as process:
            return self.finish(process, text)

    def side_by_side(self, lines: list[str]) -> str:
        """All lines at the same time; when one fails, the others are ended, since they would wait for it."""
        processes = {line: self.start(f"exec {line}") for line in lines}
        try:
            with ThreadPoolExecutor(len(lines)) as threads:
                futures = [threads.submit(self.finish, process, line) for line, process in processes.items()]
                for future in as_completed(futures):
                    if future.exception() is not None:
                        self.end(list(processes.values()))
            return "".join(future.result() for future in futures)
        finally:
            self.end(list(processes.values()))

    def start(self, text: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @staticmethod
    def finish(process: subprocess.Popen[str], text: str) -> str:
        out, _ = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0, f"{text}\nended with {process.returncode}:\n{out}"
        return out

    @staticmethod
    def end(processes: list[subprocess.Popen[str]]) -> None:
        for process in processes:
            if process.poll() is None:
                process.terminate()


@pytest.fixture
def walk(tmp_path: Path) -> Walk:
    return Walk(tmp_path)


def before_terminals() -> list[Block]:
    """The blocks up to the one that runs all parties: keys, tables and files, and their check."""
    return BLOCKS[: [block.action for block in BLOCKS].index("terminals")]


# ---- the walk-through ------------------------------------------------------------------------------------------------


def test_the_files_of_the_walk_through_are_valid_and_fit_together(walk):
    printed = "".join(walk.do(block) for block in before_terminals())
    assert printed.count("a valid party file") == 3
    assert "credit.yaml: a valid pipeline file" in printed


def test_the_places_of_three_machines_are_valid_in_the_party_file(walk):
    for block in before_terminals():
        walk.do(block)
    merged = [block for block in BLOCKS if block.action == "merge"]
    assert merged
    for block in merged:
        path = walk.directory / block.file
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **yaml.safe_load(block.text)}))
        party = load_party(path)
        assert party.exchange.url == "s3://joint-bucket/credit"
        assert party.workspace.files.startswith("s3://")


def test_the_tables_of_every_kind_and_what_goes_with_them_are_valid_in_the_party_file(walk):
    for block in before_terminals():
        walk.do(block)
    path = walk.directory / "bank" / "bank.yaml"
    own = yaml.safe_load(path.read_text())
    for kind, text in readme.TABLES.items():
        path.write_text(yaml.safe_dump({**own, "tables": yaml.safe_load(text)}))
        (table,) = load_party(path).tables.values()
        assert table.kind == kind
    tables = yaml.safe_load(readme.TABLES["mysql"])
    for key, text in readme.PARTS.items():
        path.write_text(yaml.safe_dump({**own, "tables": tables, **yaml.safe_load(text)}))
        assert key in load_party(path).model_fields_set


def test_the_pipeline_of_an_intersection_alone_fits_the_parties(walk):
    for block in before_terminals():
        walk.do(block)
    (block,) = (block for block in BLOCKS if block.action == "pipeline")
    (walk.directory / "common.yaml").write_text(block.text)
    printed = walk.sh("fedspark check bank/bank.yaml telecom/telecom.yaml common.yaml")
    assert "common.yaml: a valid pipeline file" in printed


@pytest.mark.spark
@pytest.mark.slow
def test_the_walk_through_ends_with_scores_and_can_be_repeated(walk):
    pytest.importorskip("pyspark")
    printed = [walk.do(block) for block in BLOCKS if block.action in ("file", "run", "terminals")]
    folder = walk.directory / "bank/work/runs/credit/default-risk/1"
    with (folder / "steps/predict/scores/part-00000.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["customer", "score", "probability"]
    assert len(rows) == 40
    assert rows[0]["customer"] in printed[-1]
    assert "waiting" not in printed[-1]
    for named in ("report.html", "steps/train/model.json", "steps/evaluate/validation.json"):
        assert named in README
        assert (folder / named).is_file()
    again = next(block for block in BLOCKS if block.action == "terminals").text.splitlines()[0]
    assert "is finished" in walk.sh(again)


# ---- what it names ---------------------------------------------------------------------------------------------------


def test_every_relative_link_leads_somewhere():
    targets = re.findall(r"\]\(([^)\s]+)\)", README)
    headings = {
        re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", README, re.MULTILINE)
    }
    local = [target for target in targets if not re.match(r"[a-z]+://", target)]
    assert local
    dead = [target for target in local if target.startswith("#") and target[1:] not in headings]
    dead += [target for target in local if not target.startswith("#") and not (CHECKOUT / target).exists()]
    assert dead == []


def test_every_path_of_the_checkout_that_is_named_exists():
    rooms = ("fedspark/", "conf/", "jobs/", "tests/", "benchmarks/", ".ci/")
    named = {word for code in codes() for word in code.split() if word.startswith(rooms)}
    assert named
    assert [path for path in sorted(named) if not (CHECKOUT / path).exists()] == []


def test_every_make_target_exists():
    targets = set(re.findall(r"^([a-z]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    named = {target for code in codes() for target in re.findall(r"\bmake ([a-z]+)", code)}
    assert {"demo", "test"} <= named
    assert named <= targets


def test_every_command_and_flag_exists():
    commands = {name: flags_of(name) for name in cli.commands}
    used = [words for code in codes() for line in code.splitlines() if (words := command_in(line))]
    assert {words[0] for words in used} >= {"keygen", "check", "run", "local", "status", "inbox", "outbox", "schema"}
    for command, *words in used:
        assert command in commands, f"fedspark {command}"
        assert {word for word in words if word.startswith("--")} <= commands[command], f"fedspark {command} {words}"
    bare = {code.split()[0] for code in codes() if code.startswith("--")} - {"--archives"}  # that one is spark-submit's
    assert bare <= set().union(*commands.values())


def test_every_exit_status_is_the_one_of_its_errors():
    rows = re.findall(r"^\| ([\d, ]+) \| (.+?) \|", README, re.MULTILINE)
    listed = {name: {int(code) for code in codes.split(",")} for codes, text in rows for name in _SPAN.findall(text)}
    errors = set(subclasses(fedspark.errors.FedsparkError))
    assert set(listed) == {error.__name__ for error in errors}
    for error in errors:
        assert error.exit_code in listed[error.__name__], error.__name__


def test_it_gives_the_figures_of_one_demo():
    table = README.partition("<!-- demo -->")[2].partition("```\n\n")[0]
    figures = {line.split("│")[1].strip(): line.split("│")[2:5] for line in table.splitlines() if line.startswith("│")}
    assert list(figures) == [
        "federated",
        "the hospital alone",
        "all columns in one place, same objective",
        "all columns in one place, exact logistic loss",
    ]
    federated, pooled = figures["federated"], figures["all columns in one place, same objective"]
    assert [float(x) for x in federated] == pytest.approx([float(x) for x in pooled], abs=1e-3)


def codes() -> Iterator[str]:
    """The text of every code block and code span."""
    yield from _FENCE.findall(README)
    yield from (span.replace("\n", " ") for span in _SPAN.findall(_FENCE.sub("", README)))


def command_in(line: str) -> list[str] | None:
    """The words after ``fedspark`` (and its own flags) of a line that calls it; None for other lines."""
    words = line.partition(" #")[0].split()
    while words[1:2] == ["--debug"]:
        del words[1]
    return words[1:] if len(words) > 1 and words[0] == "fedspark" else None


def flags_of(command: str) -> set[str]:
    return {flag for option in cli.commands[command].params for flag in option.opts} | {"--help"}


def subclasses(error: type[fedspark.errors.FedsparkError]) -> Iterator[type[fedspark.errors.FedsparkError]]:
    """All errors of the tree in fedspark.errors, below its root."""
    for child in error.__subclasses__():
        if child.__module__ == "fedspark.errors":
            yield child
            yield from subclasses(child)
