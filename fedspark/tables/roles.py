"""Which column is what: ids, label, weight, features, ignored. Pure: names and kinds in, roles or a TableError out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from fedspark.conf.tables import ColumnsConf, CsvTable
from fedspark.tables.problems import Problems, listed, meant


class Kind(StrEnum):
    """What a column can be used for, whatever the source calls its type."""

    TEXT = "text"
    INTEGER = "integer"
    REAL = "real"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    DATE = "date"
    OTHER = "other"


NUMBERS = (Kind.INTEGER, Kind.REAL, Kind.DECIMAL)
_ID_KINDS = (Kind.TEXT, Kind.INTEGER, Kind.DATE)
_VALUE_KINDS = (Kind.TEXT, Kind.BOOLEAN, *NUMBERS)
_DELIMITERS = (";", "\t", "|", ",")


@dataclass(frozen=True)
class Column:
    """A column of a source: its place from 0, its name, its type in the source's or the user's words, and its kind.

    ``read_as_text``: the frame holds text, whatever the kind is (CSV); ``declared``: somebody stated the type.
    Text without a declared type may be anything, so by default it is taken for a feature and must parse.
    """

    position: int
    name: str
    type: str
    kind: Kind
    read_as_text: bool = False
    declared: bool = True


@dataclass(frozen=True)
class Roles:
    """The columns by role, features in the order in which they were declared (else that of the table)."""

    ids: tuple[Column, ...]
    label: Column | None
    features: tuple[Column, ...]
    ignored: tuple[Column, ...]
    weight: Column | None = None

    @property
    def measured(self) -> tuple[Column, ...]:
        """The columns that are staged as numbers of any size: the features, then the weight."""
        return self.features if self.weight is None else (*self.features, self.weight)


def resolve_roles(
    where: str,
    columns: Sequence[Column],
    conf: ColumnsConf,
    *,
    id_type: str,
    needs_label: bool = False,
    needs_features: bool = True,
) -> Roles:
    """Roles of the columns of a table, or one TableError that lists all that does not fit.

    ``where`` begins the message; ``id_type`` is "string" or "integer", the pipeline's rule of how ids are compared.
    """
    problems = Problems(where)
    by_name = {column.name: column for column in columns}
    _check_names(problems, columns, conf)
    problems.check()
    ids = tuple(by_name[name] for name in conf.id)
    label, weight = (None if name is None else by_name[name] for name in (conf.label, conf.weight))
    spoken_for = {*conf.id, *conf.ignore, conf.label, conf.weight}
    if conf.features is not None:
        features = tuple(by_name[name] for name in conf.features)
    else:
        features = tuple(column for column in columns if column.name not in spoken_for and _numeric(column))
    taken = {column.name for column in (*ids, *features)} | {conf.label, conf.weight}
    ignored = tuple(column for column in columns if column.name not in taken)
    _check_kinds(problems, ids, label, weight, features, id_type)
    if needs_label and label is None:
        problems.add("no column is declared as label", f"Add `label:` with one of {_names(ignored or features)}.")
    if needs_features and not features:
        left = f" (its other columns are {_typed(ignored)})" if ignored else ""
        problems.add(f"there is no feature column{left}", "Name numeric columns in `features`, or ignore fewer.")
    problems.check()
    return Roles(ids, label, features, ignored, weight)


def wrong_delimiter(names: Sequence[str], conf: ColumnsConf) -> tuple[str, str] | None:
    """Problem and remedy when the header line of delimited text came out as one name that holds another delimiter."""
    if not isinstance(conf, CsvTable) or not conf.header or len(names) != 1:
        return None
    found = next((mark for mark in _DELIMITERS if mark in names[0]), None)
    if found is None:
        return None
    problem = f"with `delimiter` {_yaml(conf.delimiter)} its header line is one column, {names[0]!r}"
    return problem, f"Set `delimiter: {_yaml(found)}`."


def _yaml(delimiter: str) -> str:
    return '"\\t"' if delimiter == "\t" else f'"{delimiter}"'


def _numeric(column: Column) -> bool:
    return column.kind in NUMBERS or (column.kind is Kind.TEXT and not column.declared)


def _check_names(problems: Problems, columns: Sequence[Column], conf: ColumnsConf) -> None:
    names = [column.name for column in columns]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1] if len(set(names)) < len(names) else []
    if twice:
        problems.add(f"more than one column is called {_quoted(twice)}", "Rename the columns of the source.")
    uses: dict[str, str] = {}
    one = {use: [name] if name else [] for use, name in (("label", conf.label), ("weight", conf.weight))}
    roles = {"id": conf.id, **one, "features": conf.features or []}
    one_column = wrong_delimiter(names, conf)
    if one_column and any(name not in names for wanted in roles.values() for name in wanted):
        problems.add(*one_column)
        return
    for use, wanted in {**roles, "ignore": conf.ignore}.items():
        for name in wanted:
            if name in uses:
                problems.add(f"column {name!r} is named in `{uses[name]}` and again in `{use}`", "Name it once.")
            uses.setdefault(name, use)
            if name not in names:
                problem = f"`{use}` names column {name!r}, which is not among {_names(columns)}"
                problems.add(problem, meant(name, names, "Name a column that is there."))


def _check_kinds(
    problems: Problems,
    ids: Sequence[Column],
    label: Column | None,
    weight: Column | None,
    features: Sequence[Column],
    id_type: str,
) -> None:
    for column in ids:
        allowed = _ID_KINDS if id_type == "string" else (Kind.TEXT, Kind.INTEGER)
        if column.kind not in allowed:
            remedy = "Cast it to an integer or to text at the source, so that all parties write one id alike."
            problems.add(f"id column {column.name!r} is of type {column.type}, which cannot be an {id_type} id", remedy)
    wrong = [column for column in features if column.kind not in _VALUE_KINDS]
    if wrong:
        remedy = "Cast them to numbers at the source, or add them to `ignore`."
        problems.add(f"feature columns are not numbers: {_typed(wrong)}", remedy)
    if label is not None and label.kind not in _VALUE_KINDS:
        remedy = "Cast it to a number at the source."
        problems.add(f"label column {label.name!r} is of type {label.type}, not 0 or 1", remedy)
    if weight is not None and weight.kind not in (Kind.TEXT, *NUMBERS):
        remedy = "Cast it to a number at the source."
        problems.add(f"weight column {weight.name!r} is of type {weight.type}, not a number", remedy)


def _quoted(names: Sequence[str]) -> str:
    return listed(repr(name) for name in names)


def _names(columns: Sequence[Column]) -> str:
    return _quoted([column.name for column in columns])


def _typed(columns: Sequence[Column]) -> str:
    return listed(f"{column.name!r} ({column.type})" for column in columns)
