"""The example of conf/example with small tables: its files, deterministic keys and seeds, its parties as threads or by
the command line.

Keys and seeds follow from party names, so two examples with equal tables leave equal objects, whoever was killed in
between and however their tasks ran.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedspark.buckets import InProcessRunner
from fedspark.cli import main
from fedspark.conf import PartyConf, PipelineConf, load_party, load_pipeline
from fedspark.crypto.identity import private_text, public_bytes
from fedspark.party import identity_text
from fedspark.run import Progress, open_run
from fedspark.run.opening import Place, keep_seed, place_of
from fedspark.steps.session import run_party

CONF = Path(__file__).resolve().parents[1] / "conf" / "example"
PARTIES = ("hospital", "laboratory", "authority")
LABEL = "1"
PATIENCE_SECONDS = 120.0

Columns = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit status and what it printed."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """The error stream in one line."""
        return " ".join(self.err.split())


class Example:
    """One directory with the files of all parties."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    def make(cls, directory: Path, tables: Mapping[str, Columns] | None = None) -> Example:
        """Write configuration, keys, seeds of the run and tables: few rows, two rounds, 8 common people suffice."""
        example = cls(directory)
        (directory / "data").mkdir(parents=True)
        (directory / "keys").mkdir()
        for file in CONF.glob("*.yaml"):
            (directory / file.name).write_text(file.read_text())
        for name in PARTIES:
            (directory / "keys" / f"{name}.key").write_text(private_text(identity(name)) + "\n")
            (directory / "keys" / f"{name}.key").chmod(0o600)
            (directory / "keys" / f"{name}.pub").write_text(identity_text(public_bytes(identity(name))) + "\n")
            if name != "authority":
                example.edit(name, policy={"min_intersection": 8, "min_bin_rows": 5, "min_training_rows": 20})
        # Tests that look at messages look at those of one protocol, whatever is chosen for tables of these sizes.
        example.edit_steps(
            psi={"bucket_rows": 32, "protocol": "rsa"},
            train={"max_rounds": 2, "tolerance": 1e-12},
            predict={"protocol": "rsa"},
        )
        for name in PARTIES:
            keep_seed(example.place(name).workspace, identity(name).private_bytes_raw(), secret("seed", name))
        for name, columns in (small_tables() if tables is None else tables).items():
            example.write_table(name, columns)
        return example

    def copy(self, directory: Path) -> Example:
        """The same example elsewhere, as far as it has come: all its paths are relative."""
        shutil.copytree(self.directory, directory)
        return Example(directory)

    # ---- files -------------------------------------------------------------------------------------------------------

    def file(self, name: str) -> Path:
        return self.directory / f"{name}.yaml"

    def edit(self, name: str, **changes: Any) -> None:
        """Set top-level keys of a configuration file; a mapping is merged into the one that is there."""
        content = yaml.safe_load(self.file(name).read_text())
        for key, value in changes.items():
            content[key] = {**content.get(key, {}), **value} if isinstance(value, dict) else value
        self.file(name).write_text(yaml.safe_dump(content, sort_keys=False))

    def edit_steps(self, file: str = "pipeline", **changes: Mapping[str, Any]) -> None:
        """Set options of steps, by the kind of the step."""
        steps = yaml.safe_load(self.file(file).read_text())["steps"]
        self.edit(file, steps=[{**step, **changes.get(step["step"], {})} for step in steps])

    def write_table(self, name: str, columns: Columns) -> None:
        """The hospital's tables as CSV, the laboratory's as Parquet."""
        path = self.directory / "data" / name
        if name.startswith("hospital"):
            rows = zip(*columns.values(), strict=True)
            lines = [",".join(columns), *(",".join(map(str, row)) for row in rows)]
            path.with_suffix(".csv").write_text("\n".join(lines) + "\n")
        else:
            pq.write_table(pa.table(columns), path.with_suffix(".parquet"))

    # ---- what lies there ---------------------------------------------------------------------------------------------

    def party(self, name: str) -> PartyConf:
        return load_party(self.file(name))

    def pipeline(self) -> PipelineConf:
        return load_pipeline(self.file("pipeline"))

    def place(self, name: str) -> Place:
        return place_of(self.party(name), self.pipeline(), LABEL)

    def files(self, folder: str) -> dict[str, bytes]:
        """Every file under a folder of the example, by its path there."""
        return {path: (self.directory / folder / path).read_bytes() for path in self.paths(folder)}

    def paths(self, folder: str) -> list[str]:
        root = self.directory / folder
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    def workspace_file(self, name: str, path: str) -> bytes:
        """A file of one party's side of the run."""
        return self.place(name).workspace.read(path)

    # ---- parties as threads ------------------------------------------------------------------------------------------

    def run(self, name: str, **settings: Any) -> None:
        """One party's side of the run, in this thread and with tasks in this process."""
        settings = {"wait_seconds": PATIENCE_SECONDS, "runner": InProcessRunner(), **settings}
        run_party(self.party(name), self.pipeline(), LABEL, progress=Progress(name, quiet=True), **settings)

    def play(
        self, half: Callable[[str], None] | None = None, names: Sequence[str] = PARTIES
    ) -> dict[str, BaseException]:
        """``half(party)`` (default: the whole run) of all parties at the same time; the errors, by party."""
        errors: dict[str, BaseException] = {}

        def guarded(name: str) -> None:
            try:
                (half or self.run)(name)
            except BaseException as error:
                errors[name] = error

        threads = [threading.Thread(target=guarded, args=(name,), name=name, daemon=True) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return errors

    def greet(self) -> None:
        """The handshake alone: afterwards every party can open the run without waiting."""

        def open_only(name: str) -> None:
            progress = Progress(name, quiet=True)
            open_run(self.party(name), self.pipeline(), LABEL, wait_seconds=PATIENCE_SECONDS, progress=progress)

        assert self.play(open_only) == {}

    # ---- the command line --------------------------------------------------------------------------------------------

    def command(self, command: str, name: str, *more: str) -> Outcome:
        """``fedspark COMMAND`` with the files of one party."""
        return fedspark(command, *self.arguments(name), *more)

    def arguments(self, name: str) -> list[str]:
        return ["--party", str(self.file(name)), "--pipeline", str(self.file("pipeline"))]


def fedspark(*words: str) -> Outcome:
    """Run the command line in this process."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _without_debugging():
        try:
            main(list(words))
        except SystemExit as end:
            code = int(end.code or 0)
    return Outcome(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _without_debugging() -> Iterator[None]:
    before = os.environ.pop("FEDSPARK_DEBUG", None)
    try:
        yield
    finally:
        os.environ.pop("FEDSPARK_DEBUG", None)
        if before is not None:
            os.environ["FEDSPARK_DEBUG"] = before


def secret(*words: str) -> bytes:
    """32 bytes that follow from words: keys and seeds of tests."""
    return hashlib.sha256("/".join(words).encode()).digest()


def identity(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(secret("identity", name))


def small_tables() -> dict[str, Columns]:
    """50 patients at each party, 45 of them in common, and 12 newcomers, 10 in common; two features each."""
    random = np.random.default_rng(11)
    ids = [f"Patient-{number:05d}-é" for number in random.choice(10**5, 69, replace=False)]
    common = random.normal(size=69)
    x = {
        "hospital": common[:, None] + random.normal(size=(69, 2)),
        "laboratory": common[:, None] + random.normal(size=(69, 2)),
    }
    label = (common + random.normal(size=69) > 0).astype(int)
    columns = {"hospital": ["age_scaled", "marker"], "laboratory": ["iron", "zinc"]}
    held = {
        "hospital_patients": range(50),
        "laboratory_patients": range(5, 55),
        "hospital_newcomers": range(55, 67),
        "laboratory_newcomers": range(57, 69),
    }
    tables: dict[str, Columns] = {}
    for name, people in held.items():
        party, rows = name.partition("_")[0], random.permutation(people)
        tables[name] = {"patient_id": [ids[row] for row in rows]}
        if name == "hospital_patients":
            tables[name]["malignant"] = label[rows].tolist()
        tables[name] |= {title: x[party][rows, index].tolist() for index, title in enumerate(columns[party])}
    return tables
