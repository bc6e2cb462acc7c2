"""The party file: who I am, where my stores and tables are, whom I trust, and which limits I set.

It is private to its party and never leaves it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, ValidationInfo
from pydantic_core import PydanticCustomError

from fedspark.conf.model import Finding, Model, Name, Setting, Text, as_list, as_mapping
from fedspark.conf.references import BY_REFERENCE, CLEAR_SECRET, SecretReference
from fedspark.conf.secrets import is_reference, is_secret_key, read_small
from fedspark.conf.tables import (
    SINK_KINDS,
    TABLE_KINDS,
    AnySink,
    AnyTable,
    ClickHouseSink,
    HiveSink,
    OneSink,
    TableConf,
)
from fedspark.conf.tables.imports import ImportConf
from fedspark.conf.urls import OBJECT_STORES, absolute_url, contains, scheme
from fedspark.errors import ConfigError
from fedspark.party import parse_identity

_HDFS = "hdfs has no create-only put, which every file of a run relies on; use file, s3, gs or az"


def _directory(info: ValidationInfo) -> Path:
    directory = (info.context or {}).get("directory", Path())
    return Path(directory)


def _url(text: str, info: ValidationInfo) -> str:
    try:
        return absolute_url(text, _directory(info))
    except ValueError as error:
        kind = CLEAR_SECRET if "password" in str(error) else "url"
        raise PydanticCustomError(kind, "{reason}", {"reason": str(error)}) from None


def _store_url(text: str, info: ValidationInfo) -> str:
    url = _url(text, info)
    if scheme(url) not in OBJECT_STORES:
        reason = _HDFS if scheme(url) == "hdfs" else f"must be a plain path or a URL of {', '.join(OBJECT_STORES)}"
        raise PydanticCustomError("url", "{reason}", {"reason": reason})
    return url


def _identity(value: Any, info: ValidationInfo) -> Any:
    """A peer's public key: its text, or ``file:`` and the path of a file that holds the text."""
    if not isinstance(value, str):
        return value
    text, held = value, "is"
    if value.startswith("file:"):
        path = _directory(info) / value.removeprefix("file:")
        held = f"names {path}, which is"
        try:
            text = read_small(path, f"identity key {value}").decode("utf-8", errors="replace").strip()
        except ConfigError as error:
            raise PydanticCustomError("identity", "{reason}", {"reason": error.message.rstrip(".")}) from None
    try:
        return parse_identity(text)
    except ConfigError:
        # Somebody may have pasted the private key here, so the text is shown only when it is marked as public.
        kind = "identity" if value.startswith(("file:", "ed25519:")) else CLEAR_SECRET
        reason = f"{held} not a public identity key (ed25519: and 43 characters, as 'fedspark keygen' prints it)"
        raise PydanticCustomError(kind, "{reason}", {"reason": reason}) from None


def _list_of_one(value: Any) -> Any:
    return [value] if isinstance(value, Mapping) else value


Sinks = Annotated[
    list[OneSink],
    Field(min_length=1),
    BeforeValidator(_list_of_one, json_schema_input_type=OneSink | list[OneSink]),
]
StoreUrl = Annotated[Text, AfterValidator(_store_url)]
Identity = Annotated[bytes, BeforeValidator(_identity, json_schema_input_type=str)]
_OPTIONS = "Settings of the object store (endpoint, region, ...); a secret among them is a reference."


class WorkspaceConf(Model):
    """My private place: no other party may reach it."""

    files: StoreUrl = Field(
        description="Seeds, checkpoints, staged tables and part files: path or URL (file, s3, gs, az)."
    )
    options: dict[Text, Setting] = Field(default={}, description=_OPTIONS)


class ExchangeConf(Model):
    """The place that all parties share and through which all messages go."""

    url: StoreUrl = Field(description="Path or URL (file, s3, gs, az) of the shared place.")
    keep_messages: bool = Field(
        default=False,
        description="Keep the sealed parts of our messages per row when they were read. Signed manifests always stay.",
    )
    options: dict[Text, Setting] = Field(default={}, description=_OPTIONS)


class SparkConf(Model):
    """Settings of this party's own Spark application."""

    master: Text = Field(default="local[*]", description="Spark master, when spark-submit has not set one.")
    conf: dict[Text, Setting] = Field(default={}, description="Spark properties; a secret among them is a reference.")


