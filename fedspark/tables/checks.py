"""What is wrong with the rows of a table: looked for only when the metrics of what was staged say that something is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812 - its usual name

from fedspark.tables.bad_lines import bad_lines
from fedspark.tables.layout import Layout
from fedspark.tables.metrics import UNDECODABLE, Metrics
from fedspark.tables.problems import EXAMPLES, Problems, examples, for_example, listed, repeated_keys, rows
from fedspark.tables.roles import Roles
from fedspark.tables.values import any_of, is_finite, is_label, is_missing

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression
    from pyspark.sql import DataFrame

_EXAMPLE_QUERIES = 6
_VALUES = 5
_LOOKED_AT, _LOOK = 3, 20


@dataclass(frozen=True)
class Check:
    """Rules that rows may break: a condition per column (or one), and the clause for the counts that are not zero.

    ``show`` is a text of which the message lists some distinct values: only for what says nothing about a person.
    ``looks`` are columns as read, of whose values it shows what they look like. ``places`` finds the words for some of
    the rows, where their ids would say less. ``reads``: the rule is that a value reads as its column's type.
    """

    broken: Mapping[str, Expression]
    problem: Callable[[dict[str, int]], str]
    remedy: str
    show: Expression | None = None
    looks: Mapping[str, Expression] | None = None
    places: Callable[[], list[str]] | None = None
    reads: bool = False


def find_bad_rows(layout: Layout, metrics: Metrics, problems: Problems) -> None:
    """Add every rule that rows break, with counts and masked ids. No job at all when all is sound.

    Looked at are all rows, before repeated ids are dropped, so that the counts are those of the source.
    """
    if not layout.sound(metrics):
        for problem, remedy in _broken(layout.frame(), _checks(layout, layout.bad_features(metrics))):
            problems.add(problem, remedy)


def unread(layout: Layout) -> tuple[int, tuple[str, ...]]:
    """How many rows are skipped for a value that does not read as its column's type; words for these values."""
    frame = layout.unread()
    checks = [check for check in _checks(layout, range(len(layout.roles.features))) if check.reads]
    return frame.count(), tuple(problem for problem, _ in _broken(frame, checks))


def _checks(layout: Layout, features: Sequence[int]) -> list[Check]:
    checks = [*_line_checks(layout), *_id_checks(layout), *_label_checks(layout), *_weight_checks(layout)]
    return [*checks, *_time_checks(layout), *_feature_checks(layout, features)]


def _broken(frame: DataFrame, checks: Sequence[Check]) -> Iterator[tuple[str, str]]:
    """Problem and remedy of every rule that rows of the frame break."""
    names = [(number, name) for number, check in enumerate(checks) for name in check.broken]
    counts = frame.agg(*(F.count_if(checks[number].broken[name]) for number, name in names)).first() or ()
    failed: list[tuple[Check, dict[str, int]]] = []
    for number, check in enumerate(checks):
        found = {name: count for (of, name), count in zip(names, counts, strict=True) if of == number and count}
        if found:
            failed.append((check, found))
    shown = _examples(frame, [any_of([check.broken[name] for name in found]) for check, found in failed])
    for (check, found), ids in zip(failed, shown, strict=True):
        values = _values(frame.where(check.broken[""]), check.show) if check.show is not None else ""
        looks = _looks(frame, check, found) if check.looks is not None else ""
        shown_as = for_example(check.places()) if check.places is not None else examples(ids)
        yield check.problem(found) + values + looks + shown_as, check.remedy


def find_nothing_read(layout: Layout, metrics: Metrics, problems: Problems) -> None:
    """Add a table of which every line was skipped: it is not empty, it is not what its conf says."""
    if not (layout.source.skips_lines and metrics.malformed and not metrics.rows):
        return
    count, words = unread(layout)
    if count < metrics.malformed:
        some = "all its" if not count else f"{metrics.malformed - count} of its"
        problem = f"{some} {rows(metrics.malformed)} have too few or too many fields, or a quote that does not end"
        problems.add(problem + for_example(bad_lines(layout.source)), "Correct `delimiter`, or write the file again.")
    if count:
        some = "each of its" if count == metrics.malformed else f"{count} of its"
        problem = f"{some} {rows(metrics.malformed)} has a value that is not of its column's type: {'; '.join(words)}"
        problems.add(problem, "Correct `types`, and add columns of text to `ignore`.")


def find_nothing_to_learn(
    layout: Layout, metrics: Metrics, problems: Problems, *, one_class: bool, constant: bool
) -> None:
    """Add a label of one class with weights that are all zero, and constant features, each if it is asked for; an
    empty table passes.
    """
    label, count = layout.roles.label, metrics.rows
    if one_class and label and count and count in metrics.labels:
        only = 0 if metrics.labels[0] else 1
        problem = f"label column {label.name!r} is {only} in all {count} rows"
        problems.add(problem, "Use a table with both classes: there is nothing to learn from one.")
    weight = layout.roles.weight
    if one_class and weight and count and metrics.largest[layout.roles.weight_at] == 0.0:
        problem = f"weight column {weight.name!r} is 0 in all {rows(count)}"
        problems.add(problem, "Give the rows to learn from a weight above 0, or do not name a weight.")
    same = layout.constant_features(metrics) if constant else ()
    if same:
        problem = f"{_columns('feature', same)} {'has' if len(same) == 1 else 'have'} one value in all {count} rows"
        problems.add(problem, "Add it to `ignore`: a constant says nothing about anybody.")


