"""Which rows and values differ between two tables, in SQL.

Belongs here: the queries and their result. Not here: opening the two tables (two_states.py), what a
change means for readers (governance/), or printing (cli/).

One full outer join on the grain finds all differences. DuckDB keeps its memory limit by writing to
disk. The examples are picked in the same pass, and a masked value never leaves the database.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from meshhouse.audit.samples import MASK
from meshhouse.errors import MeshError
from meshhouse.governance.types import Type, type_of
from meshhouse.sql import literal, quote

EXAMPLES = 20
_WHOLE = ("tinyint", "smallint", "integer", "bigint")
_TIMES = ("date", "timestamp", "timestamptz")
_DIGITS_OF_WHOLE, _MOST_DIGITS = 19, 38

Rows = Callable[[str], list[dict[str, Any]]]
"""Rows of a query in DuckDB's SQL, each as column -> value."""


@dataclass(frozen=True)
class Example:
    """A row that differs; values are texts, and personal ones are masked."""

    kind: str
    """`changed`, `added` or `removed`."""
    key: Mapping[str, str | None]
    values: Mapping[str, str | None]
    """Of an added or removed row: its other columns. Of a changed one: the new values."""
    before: Mapping[str, str | None]
    """Of a changed row: the old values of the columns that changed."""


@dataclass(frozen=True)
class RowDifference:
    """How the rows of two tables differ."""

    rows_before: int
    rows_after: int
    added: int
    removed: int
    changed: int
    columns: Mapping[str, int]
    """Column -> rows in which its value changed; only columns that changed."""
    only_before: tuple[str, ...]
    """Columns that the new table does not have."""
    only_after: tuple[str, ...]
    key: tuple[str, ...]
    """The columns that identify a row; empty if rows were compared as a whole."""
    because: str
    """Why rows were compared as a whole; empty if they were not."""
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Pair:
    """A column that both tables have, with SQL of its value in a form that can be compared."""

    name: str
    number: int
    before: str
    after: str


