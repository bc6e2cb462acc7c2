"""Which column is what: ids, label, weight, time, features, ignored, and read as which type. Pure: names and kinds in,
roles or one TableError out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    TIMESTAMP = "timestamp"
    OTHER = "other"


NUMBERS = (Kind.INTEGER, Kind.REAL, Kind.DECIMAL)
TIMES = (Kind.DATE, Kind.TIMESTAMP)
_ID_KINDS = (Kind.TEXT, Kind.INTEGER, Kind.DATE)
_VALUE_KINDS = (Kind.TEXT, Kind.BOOLEAN, *NUMBERS)
_DELIMITERS = (";", "\t", "|", ",")
_KINDS = {
    "string": Kind.TEXT,
    "integer": Kind.INTEGER,
    "double": Kind.REAL,
    "decimal": Kind.DECIMAL,
    "boolean": Kind.BOOLEAN,
    "date": Kind.DATE,
    "timestamp": Kind.TIMESTAMP,
}
_READS_AS = {
    Kind.TEXT: tuple(_KINDS.values()),
    Kind.INTEGER: (Kind.TEXT, Kind.BOOLEAN, *NUMBERS),
    Kind.REAL: (Kind.BOOLEAN, *NUMBERS),
    Kind.DECIMAL: (Kind.BOOLEAN, *NUMBERS),
    Kind.BOOLEAN: (Kind.BOOLEAN, *NUMBERS),
    Kind.DATE: (Kind.TEXT, *TIMES),
    Kind.TIMESTAMP: TIMES,
    Kind.OTHER: (),
}


_IN_WORDS = {Kind.INTEGER: "integer", Kind.BOOLEAN: "0 or 1", Kind.DATE: "date", Kind.TIMESTAMP: "time"}


@dataclass(frozen=True)
class Column:
    """A column of a source: its place from 0, its name, its type in the source's words, and what it is used as.

    ``read_as_text``: the frame holds text, whatever the kind is (CSV); ``declared``: somebody stated the type, the
    source or the user. Text without a declared type may be anything, so by default it is taken for a feature and must
    parse. ``cast`` is the type that the user declared, and ``held`` then the kind that the source had.
    """

    position: int
    name: str
    type: str
    kind: Kind
    read_as_text: bool = False
    declared: bool = True
    cast: str | None = None
    held: Kind | None = None

    @property
    def holds(self) -> Kind:
        """What the frame holds."""
        return Kind.TEXT if self.read_as_text else self.held or self.kind

    @property
    def stated(self) -> str:
        """The type that values must have, in the words of whoever said so."""
        return self.cast or self.type

    def read_as(self, type_name: str) -> Column:
        """The column with a type of the conf's (see `ColumnsConf`)."""
        return replace(self, kind=_KINDS[type_name], declared=True, cast=type_name, held=self.holds)


@dataclass(frozen=True)
class Roles:
    """The columns by role, features in the order in which they were declared (else that of the table).

    ``label_values`` are what stands for 0 and 1 in the label, none where it holds these.
    """

    ids: tuple[Column, ...]
    label: Column | None
    features: tuple[Column, ...]
    ignored: tuple[Column, ...]
    weight: Column | None = None
    time: Column | None = None
    label_values: tuple[tuple[str, int], ...] = ()

    @property
    def measured(self) -> tuple[Column, ...]:
        """The columns that are read as numbers of any size: the features, then the weight, then the time."""
        return (*self.features, *(column for column in (self.weight, self.time) if column is not None))

    @property
    def weight_at(self) -> int:
        """Where the weight, if there is one, is among the measured columns."""
        return len(self.features)

    @property
    def time_at(self) -> int:
        """Where the time, if there is one, is among the measured columns."""
        return len(self.measured) - 1

    def named(self) -> dict[int, tuple[str, Column]]:
        """Role and column, with its declared type, of every place of the source that has a role."""
        several = [("id", self.ids), ("feature", self.features)]
        one = [("label", self.label), ("weight", self.weight), ("time", self.time)]
        found = {column.position: (role, column) for role, columns in several for column in columns}
        return found | {column.position: (role, column) for role, column in one if column is not None}

    def read_as(self, role: str, column: Column, id_type: str) -> str:
        """What a column with a role becomes, in words."""
        if role == "id":
            return "integer" if id_type == "integer" else _IN_WORDS.get(column.kind, "text")
        if role == "label":
            return ", ".join(f"{called} as {value}" for called, value in self.label_values) or "0 or 1"
        inferred = " (inferred)" if role == "feature" and not column.declared else ""
        return f"{_IN_WORDS.get(column.kind, 'number')}{inferred}"