def find_duplicates(layout: Layout, problems: Problems) -> None:
    """Add the rows whose key an earlier row has, counted exactly. One shuffle of the keys."""
    keys = layout.frame().select("key").where(F.col("key").isNotNull())
    repeated = keys.groupBy("key").count().where("count > 1")
    ids, found = repeated.agg(F.count(F.lit(1)), F.sum("count")).first() or (0, 0)
    if ids:
        sample = [row[0] for row in repeated.select("key").orderBy("key").limit(EXAMPLES).collect()]
        problem, remedy = repeated_keys(found - ids, sample)
        problems.add(f"{_ids(layout.roles)}: {problem}", remedy)


def _line_checks(layout: Layout) -> Iterator[Check]:
    if layout.source.checks_lines and not layout.source.skips_lines:
        yield Check(
            {"": F.col("malformed")},
            lambda found: f"{rows(found[''])} with too few or too many fields, or a quote that does not end",
            "Mend the lines, correct `delimiter`, or leave such lines out (`on_bad_row: skip`); texts with line breaks "
            "need another format, such as Parquet.",
            places=lambda: bad_lines(layout.source),
        )


def _id_checks(layout: Layout) -> Iterator[Check]:
    ids = _ids(layout.roles)
    readable, without = ~F.col("malformed"), F.col("key").isNull()
    blank = any_of([is_missing(F.col(f"i{k}")) for k in range(len(layout.roles.ids))])
    typed = [column.stated for column in layout.roles.ids if column.cast or (column.read_as_text and column.declared)]
    wanted = "integer" if layout.id_type == "integer" else listed(dict.fromkeys(typed)) or "text"
    yield Check(
        {"": readable & without & blank},
        lambda found: f"{ids}: {rows(found[''])} with no id (null or blank)",
        "Give every row an id, or leave those rows out.",
    )
    yield Check(
        {"": readable & without & ~blank},
        lambda found: f"{ids}: {rows(found[''])} with an id that is not of type {wanted}",
        "Correct those ids, or let all parties compare ids as text (`ids.type: string` in the pipeline file).",
        reads=True,
    )
    yield Check(
        {"": readable & F.contains(F.col("key"), F.lit(UNDECODABLE))},
        lambda found: f"{ids}: {rows(found[''])} with characters that could not be decoded",
        "Correct `encoding`, or write those ids again.",
    )


def _label_checks(layout: Layout) -> Iterator[Check]:
    label = layout.roles.label
    if label is None:
        return
    readable, missing = ~F.col("malformed"), is_missing(F.col("l"))
    wanted = " nor ".join(repr(called) for called, _ in layout.roles.label_values) or "0 nor 1"
    yield Check(
        {"": readable & missing},
        lambda found: f"label column {label.name!r}: {rows(found[''])} with no label",
        "Leave out the rows without a label.",
    )
    yield Check(
        {"": readable & ~missing & ~is_label(F.col("y"))},
        lambda found: f"label column {label.name!r}: {rows(found[''])} with neither {wanted}",
        "Correct those labels, or name in `label_values` all that stands for 0 and for 1."
        if layout.roles.label_values
        else "Code the label as 0 and 1, or say in `label_values` what stands for each, as {'no': 0, 'yes': 1}.",
        show=F.col("l").cast("string"),
        reads=True,
    )


def _weight_checks(layout: Layout) -> Iterator[Check]:
    weight = layout.roles.weight
    if weight is None:
        return
    k = layout.roles.weight_at
    readable, missing, value = ~F.col("malformed"), is_missing(F.col(f"r{k}")), F.col(f"v{k}")
    yield Check(
        {"": readable & missing},
        lambda found: f"weight column {weight.name!r}: {rows(found[''])} with no weight",
        "Give every row a weight, 0 to leave it out of training, or do not name a weight.",
    )
    yield Check(
        {"": readable & ~missing & ~(is_finite(value) & (value >= 0.0))},
        lambda found: f"weight column {weight.name!r}: {rows(found[''])} with no number of zero or more",
        "Correct those weights; 0 leaves a row out of training.",
        looks={"": F.col(f"r{k}")},
        reads=True,
    )


def _time_checks(layout: Layout) -> Iterator[Check]:
    time = layout.roles.time
    if time is None:
        return
    k = layout.roles.time_at
    readable, missing = ~F.col("malformed"), is_missing(F.col(f"r{k}"))
    yield Check(
        {"": readable & missing},
        lambda found: f"time column {time.name!r}: {rows(found[''])} with no time",
        "Give every row its time, leave those rows out, or do not name a time.",
    )
    yield Check(
        {"": readable & ~missing & F.col(f"v{k}").isNull()},
        lambda found: f"time column {time.name!r}: {rows(found[''])} with no {time.stated}",
        "Write dates and times by ISO 8601, as 2024-12-31 or 2024-12-31 23:59:59.",
        looks={"": F.col(f"r{k}")},
        reads=True,
    )


