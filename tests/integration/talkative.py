"""A run, imports, and loads of which some fail, in a process that notes all that it says: logs, pages, plans, command
lines, errors.

    python -m tests.integration.talkative DIRECTORY

DIRECTORY has the files of an example (``example``) and ``loads.json``: [name, table of a party file] pairs, of which
those named ``fails-...`` are expected to fail, as imports of the hospital are that are called so. What is said goes to
DIRECTORY/said, the event log to DIRECTORY/events.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
import urllib.request
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pyspark.sql import SparkSession

from fedspark.conf import PartyConf
from fedspark.conf.tables import AnyTable, TableConf
from fedspark.errors import FedsparkError
from fedspark.exchange.store import StoreRef
from fedspark.steps.import_table import import_table
from fedspark.tables import staging
from fedspark.tables.registry import open_source
from fedspark.tables.source import own_session
from tests.example import Example


def main(directory: Path) -> None:
    staging._PAUSES = ()  # a connection that is lost is not waited for
    said = directory / "said"
    said.mkdir()
    logging.basicConfig(filename=said / "python.log", level=logging.DEBUG)
    example = Example(directory / "example")
    if errors := example.play():
        raise next(iter(errors.values()))
    spark = SparkSession.getActiveSession() or SparkSession.builder.getOrCreate()
    spark.sparkContext.setLogLevel("DEBUG")
    party = example.party("hospital")
    (said / "party").write_text(repr(party) + str(party))
    for name, raw in json.loads((directory / "loads.json").read_text()):
        conf: Any = TypeAdapter(TableConf).validate_python(raw)
        (said / f"load-{name}").write_text(load(spark, name, conf, directory))
    for name in party.imports:
        (said / f"import-{name}").write_text(imported(party, name))
    for number, (path, text) in enumerate(pages(spark)):
        (said / f"page-{number}").write_text(f"{path}\n{text}")
    (said / "processes").write_bytes(b"\n".join(command_lines()))
    spark.stop()


def load(spark: SparkSession, name: str, conf: AnyTable, directory: Path) -> str:
    """The plan, or the error as a developer sees it, of a table that is staged."""
    failing = name.startswith("fails-")
    try:
        source = open_source(own_session(spark), name, conf, directory)
        plan = source.frame._jdf.queryExecution().toString()
        ref = StoreRef((directory / "staged").as_uri())
        card, _ = staging.stage(spark, name, conf, directory, id_type="string", ref=ref, folder=name, training=False)
    except FedsparkError as error:
        if not failing:
            raise
        return f"{error}\n{error!r}\n{traceback.format_exc()}"
    if failing:
        raise AssertionError(f"{name} did not fail")
    return f"{plan}\n{source!r}\n{conf!r}\n{card!r}"


def imported(party: PartyConf, name: str) -> str:
    """The record of an import, or the error as a developer sees it."""
    try:
        record = import_table(party, name, "1")
    except FedsparkError as error:
        if not name.startswith("fails"):
            raise
        return f"{error}\n{error!r}\n{traceback.format_exc()}"
    if name.startswith("fails"):
        raise AssertionError(f"import {name} did not fail")
    return json.dumps(record)


def pages(spark: SparkSession) -> list[tuple[str, str]]:
    """What Spark's own web pages and its REST interface show."""
    web = str(spark.sparkContext.uiWebUrl)
    rest = f"/api/v1/applications/{spark.sparkContext.applicationId}"

    def get(path: str) -> str:
        with urllib.request.urlopen(web + path, timeout=30) as answer:
            return str(answer.read().decode())

    queries = json.loads(get(f"{rest}/sql?details=true&planDescription=true&length=1000"))
    paths = ["/jobs/", "/stages/", "/environment/", "/executors/", "/SQL/", f"{rest}/environment", f"{rest}/jobs"]
    paths += [f"{rest}/stages?details=true", f"{rest}/allexecutors"]
    paths += [f"/SQL/execution/?id={query['id']}" for query in queries]
    return [(f"{rest}/sql", json.dumps(queries)), *((path, get(path)) for path in paths)]


def command_lines() -> list[bytes]:
    """Of this process and all that come from it, as every user of the machine may read them."""
    parents, lines = {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                lines[int(folder.name)] = (folder / "cmdline").read_bytes()
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # it has ended
                continue
    found = [os.getpid()]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return [lines[pid].replace(b"\0", b" ") for pid in found]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
