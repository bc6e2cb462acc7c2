"""``fedspark import``: a table of this party into ClickHouse, slice by slice, compared on both sides, shown at once.

What an import has done lies in the workspace, under ``imports/NAME/RUN``: ``plan.json`` (what it reads in which slices,
and the tag of its tables there), ``slices/<number>.json`` (the sums of a slice as read), ``record.json`` at the end.
The same command goes on where it stopped; slices that are there are not read again. What differs from the plan by then,
in the source or in the party file, is refused: the slices would be of two tables.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fedspark.conf.model import LABEL_PATTERN
from fedspark.conf.party_file import OwnConf
from fedspark.conf.tables.imports import ImportConf
from fedspark.errors import ConfigError, FedsparkError, StoreError, TableError
from fedspark.exchange.store import StoreRef
from fedspark.run.opening import make_private
from fedspark.run.progress import Progress, duration, rate
from fedspark.run.session import probe_executors, start_session
from fedspark.run.workspace import Workspace
from fedspark.steps.import_job import read_slices
from fedspark.tables.clickhouse.columns import Target, target_type
from fedspark.tables.clickhouse.intake import Intake, Refused, Sums, stored_sums
from fedspark.tables.clickhouse.landing import (
    Landing,
    columns_of,
    drop_attempts,
    drop_slices,
    slices_there,
    version_of,
)
from fedspark.tables.clickhouse.server import Server
from fedspark.tables.clickhouse.sink import clear, finish
from fedspark.tables.problems import Problems, listed, meant
from fedspark.tables.whole import Whole, open_whole, partitions_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PLAN, RECORD, SLICES = "plan.json", "record.json", "slices"
_RESTART = "Begin again with --restart, which drops the slices that were read, or give the import another --run NAME."
_NEXT = "The next one needs a name of its own, as --run 2026-12, or begin again with --restart."
_MODERN = (22, 9)
_NO_STATE = ("server", "rows")


def import_table(
    party: OwnConf, name: str | None, label: str, *, restart: bool = False, progress: Progress | None = None
) -> dict[str, Any]:
    """Carry out the import ``name`` of the party file (or its only one), or what is left of it; its record.

    TableError when a value, a column or the target does not fit, or the source changed; StoreError when a side fails or
    stored values are not those that were read; ConfigError when the party file is wrong.
    """
    name = _chosen(party, name)
    if not re.fullmatch(LABEL_PATTERN, label):
        raise ConfigError(
            f"{label!r} cannot be the name of an import's run.",
            remedy="Use letters, digits, '.', '_' and '-', beginning with a letter or digit, at most 64 of them.",
        )
    progress = progress or Progress(party.party)
    progress.step = f"import {name}"
    ref = StoreRef(party.workspace.files, tuple(sorted(party.workspace.options.items())), str(party.directory))
    workspace = Workspace(ref, f"imports/{name}/{label}")
    make_private(ref.url)
    workspace.store.probe(workspace.prefix)
    landing = _landing(party, party.imports[name])
    if restart:
        _forget(workspace, landing)
    if workspace.exists(RECORD):
        record: dict[str, Any] = workspace.read_json(RECORD)
        clear(replace(landing, tag=record["tag"]))  # again, should the process have died in between
        if workspace.read_json(PLAN)["conf"] != _settings(party, party.imports[name]):
            raise ConfigError(
                f"Run {label} of import {name} is finished, with another table or target in {party.path}.", remedy=_NEXT
            )
        progress.say(f"nothing was copied: run {label} was finished at {record['finished']}. {_NEXT}")
        return record
    if workspace.exists(PLAN):
        landing = replace(landing, tag=workspace.read_json(PLAN)["tag"])
    columns_of(landing)  # before Spark is started: server, password, a table that must stay
    session = start_session(party, f"fedspark import {name} {label}")
    probe_executors(session, workspace)
    return _Import(party, name, party.imports[name], session, workspace, progress, landing).run()


@dataclass
class _Import:
    party: OwnConf
    name: str
    conf: ImportConf
    session: SparkSession
    workspace: Workspace
    progress: Progress
    landing: Landing
    notes: list[str] = field(default_factory=list)

    def run(self) -> dict[str, Any]:
        started = time.monotonic()
        plan = self.workspace.read_json(PLAN) if self.workspace.exists(PLAN) else None
        table = self.party.table(self.conf.source)
        slices = plan["cut"] if plan else self.conf.slices
        whole = open_whole(self.session, self.conf.source, table, self.party.directory, slices)
        targets = self._targets(whole)
        frame = whole.frame(self.conf.as_text + self._times_as_text(whole, targets))
        parts = partitions_of(self.session, table, self.party.directory, frame)
        plan = self._planned(plan, whole, targets, [_digest(part) for part in parts])
        numbers = tuple(plan["partitions"].index(_digest(part)) for part in parts)
        self.landing = replace(
            self.landing,
            tag=plan["tag"],
            targets=targets,
            order=self._order(targets),
            schema=pa.schema([(target.name, pa.null()) for target in targets]),
        )
        done = self._done(len(numbers))
        if done:
            self.progress.say(f"goes on: {len(done)} of {len(numbers)} slices are there")
        intake = Intake(self.landing, self.workspace.ref, self.workspace.name(SLICES), numbers)
        pending = [number for number in range(len(numbers)) if number not in done]
        refused = read_slices(self.session, whole.source, frame, intake, pending, self.progress)
        if refused:
            self._refuse(whole, refused)
        sums = [self._sums(number) for number in range(len(numbers))]
        total = Sums.zero(len(targets))
        for one in sums:
            total.merge(one)
        self._check_unchanged(whole, total.rows)
        stored = self._finish(sums, total)
        record = self._record(whole, total, stored, len(numbers), len(pending), time.monotonic() - started)
        self.workspace.create(RECORD, json.dumps(record, indent=2, ensure_ascii=False).encode())
        clear(self.landing)
        self.progress.say(
            f"{total.rows:,} rows in {duration(record['seconds'])} ({rate(total.rows / max(record['seconds'], 0.001))} "
            f"rows/s); rows and checksums of all {len(targets)} columns are equal on both sides"
        )
        return record

    def _check_unchanged(self, whole: Whole, rows: int) -> None:
        """TableError when what was read, by this attempt or earlier ones, may be of several states of the source."""
        try:
            if whole.source.unaltered is not None:
                whole.source.unaltered()
            if whole.source.settled is not None:
                whole.source.settled(rows)
        except TableError as error:
            raise TableError(error.message, remedy=" ".join(filter(None, (error.remedy, _RESTART)))) from None

    def _targets(self, whole: Whole) -> tuple[Target, ...]:
        """What every column becomes; TableError that lists all that cannot be one."""
        problems = Problems(whole.source.where)
        names = [column.name for column, _ in whole.columns]
        for key, wanted in (("as_text", self.conf.as_text), ("order_by", self.conf.order_by or [])):
            for missing in (name for name in wanted if name not in names):
                remedy = meant(missing, names, "Name a column that is imported.")
                problems.add(f"`{key}` of the import names column {missing!r}, which it does not have", remedy)
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if twice:
            problems.add(f"more than one column is called {listed(map(repr, twice))}", "Rename them at the source.")
        modern = version_of(self.landing) >= _MODERN
        order = self._ids() if self.conf.order_by is None else self.conf.order_by
        there = columns_of(self.landing) or {}
        targets = []
        for column, meaning in whole.columns:
            if column.name in whole.unread:
                remedy = "Add it to `ignore` of the table."
                problems.add(f"column {column.name!r} of type {column.type} cannot be read", remedy)
                continue
            kind = "String" if column.name in self.conf.as_text else target_type(meaning, modern)
            if kind is None:
                remedy = "Add it to `ignore` of the table, or, if it is nested, to `as_text` of the import."
                problems.add(f"column {column.name!r} of type {column.type} has no like in ClickHouse", remedy)
                continue
            nullable = column.name not in order
            if there:
                nullable = there.get(column.name) == f"Nullable({kind})"
                if there.get(column.name) not in (kind, f"Nullable({kind})"):
                    found = f"is {there[column.name]}" if column.name in there else "is not there"
                    problems.add(
                        f"column {column.name!r} of {self.landing.where} {found}, and is to be {kind}",
                        "Change it there, or import into a table that is not there yet.",
                    )
            targets.append(Target(column.name, kind, nullable, column.type))
        problems.check()
        if not targets:
            raise TableError(f"{whole.source.where}: it has no column to import.", remedy="Ignore fewer.")
        return tuple(targets)

    def _ids(self) -> list[str]:
        return list(self.party.table(self.conf.source).id)

    def _order(self, targets: tuple[Target, ...]) -> tuple[str, ...]:
        names = {target.name for target in targets}
        return tuple(name for name in (self._ids() if self.conf.order_by is None else self.conf.order_by)
                     if name in names)  # fmt: skip

    @staticmethod
    def _times_as_text(whole: Whole, targets: tuple[Target, ...]) -> list[str]:
        pairs = zip(whole.columns, targets, strict=True)
        return [
            column.name for (column, meaning), target in pairs if meaning == "timestamp" and target.type == "String"
        ]

    def _planned(
        self, plan: dict[str, Any] | None, whole: Whole, targets: tuple[Target, ...], parts: list[str]
    ) -> dict[str, Any]:
        """The plan that is kept, which must be the one of now."""
        now: dict[str, Any] = {
            "conf": _settings(self.party, self.conf),
            "cut": whole.slices,
            "columns": [[target.name, target.source, target.sql_type] for target in targets],
            "rows": whole.source.rows,
            "origin": {key: value for key, value in whole.source.origin.items() if key not in _NO_STATE},
            "partitions": parts,
        }
        if plan is None:
            plan = {**now, "tag": secrets.token_hex(12), "begun": time.time()}
            if self.workspace.create(PLAN, json.dumps(plan, indent=1, ensure_ascii=False).encode()):
                return plan
            plan = self.workspace.read_json(PLAN)  # of another process that began just now
        if plan["conf"] != now["conf"]:
            raise ConfigError(
                f"Import {self.name} was begun with another table or target in {self.party.path}.", remedy=_RESTART
            )
        changes = []
        if plan["columns"] != now["columns"]:
            then = {tuple(column) for column in plan["columns"]}
            other = [f"{column[0]!r} ({column[1]})" for column in now["columns"] if tuple(column) not in then]
            changes.append(f"columns are others{f': {listed(other)}' if other else ''}")
        if plan["rows"] != now["rows"]:
            changes.append(f"{plan['rows']:,} rows then, {now['rows']:,} now")
        if sorted(plan["partitions"]) != sorted(parts):
            gone = len(set(plan["partitions"]) - set(parts))
            changes.append(f"{gone} of {len(plan['partitions'])} slices are others (files, their times, or key ranges)")
        then_known, now_known = plan.get("origin", {}), now["origin"]
        changed = [key for key, value in now_known.items() if then_known.get(key) != value]
        if changed and not changes:
            changes += [f"{key} {then_known.get(key, 'not known')} then, {now_known[key]} now" for key in changed]
        if changes:
            raise TableError(
                f"{whole.source.where}: it changed since the import was begun: {'; '.join(changes)}.", remedy=_RESTART
            )
        for key in sorted(then_known.keys() - now_known.keys()):
            note = f"the source does not say any more what it said when the import was begun: {key} {then_known[key]}"
            self.notes.append(f"{note}; a change of values since then would not be seen")
            self.progress.say(self.notes[-1])
        return plan

    def _done(self, slices: int) -> set[int]:
        """The slices that are there with their records; others that have only one of the two are dropped."""
        drop_attempts(self.landing)
        there = slices_there(self.landing)
        kept = {number for number in range(slices) if self.workspace.exists(f"{SLICES}/{number}.json")}
        drop_slices(self.landing, there - kept)
        return there & kept

    def _sums(self, number: int) -> Sums:
        path = f"{SLICES}/{number}.json"
        if not self.workspace.exists(path):
            raise StoreError(f"Slice {number} of import {self.name} has no record in {self.workspace.url(path)}.")
        return Sums(**self.workspace.read_json(path))

    def _refuse(self, whole: Whole, refused: Refused) -> None:
        """Raise what cannot be stored; nothing is left, since another party file or source is another import."""
        _forget(self.workspace, self.landing)
        refused.problems(whole.source.where, self.landing.targets, self.landing.order).check()

    def _finish(self, sums: list[Sums], total: Sums) -> Sums:
        """Show all rows at once, if they are those that were read; their sums there."""
        found: list[Sums] = []

        def check(client: Any, table: str) -> None:
            found[:] = [stored_sums(client, self.landing, table)]
            differences = total.differences(found[0], self.landing.targets)
            if differences:
                raise self._unequal(client, sums, differences)

        try:
            finish(self.landing, [one.rows for one in sums], check)
        except StoreError as error:
            if found:
                raise
            with self.landing.server.client(self.landing.where) as client:
                raise self._unequal(client, sums, [error.message.rstrip(".")]) from None
        if not found:  # shown by an earlier attempt
            with self.landing.server.client(self.landing.where) as client:
                check(client, self.landing.table)
        return found[0]

    def _unequal(self, client: Any, sums: list[Sums], differences: list[str]) -> FedsparkError:
        """The error; slices that are not as they were read are dropped, so that the next attempt reads them again."""
        there = slices_there(self.landing)
        wrong = [
            number
            for number, one in enumerate(sums)
            if number not in there
            or one.differences(stored_sums(client, self.landing, self.landing.part(number)), self.landing.targets)
        ]
        drop_slices(self.landing, wrong)
        self.workspace.store.delete_many([self.workspace.name(f"{SLICES}/{number}.json") for number in wrong])
        again = f" Slices {listed(map(str, wrong))} were dropped, to be read again." if wrong else ""
        return StoreError(
            f"{self.landing.where}: what is stored is not what was read: {'; '.join(differences)}; nothing is shown."
            f"{again}",
            remedy="Run the same command again." if wrong else "See whether its engine drops or changes rows.",
        )

    def _record(
        self, whole: Whole, read: Sums, stored: Sums, slices: int, now: int, seconds: float
    ) -> dict[str, Any]:  # fmt: skip
        return {
            "import": self.name,
            "from": whole.source.where,
            "to": self.landing.where,
            "tag": self.landing.tag,
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "rows": {"read": read.rows, "stored": stored.rows},
            "slices": {"all": slices, "read by the last attempt": now},
            "seconds": round(seconds, 3),
            "notes": [*whole.source.notes, *self.notes],
            "left out": list(self.party.table(self.conf.source).ignore),
            "columns": [
                {
                    "column": target.name,
                    "from": target.source,
                    "to": target.sql_type,
                    "nulls": {"read": read.nulls[k], "stored": stored.nulls[k]},
                    "checksum": {"read": f"{read.columns[k]:016x}", "stored": f"{stored.columns[k]:016x}"},
                }
                for k, target in enumerate(self.landing.targets)
            ],
            "checksums of rows": {
                "read": [f"{group:016x}" for group in read.groups],
                "stored": [f"{group:016x}" for group in stored.groups],
            },
        }


def _settings(party: OwnConf, conf: ImportConf) -> str:
    """A digest of what the party file says of an import and its source."""
    table = party.table(conf.source)
    return _digest(json.dumps([table.model_dump(mode="json"), conf.model_dump(mode="json")], sort_keys=True))


def _chosen(party: OwnConf, name: str | None) -> str:
    known = ", ".join(party.imports) or "none"
    if name is None and len(party.imports) == 1:
        return next(iter(party.imports))
    if name not in party.imports:
        what = "There are several imports" if name is None and party.imports else f"There is no import {name or ''!r}"
        what = what if party.imports else "There is no import"
        raise ConfigError(
            f"{what} in {party.path}; under `imports` it has: {known}.",
            remedy="Name one of them." if party.imports else "Add one: imports: {people: {from: people, to: {...}}}.",
        )
    assert name is not None
    return name


def _landing(party: OwnConf, conf: ImportConf) -> Landing:
    server = Server.of(conf.to, party.directory)
    return Landing(server, conf.to.table, pa.schema([]), "none", "", conf.to.if_exists)


def _forget(workspace: Workspace, landing: Landing) -> None:
    """Drop what an import has done, but the table that it has finished."""
    if workspace.exists(PLAN):
        clear(replace(landing, tag=workspace.read_json(PLAN)["tag"]))
    for path in (RECORD, PLAN):
        if workspace.exists(path):
            workspace.store.delete(workspace.name(path))
    workspace.remove("")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]