def _feature_checks(layout: Layout, positions: Sequence[int]) -> Iterator[Check]:
    """Three rules for all the features at ``positions``; a message lists its columns with their counts."""
    missing: dict[str, Expression] = {}
    unparsed: dict[str, Expression] = {}
    infinite: dict[str, Expression] = {}
    as_read: dict[str, Expression] = {}
    for k in positions:
        name, raw, value = layout.roles.features[k].name, F.col(f"r{k}"), F.col(f"v{k}")
        readable, blank = ~F.col("malformed"), is_missing(F.col(f"r{k}"))
        missing[name] = readable & blank
        unparsed[name] = readable & ~blank & value.isNull() & raw.isNotNull()
        as_read[name] = raw
        infinite[name] = readable & value.isNotNull() & ~is_finite(value)
    yield Check(
        missing,
        lambda found: _counted(found, "has no value", "have no value"),
        "Fill the missing values at the source, leave those rows out, or add the columns to `ignore`.",
    )
    yield Check(
        unparsed,
        lambda found: _unparsed(layout.roles, found),
        "Correct those values; add a column of text to `ignore`, or list the columns to learn from in `features`.",
        looks=as_read,
        reads=True,
    )
    yield Check(
        infinite,
        lambda found: _counted(found, "has NaN or infinity", "have NaN or infinity"),
        "Replace them at the source, leave those rows out, or add the columns to `ignore`.",
    )


def _wanted(roles: Roles, found: Mapping[str, int]) -> str:
    """``a number``, or the types that the columns found were declared to have: ``a double or an integer``."""
    types = {column.stated if column.cast or (column.declared and column.read_as_text) else "number"
             for column in roles.features if column.name in found}  # fmt: skip
    return " or ".join(f"{'an' if text[0] in 'aeiou' else 'a'} {text}" for text in sorted(types))


def _unparsed(roles: Roles, found: Mapping[str, int]) -> str:
    wanted = _wanted(roles, found)
    return _counted(found, f"does not read as {wanted}", f"do not read as {wanted}")


def _counted(found: Mapping[str, int], one: str, many: str) -> str:
    """``feature column 'x' has no value in 2 rows``, or ``feature columns 'x' (2 rows), 'y' (1 row) have no value``."""
    if len(found) == 1:
        ((name, count),) = found.items()
        return f"feature column {name!r} {one} in {rows(count)}"
    return f"feature columns {listed(f'{name!r} ({rows(count)})' for name, count in found.items())} {many}"


def _columns(role: str, names: Sequence[str]) -> str:
    return f"{role} column{'s' if len(names) > 1 else ''} {listed(map(repr, names))}"


def _ids(roles: Roles) -> str:
    return _columns("id", [column.name for column in roles.ids])


def _values(frame: DataFrame, shown: Expression) -> str:
    """`` but 'no', 'yes'``: up to five distinct values, in order."""
    values = [row[0] for row in frame.select(shown.alias("v")).distinct().orderBy("v").limit(_VALUES + 1).collect()]
    return f" but {listed(map(repr, values[:_VALUES]))}{' and more' if len(values) > _VALUES else ''}"


def _looks(frame: DataFrame, check: Check, found: Mapping[str, int]) -> str:
    """`` (values like '9,999.99', 'aaaa')``: of up to three, the first characters with 9 for digits, a for letters."""
    looks: list[str] = []
    for name in list(found)[:_LOOKED_AT]:
        text = F.substring((check.looks or {})[name].cast("string"), 1, _LOOK)
        text = F.regexp_replace(F.regexp_replace(text, r"\p{L}", "a"), r"\p{N}", "9").alias("v")
        rows = frame.where(check.broken[name]).select(text).distinct().orderBy("v").limit(EXAMPLES).collect()
        looks += [row[0] for row in rows]
    return f" (values like {', '.join(map(repr, dict.fromkeys(looks[:EXAMPLES])))})"


def _examples(frame: DataFrame, conditions: Sequence[Expression]) -> list[list[str]]:
    """Up to three ids of the rows that meet each condition (of the first few), in one job; the ids are not masked."""
    found: list[list[str]] = [[] for _ in conditions]
    texts = [F.col(name) for name in frame.columns if name[0] == "i" and name[1:].isdigit()]
    shown = F.coalesce(F.col("key"), F.concat_ws(" ", *texts))
    queries = [
        frame.where(condition).select(F.lit(number).alias("check"), shown.alias("id")).orderBy("id").limit(EXAMPLES)
        for number, condition in enumerate(conditions[:_EXAMPLE_QUERIES])
    ]
    if queries:
        union = queries[0]
        for query in queries[1:]:
            union = union.union(query)
        for number, text in union.collect():
            if text:
                found[number].append(text)
    return found