class PolicyConf(Model):
    """Limits of this party: what breaks one is refused, and the refusal names it."""

    min_intersection: int = Field(
        default=1, ge=0, description="Fewest common people with whom a psi step, and so training, goes on."
    )
    min_scored: int = Field(default=1, ge=0, description="Fewest common people whom a predict step scores.")
    min_bin_rows: int = Field(
        default=10,
        ge=1,
        description="A column is refused in which fewer rows than this differ from its most frequent value.",
    )
    min_training_rows: int = Field(
        default=200,
        ge=2,
        description="Fewest people on whom a model is trained: sums over fewer can be solved.",
    )
    max_peer_rows: int | None = Field(
        default=None,
        ge=1,
        description="Most ids that a party may bring to an intersection with us: a guest may test so many people, and "
        "a host's table decides how much a guest pads. Any number if left out.",
    )
    cache_days: int = Field(
        default=30,
        ge=1,
        le=366,
        description="How long what a psi step with `cache` keeps for a guest serves; then a new key is drawn.",
    )
    max_cached_ids_per_day: int | None = Field(
        default=100_000,
        ge=1,
        description="Most ids that are signed for one guest in a day (UTC) in psi steps with `cache`, dummies and all "
        "tables together; null: any number.",
    )
    min_distinct_scores: int = Field(
        default=20,
        ge=1,
        description="As the only host: fewest different partial scores that are sent; fewer would show our columns.",
    )
    min_key_bits: int = Field(default=2048, ge=2048, description="Smallest RSA or Paillier key accepted, in bits.")
    show_id_shapes: bool = Field(
        default=True,
        description="Whether the other data parties are told what our ids look like (kinds of characters, lengths and "
        "whole per cents; never an id, nor anything that fewer than 20 ids have), to explain a poor match.",
    )
    wait_seconds: float = Field(
        default=3600.0,
        ge=0,
        description="How long an interactive job waits for a message before it ends with status 75.",
    )
    deadline_hours: float = Field(
        default=72.0,
        gt=0,
        description="How long a message may stay away, over all attempts, before the run has failed.",
    )


class OwnConf(Model):
    """What a party needs for work of its own, in which no other party takes part."""

    party: Name = Field(description="My name, as the pipeline files write it.")
    workspace: WorkspaceConf = Field(description="My private place.")
    spark: SparkConf = Field(default=SparkConf(), description="My Spark application; an arbiter needs none.")
    tables: dict[Name, TableConf] = Field(default={}, description="My tables by name; an arbiter has none.")
    imports: dict[Name, ImportConf] = Field(
        default={}, description="Tables that 'fedspark import' copies into ClickHouse, by the name of the import."
    )

    _path: Path = PrivateAttr(default=Path())
    _directory: Path = PrivateAttr(default=Path())

    def model_post_init(self, context: Any) -> None:
        self._path = (context or {}).get("path", Path())
        self._directory = (context or {}).get("directory", Path())

    @property
    def path(self) -> Path:
        """The party file."""
        return self._path

    @property
    def directory(self) -> Path:
        """Directory of the party file: base of relative paths and of ``file:`` references."""
        return self._directory

    def table(self, name: str) -> AnyTable:
        """The table of that name; ConfigError, with the names there are, when this party has none."""
        if name not in self.tables:
            known = ", ".join(self.tables) or "none"
            raise ConfigError(
                f"Party {self.party} has no table {name!r}; the tables of its party file are: {known}.",
                remedy=f"Add it under `tables` in {self.path}.",
            )
        return self.tables[name]

    @classmethod
    def findings(cls, data: Mapping[str, Any]) -> Iterable[Finding]:
        for check in _CHECKS:
            yield from check(data)


class PartyConf(OwnConf):
    """One party's own file."""

    role: Literal["guest", "host", "arbiter"] | None = Field(
        default=None, description="My role, checked against the pipeline; without it, what the pipeline says."
    )
    identity: SecretReference = Field(description="Reference to my private Ed25519 key, made by 'fedspark keygen'.")
    exchange: ExchangeConf = Field(description="The place that all parties share.")
    peers: dict[Name, Identity] = Field(
        description="Public identity key of every other party: its text (ed25519:...) or file: and a path."
    )
    scores: dict[Name, Sinks] = Field(
        default={},
        description="As the guest: where the scores of a predict step of that name are written to besides Parquet and "
        "CSV, one table or a list of tables.",
    )
    policy: PolicyConf = Field(default=PolicyConf(), description="My limits.")


def _table_findings(data: Mapping[str, Any]) -> Iterable[Finding]:
    for name, raw in as_mapping(data.get("tables")).items():
        table = as_mapping(raw)
        kind = table.get("kind")
        if isinstance(kind, str) and kind in TABLE_KINDS:
            for finding in TABLE_KINDS[kind].findings(table):
                yield Finding(("tables", name, *finding.path), finding.rule, finding.value, finding.hint)