@dataclass(frozen=True)
class _Tables:
    rows: Rows
    before: str
    after: str
    columns_before: tuple[str, ...]
    columns_after: tuple[str, ...]
    pairs: tuple[Pair, ...]
    clear: frozenset[str]

    def shown(self, name: str, value: str) -> str:
        """SQL of a value as text, masked unless everybody may see the column."""
        if name.lower() in self.clear:
            return f"cast({value} as varchar)"
        return f"case when {value} is not null then {literal(MASK)} end"

    def only(self, names: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
        known = {each.lower() for each in others}
        return tuple(each for each in names if each.lower() not in known)


def compare_rows(
    rows: Rows, before: str, after: str, grain: Sequence[str], clear: Collection[str]
) -> RowDifference:
    """Compares two tables, by the grain if it identifies the rows of both.

    Args:
        rows: runs SQL on a connection that reads both.
        before: SQL of the earlier table.
        after: SQL of the later table.
        grain: the columns that identify a row; may be empty.
        clear: columns whose values may be shown; all others are masked.
    """
    described = [
        {each["column_name"]: str(each["column_type"]) for each in rows(f"describe from {table}")}
        for table in (before, after)
    ]
    tables = _Tables(
        rows, before, after, tuple(described[0]), tuple(described[1]), tuple(pairs(*described)),
        frozenset(each.lower() for each in clear),
    )  # fmt: skip
    because = _why_not_by(grain, tables)
    return _as_a_whole(tables, because) if because else _by_key(tables, grain)


def pairs(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Pair]:
    """The columns that two tables share, from name -> type of each."""
    spelled = {name.lower(): name for name in before}
    for number, (name, text) in enumerate(after.items()):
        own = spelled.get(name.lower())
        if own is not None:
            form = _form(before[own], text)
            yield Pair(name, number, form.format(quote(own)), form.format(quote(name)))


def _form(before: str, after: str) -> str:
    """SQL with a gap for a value, after which values of two types can be compared exactly."""
    old, new = type_of(before), type_of(after)
    if old.is_nested or new.is_nested:
        return "cast({} as varchar)"
    if before == after:
        return "{}"
    if all(each.kind in _TIMES for each in (old, new)):
        return "cast({} as timestamptz)"
    sizes = [_digits(each) for each in (old, new)]
    if all(sizes):
        scale = max(each[1] for each in sizes if each)
        digits = max(each[0] for each in sizes if each) + scale
        if digits <= _MOST_DIGITS:
            return f"cast({{}} as decimal({digits}, {scale}))"
    numbers = ("float", "double", "decimal", *_WHOLE)
    if all(each.kind in numbers for each in (old, new)) and "float" in (old.kind, new.kind):
        return "cast({} as float)"  # 0.1 as a double differs from the float nearest to 0.1
    if all(each.kind in numbers for each in (old, new)) and "double" in (old.kind, new.kind):
        return "cast({} as double)"
    return "cast({} as varchar)"


def _digits(kind: Type) -> tuple[int, int] | None:
    """Digits before and after the decimal point; None for other types than exact numbers."""
    if kind.kind in _WHOLE:
        return _DIGITS_OF_WHOLE, 0
    if kind.kind == "decimal" and len(kind.numbers) == 2:
        precision, scale = kind.numbers
        return precision - scale, scale
    return None


def _why_not_by(grain: Sequence[str], tables: _Tables) -> str:
    """Why rows cannot be compared by the grain; empty if they can."""
    if not grain:
        return "the product has no grain"
    shared = {each.name.lower(): each for each in tables.pairs}
    missing = [each for each in grain if each.lower() not in shared]
    if missing:
        return f"not both have {', '.join(missing)} of the grain"
    keys = [shared[each.lower()] for each in grain]
    for table, values, state in (
        (tables.before, [each.before for each in keys], "earlier"),
        (tables.after, [each.after for each in keys], "later"),
    ):
        repeated = f"select {', '.join(values)} from {table} group by all having count(*) > 1"
        if tables.rows(f"select 1 as found from ({repeated}) limit 1"):
            return f"{', '.join(grain)} repeats in the {state} rows"
    return ""


def _by_key(tables: _Tables, grain: Sequence[str]) -> RowDifference:
    wanted = {each.lower() for each in grain}
    keys = [each for each in tables.pairs if each.name.lower() in wanted]
    values = [each for each in tables.pairs if each.name.lower() not in wanted]
    differs = " or ".join(f"d{each.number}" for each in values) or "false"
    both = "not is_added and not is_removed"

    def side(table: str, names: Sequence[str], state: str) -> str:
        picked = [f"{quote(name)} as c{number}" for number, name in enumerate(names)]
        picked += [f"{getattr(each, state)} as v{each.number}" for each in tables.pairs]
        return f"select {', '.join(picked)}, true as is_present from {table}"

    def struct(alias: str, names: Sequence[str]) -> str:
        return "{" + ", ".join(f"'c{at}': {alias}.c{at}" for at in range(len(names))) + "}"

    flags = ", ".join(f"'d{each.number}': d{each.number}" for each in values)
    row = f"{{'before': was, 'after': now{', ' if flags else ''}{flags}}}"
    counts = [
        "count(*) filter (not is_added) as rows_before",
        "count(*) filter (not is_removed) as rows_after",
        "count(*) filter (is_added) as added",
        "count(*) filter (is_removed) as removed",
        f"count(*) filter ({both} and ({differs})) as changed",
        *(f"count(*) filter ({both} and d{each.number}) as n{each.number}" for each in values),
        f"arg_min({row}, k, {EXAMPLES}) filter (is_added) as examples_added",
        f"arg_min({row}, k, {EXAMPLES}) filter (is_removed) as examples_removed",
        f"arg_min({row}, k, {EXAMPLES}) filter ({both} and ({differs})) as examples_changed",
    ]
    tables.rows(
        "create or replace temp table found as "
        f"with earlier as ({side(tables.before, tables.columns_before, 'before')}), "
        f"later as ({side(tables.after, tables.columns_after, 'after')}), "
        "joined as (select a.is_present is null as is_added, b.is_present is null as is_removed, "
        + "".join(
            f"a.v{each.number} is distinct from b.v{each.number} as d{each.number}, "
            for each in values
        )
        + f"{struct('a', tables.columns_before)} as was, "
        f"{struct('b', tables.columns_after)} as now, "
        f"row({', '.join(f'coalesce(a.v{each.number}, b.v{each.number})' for each in keys)}) as k "
        "from earlier as a full outer join later as b on "
        + " and ".join(f"a.v{each.number} is not distinct from b.v{each.number}" for each in keys)
        + f") select {', '.join(counts)} from joined"
    )
    [found] = tables.rows("select * exclude (examples_added, examples_removed, examples_changed) "
                          "from found")  # fmt: skip
    key = tuple(each.name for each in keys)
    return RowDifference(
        rows_before=found["rows_before"],
        rows_after=found["rows_after"],
        added=found["added"],
        removed=found["removed"],
        changed=found["changed"],
        columns={each.name: n for each in values if (n := found[f"n{each.number}"])},
        only_before=tables.only(tables.columns_before, tables.columns_after),
        only_after=tables.only(tables.columns_after, tables.columns_before),
        key=key,
        because="",
        examples=_some_of_each(
            list(_changed_examples(tables, key, values)),
            list(_examples(tables, "removed", "before", tables.columns_before, key)),
            list(_examples(tables, "added", "after", tables.columns_after, key)),
        ),
    )


def _changed_examples(
    tables: _Tables, key: Sequence[str], values: Sequence[Pair]
) -> Iterator[Example]:
    place = {name.lower(): number for number, name in enumerate(tables.columns_before)}
    shown = [f"{_shown(tables, 'after', name)} as a{at}"
             for at, name in enumerate(tables.columns_after)]  # fmt: skip
    shown += [
        f"{tables.shown(each.name, f'e.before.c{place[each.name.lower()]}')} as b{each.number}"
        for each in values
    ]
    shown += [f"e.d{each.number} as d{each.number}" for each in values]
    for row in tables.rows(
        f"select {', '.join(shown)} from (select unnest(examples_changed) as e from found)"
    ):
        after = {name: row[f"a{at}"] for at, name in enumerate(tables.columns_after)}
        names = {each.name: row[f"b{each.number}"] for each in values if row[f"d{each.number}"]}
        yield Example(
            kind="changed",
            key={name: after[name] for name in key},
            values={name: after[name] for name in names},
            before=names,
        )


def _shown(tables: _Tables, state: str, name: str) -> str:
    names = tables.columns_before if state == "before" else tables.columns_after
    return tables.shown(name, f"e.{state}.c{names.index(name)}")


def _examples(
    tables: _Tables, kind: str, state: str, names: Sequence[str], key: Sequence[str]
) -> Iterator[Example]:
    shown = [f"{_shown(tables, state, name)} as c{at}" for at, name in enumerate(names)]
    wanted = {each.lower() for each in key}
    for row in tables.rows(
        f"select {', '.join(shown)} from (select unnest(examples_{kind}) as e from found)"
    ):
        values = {name: row[f"c{at}"] for at, name in enumerate(names)}
        yield Example(
            kind=kind,
            key={name: value for name, value in values.items() if name.lower() in wanted},
            values={name: value for name, value in values.items() if name.lower() not in wanted},
            before={},
        )


def _as_a_whole(tables: _Tables, because: str) -> RowDifference:
    """Compares rows by all columns that both tables have; repeated rows count each time."""
    pairs = tables.pairs
    was, now = (
        f"select {', '.join(f'{getattr(each, state)} as v{each.number}' for each in pairs)} "
        f"from {table}"
        for state, table in (("before", tables.before), ("after", tables.after))
    )
    counted, examples = {}, {}
    for kind, query in (("removed", f"{was} except all {now}"),
                        ("added", f"{now} except all {was}")):  # fmt: skip
        if not pairs:
            raise MeshError("The two states have no column in common, so no rows were compared.")
        tables.rows(f"create or replace temp table found as {query}")
        [count] = tables.rows("select count(*) as n from found")
        counted[kind] = count["n"]
        shown = ", ".join(f"{tables.shown(each.name, f'v{each.number}')} as v{each.number}"
                          for each in pairs)  # fmt: skip
        picked = tables.rows(
            f"select {shown} from (select * from found order by all limit {EXAMPLES})"
        )
        examples[kind] = [
            Example(kind, {}, {each.name: row[f"v{each.number}"] for each in pairs}, {})
            for row in picked
        ]
    [sizes] = tables.rows(f"select (select count(*) from {tables.before}) as rows_before, "
                          f"(select count(*) from {tables.after}) as rows_after")  # fmt: skip
    return RowDifference(
        **sizes,
        added=counted["added"],
        removed=counted["removed"],
        changed=0,
        columns={},
        only_before=tables.only(tables.columns_before, tables.columns_after),
        only_after=tables.only(tables.columns_after, tables.columns_before),
        key=(),
        because=because,
        examples=_some_of_each([], examples["removed"], examples["added"]),
    )


def _some_of_each(*found: list[Example]) -> tuple[Example, ...]:
    """At most `EXAMPLES`, of every kind that there is, sorted by kind."""
    rounds = [each for line in zip_longest(*found) for each in line if each is not None]
    picked = rounds[:EXAMPLES]
    return tuple(each for kind in found for each in kind if each in picked)