def resolve_roles(
    where: str,
    columns: Sequence[Column],
    conf: ColumnsConf,
    *,
    id_type: str,
    needs_label: bool = False,
    needs_features: bool = True,
) -> Roles:
    """Roles of the columns of a table, with the types declared, or one TableError that lists all that does not fit.

    ``where`` begins the message; ``id_type`` is "string" or "integer", the pipeline's rule of how ids are compared.
    """
    problems = Problems(where)
    _check_names(problems, columns, conf)
    problems.check()
    _check_types(problems, columns, conf)
    problems.check()
    by_name = {column.name: _declared(column, conf) for column in columns}
    ids = tuple(by_name[name] for name in conf.id)
    label, weight, time = (None if name is None else by_name[name] for name in (conf.label, conf.weight, conf.time))
    one = {conf.label, conf.weight, conf.time}
    if conf.features is not None:
        features = tuple(by_name[name] for name in conf.features)
    else:
        spoken_for = {*conf.id, *conf.ignore, *one}
        features = tuple(column for name, column in by_name.items() if name not in spoken_for and _numeric(column))
    taken = {column.name for column in (*ids, *features)} | one
    ignored = tuple(column for name, column in by_name.items() if name not in taken)
    roles = Roles(ids, label, features, ignored, weight, time, tuple(conf.label_values.items()))
    _check_kinds(problems, roles, id_type)
    if needs_label and label is None:
        problems.add("no column is declared as label", f"Add `label:` with one of {_names(ignored or features)}.")
    if needs_features and not features:
        left = f" (its other columns are {_typed(ignored)})" if ignored else ""
        problems.add(f"there is no feature column{left}", "Name numeric columns in `features`, or ignore fewer.")
    problems.check()
    return roles


def _declared(column: Column, conf: ColumnsConf) -> Column:
    """The column with the type that the party file gives it; text that is to be the time is read as one."""
    is_time = column.name == conf.time and column.kind is Kind.TEXT and column.cast is None
    type_name = conf.types.get(column.name, "timestamp" if is_time else None)
    return column if type_name in (None, column.cast) else column.read_as(type_name)


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
    one = (("label", conf.label), ("weight", conf.weight), ("time", conf.time))
    roles = {"id": conf.id, **{use: [name] if name else [] for use, name in one}, "features": conf.features or []}
    one_column = wrong_delimiter(names, conf)
    if one_column and any(name not in names for wanted in (*roles.values(), conf.types) for name in wanted):
        problems.add(*one_column)
        return
    for use, wanted in {**roles, "ignore": conf.ignore}.items():
        for name in wanted:
            if name in uses:
                problems.add(f"column {name!r} is named in `{uses[name]}` and again in `{use}`", "Name it once.")
            uses.setdefault(name, use)
            _check_there(problems, use, name, columns)
    for name in conf.types:
        _check_there(problems, "types", name, columns)


def _check_there(problems: Problems, use: str, name: str, columns: Sequence[Column]) -> None:
    names = [column.name for column in columns]
    if name not in names:
        problem = f"`{use}` names column {name!r}, which is not among {_names(columns)}"
        problems.add(problem, meant(name, names, "Name a column that is there."))


def _check_types(problems: Problems, columns: Sequence[Column], conf: ColumnsConf) -> None:
    for column in columns:
        wanted = conf.types.get(column.name)
        if wanted is not None and _KINDS[wanted] not in _READS_AS[column.holds]:
            problem = f"column {column.name!r} is of type {column.type}, which cannot be read as {wanted}"
            fitting = [name for name, kind in _KINDS.items() if kind in _READS_AS[column.holds]]
            remedy = f"Declare it as {' or '.join(fitting)}" if fitting else "Take it out of `types`"
            problems.add(problem, f"{remedy}, or convert it at the source.")


def _check_kinds(problems: Problems, roles: Roles, id_type: str) -> None:
    for column in roles.ids:
        allowed = _ID_KINDS if id_type == "string" else (Kind.TEXT, Kind.INTEGER)
        if column.kind not in allowed:
            whole = f"declare `types: {{{column.name}: integer}}` if it holds whole numbers, or "
            remedy = "Cast it to an integer or to text at the source, so that all parties write one id alike."
            if column.kind in (Kind.REAL, Kind.DECIMAL):
                remedy = f"{whole[0].upper()}{whole[1:]}{remedy[0].lower()}{remedy[1:]}"
            problem = f"id column {column.name!r} is of type {column.stated}, which cannot be an {id_type} id"
            problems.add(problem, remedy)
    wrong = [column for column in roles.features if column.kind not in (*_VALUE_KINDS, *TIMES)]
    if wrong:
        remedy = "Cast them to numbers at the source, or add them to `ignore`."
        problems.add(f"feature columns are not numbers: {_typed(wrong)}", remedy)
    _check_kind(problems, "label", roles.label, _VALUE_KINDS, "0 or 1", "Cast it to a number at the source.")
    remedy = "Cast it to a number at the source."
    _check_kind(problems, "weight", roles.weight, (Kind.TEXT, *NUMBERS), "a number", remedy)
    remedy = "Convert it to a date or timestamp at the source, or add it to `ignore`."
    _check_kind(problems, "time", roles.time, TIMES, "a date or time", remedy)


def _check_kind(
    problems: Problems, role: str, column: Column | None, kinds: Sequence[Kind], what: str, remedy: str
) -> None:
    if column is not None and column.kind not in kinds:
        problems.add(f"{role} column {column.name!r} is of type {column.stated}, not {what}", remedy)


def _quoted(names: Sequence[str]) -> str:
    return listed(repr(name) for name in names)


def _names(columns: Sequence[Column]) -> str:
    return _quoted([column.name for column in columns])


def _typed(columns: Sequence[Column]) -> str:
    return listed(f"{column.name!r} ({column.type})" for column in columns)