def _sink_findings(data: Mapping[str, Any]) -> Iterable[Finding]:
    scores = as_mapping(data.get("scores"))
    if scores and data.get("role") in ("host", "arbiter"):
        yield Finding(("scores",), f"is for the guest, who gets the scores, and `role` is {data['role']}")
    taken = {_place(ClickHouseSink, to): f"imports.{name}" for name, to in _targets(data)}
    for step, raw in scores.items():
        for sink in map(as_mapping, [raw] if isinstance(raw, Mapping) else as_list(raw)):
            kind = sink.get("kind")
            place = _place(SINK_KINDS[kind], sink) if isinstance(kind, str) and kind in SINK_KINDS else None
            if place is not None and place in taken:
                rule = f"names a table that {taken[place]} names too: one would undo the other"
                yield Finding(("scores", step), rule, sink.get("table"))
            taken.setdefault(place, f"scores.{step}")


def _targets(data: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Where every import goes."""
    for name, raw in as_mapping(data.get("imports")).items():
        yield name, as_mapping(as_mapping(raw).get("to"))


def _place(sink: type[AnySink], raw: Mapping[str, Any]) -> str | None:
    """The one table that is written to, however it is spelled: with defaults, and in lower case where case is nothing.

    None where the table's name is missing or of the wrong type, which is said elsewhere.
    """
    fields = sink.model_fields
    values = {key: raw.get(key, field.get_default()) for key, field in fields.items()}
    if not isinstance(values["table"], str):
        return None
    if sink is HiveSink:
        columns = {str(name).lower(): str(value) for name, value in as_mapping(values["partition"]).items()}
        partition = dict(sorted(columns.items()))
        table = f"{values['database']}.{values['table']}".lower()
        return f"hive {str(values['metastore']).lower()} {table} {partition}"
    return f"{values['kind']} {str(values['host']).lower()}:{values['port']} {(values['database'], values['table'])}"


def _import_findings(data: Mapping[str, Any]) -> Iterable[Finding]:
    tables, taken = as_mapping(data.get("tables")), dict[str, str]()
    for name, raw in as_mapping(data.get("imports")).items():
        wanted = as_mapping(raw).get("from")
        if isinstance(wanted, str) and wanted not in tables:
            yield Finding(("imports", name, "from"), f"is none of `tables`: {', '.join(tables) or 'there are none'}")
    for name, to in _targets(data):
        place = _place(ClickHouseSink, to)
        if place is not None and place in taken:
            yield Finding(("imports", name, "to"), f"names the table that imports.{taken[place]} names too")
        elif place is not None:
            taken[place] = name


def _secret_findings(data: Mapping[str, Any]) -> Iterable[Finding]:
    for path in (("workspace", "options"), ("exchange", "options"), ("spark", "conf")):
        settings = as_mapping(as_mapping(data.get(path[0])).get(path[1]))
        for key, value in settings.items():
            if is_secret_key(str(key)) and not (isinstance(value, str) and is_reference(value)):
                yield Finding((*path, key), BY_REFERENCE, value)


def _place_findings(data: Mapping[str, Any]) -> Iterable[Finding]:
    workspace = as_mapping(data.get("workspace"))
    shared = as_mapping(data.get("exchange")).get("url")
    mine = workspace.get("files")
    if mine and isinstance(mine, str) and isinstance(shared, str) and contains(shared, mine):
        rule = "must not lie in the shared place exchange.url: other parties can reach it"
        yield Finding(("workspace", "files"), rule, mine)


def _peer_findings(data: Mapping[str, Any]) -> Iterable[Finding]:
    owners: dict[Any, str] = {}
    for name, key in as_mapping(data.get("peers")).items():
        if name == data.get("party"):
            yield Finding(("peers", name), "is this party itself; list only the others")
        if isinstance(key, (str, bytes)):
            if key in owners:
                yield Finding(("peers", name), f"has the same identity key as {owners[key]}; every party has its own")
            owners.setdefault(key, name)


def _spark_findings(data: Mapping[str, Any]) -> Iterable[Finding]:
    for key in as_mapping(as_mapping(data.get("spark")).get("conf")):
        if not re.match(r"spark\.[A-Za-z]", str(key)):
            yield Finding(
                ("spark", "conf", key),
                "is no Spark property: they begin with 'spark.'",
                hint=f"Did you mean spark.{key}?",
            )
        if key == "spark.master":
            yield Finding(("spark", "conf", key), "is set in two places: write it as `master`, beside `conf`")


_CHECKS: tuple[Callable[[Mapping[str, Any]], Iterable[Finding]], ...] = (
    _table_findings,
    _sink_findings,
    _import_findings,
    _secret_findings,
    _place_findings,
    _peer_findings,
    _spark_findings,
)
