"""Statistics of a table: one small row per column, its keys, and its rows per day.

Belongs here: the queries that measure a table on any engine. Not here: how two measurements compare
(statistics_compared.py), what a difference means (rules/), or where statistics are stored
(ledger.py).

Statistics are a JSON document; decimals, dates and timestamps are text:

    rows      number of rows
    engine    which engine measured; only equal engines are comparable, see `are_comparable`
    columns   name -> {nulls, distinct, min, max, sum, negative, top}
    keys      {columns, sketch, exact}, with immutable if there is any, or null without a grain
    periods   {column, unit, of, method, counts}, or null without a date
    sample    {columns, rows}: rows to look at, or null

`distinct` is approximate above 50 values. `sum` and `negative` are null for columns that are not
numbers, `top` (all values with their counts) for columns with more than 50 values or with texts
over 200 characters, of which `min` and `max` keep the first 200. The values of a column that is
`personal` or more protected must not leave the product, so it has only `nulls` and `distinct`: its
days are not counted, and there are no hashes of it alone. A grain with such a column has no `keys`.

`sketch` holds the smallest 512 hashes of the grain's values, so that the share of keys in common
can be estimated; `exact` if these are all keys. `immutable` has the columns that must not change
for a key (`immutable: true` in the contract) and a hash of their values for each key of the sketch;
it is missing without such columns. `counts` holds the rows and a checksum of each day, of each
month if there are over 400 days, of each year if there are over 400 months. The checksum
is about the columns `of`, in any order of rows; it is comparable only if `method` is equal too.
`sample` is for people who look for data. It has up to 5 rows as text, of the columns that are
public or have no class, and neither a name nor a value that looks personal. A product whose grain
has a personal column has none: each of its rows is about one person.
Maps, and columns that contain one, are neither in `of` nor in `immutable`: the order of a map's
entries means nothing, and a hash depends on it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshhouse.engines.protocol import Reader
from meshhouse.governance.classes import looks_personal, personal_values
from meshhouse.governance.contract import Contract
from meshhouse.governance.statistics_compared import MODULUS, UNITS, folded
from meshhouse.repository.classes import CLASSES, is_personal, rank
from meshhouse.repository.types import parse_type
from meshhouse.sql import literal

if TYPE_CHECKING:
    import duckdb

FEW = 50
"""Distinct values up to which all values of a column are counted."""
LONGEST = 200
"""Characters of a text that statistics keep."""
KEYS = 512
"""Hashes in a sketch: the share of common keys is then right within 5 percentage points."""
SAMPLE = 5
"""Rows of the sample."""
PERIODS = 400
"""Periods up to which a unit is used: a year of days."""
_TIMES = frozenset({"date", "timestamp", "timestamptz"})
_NUMBERS = frozenset({"bigint", "integer", "decimal", "double"})
_NESTED = frozenset({"struct", "array", "map"})
_MAP = re.compile(r"\bmap\s*[<(]", re.IGNORECASE)
"""A map in a declared type, or in DuckDB's spelling, at any level."""
_SEPARATOR, _NULL = literal("\x1f"), literal("\x1e")
_OPEN = (-1, CLASSES.index("public"))
"""Ranks of columns whose values everyone may see; see repository/classes.py."""
_SORTED = 3
"""Columns that decide which rows a sample has."""
_SPARE = 60
"""Approximate count above which a column has certainly more than `FEW` values."""

Statistics = dict[str, Any]


@dataclass(frozen=True)
class _Column:
    """A column to measure."""

    name: str
    kind: str
    """The kind of its declared type, or the engine's name for a type that cannot be declared."""
    digits: int
    """Precision of a decimal."""
    sql: str
    """Its quoted name."""
    is_personal: bool
    is_immutable: bool = False
    """Must not change for a key."""
    has_map: bool = False
    """Whether it is a map or contains one: Spark does not define the order of a map's entries, so
    equal values have different texts."""

    @property
    def is_plain(self) -> bool:
        """Whether the type can be declared; others, such as lists, have neither order nor sum."""
        return self.kind in _NUMBERS | _TIMES | {"string", "boolean"}

    @property
    def text(self) -> str:
        return f"cast({self.sql} as string)"

    @property
    def number(self) -> str:
        """A number whose sum does not overflow: exact for decimals of at most 28 digits."""
        is_exact = self.kind == "decimal" and self.digits <= 28
        return self.sql if is_exact else f"cast({self.sql} as double)"

    @property
    def value(self) -> str:
        """What a checksum takes: the same for equal values of types that are spelled otherwise.

        DuckDB and Spark hash the stored integer of a decimal, which is 100 for 1.00 and 0.0100. A
        double tells amounts of 15 digits apart.
        """
        if self.kind in _NESTED:
            return self.text  # Spark cannot hash a map
        wider = {"decimal": "double", "integer": "bigint"}.get(self.kind)
        return f"cast({self.sql} as {wider})" if wider else self.sql


def statistics_of(
    connection: duckdb.DuckDBPyConnection, relation: str, contract: Contract
) -> Statistics:
    """Measures a relation of a DuckDB connection.

    Args:
        connection: any connection.
        relation: SQL of a table, a view or a table function.
        contract: names the grain, personal columns, and the time column (`promises.measured_on`).
            Columns of the relation that it lacks are measured by their types.
    """
    from meshhouse.engines.duckdb.engine import DuckDBReader

    found = connection.execute(f"describe select * from {relation}").fetchall()
    types = {name: data_type for name, data_type, *_ in found}
    return _measure(DuckDBReader(connection), relation, contract, types)


def measure(reader: Reader, relation: str, contract: Contract) -> Statistics:
    """Measures a relation that a reader of the audit sees, with the columns of its contract."""
    types = {name: str(column["type"]) for name, column in contract.columns.items()}
    return _measure(reader, relation, contract, types)


def _measure(
    reader: Reader, relation: str, contract: Contract, types: Mapping[str, str]
) -> Statistics:
    columns = [_column(name, kind, contract, reader) for name, kind in types.items()]
    rows, measured = _columns(reader, relation, columns)
    for column in columns:
        few = column.is_plain and measured[column.name]["distinct"] <= _SPARE
        if few and not column.is_personal:
            _count_values(reader, relation, column, measured[column.name])
    return {
        "rows": rows,
        "engine": reader.engine,
        "columns": measured,
        "keys": _keys(reader, relation, columns, contract.grain, rows),
        "periods": _periods(reader, relation, columns, contract, measured),
        "sample": _sample(reader, relation, columns, contract),
    }


def _sample(
    reader: Reader, relation: str, columns: Sequence[_Column], contract: Contract
) -> dict[str, Any] | None:
    promised = {name.lower(): column for name, column in contract.columns.items()}
    if any(is_personal(promised.get(name.lower(), {})) for name in contract.grain):
        return None
    open_ = [
        each
        for each in columns
        if each.is_plain
        and rank(promised.get(each.name.lower(), {})) in _OPEN
        and not looks_personal(each.name, promised.get(each.name.lower(), {}))
    ]
    if not open_:
        return None
    texts = ", ".join(
        f"substr({each.text}, 1, {LONGEST}) as v_{at}" for at, each in enumerate(open_)
    )
    # The same rows as long as they exist, so that a page changes only with its data.
    order = ", ".join(each.sql for each in open_[:_SORTED])
    found = reader.rows(f"select {texts} from {relation} order by {order} limit {SAMPLE}")
    values = [[row[f"v_{at}"] for row in found] for at in range(len(open_))]
    clear = [at for at, each in enumerate(values) if not any(personal_values(filter(None, each)))]
    return {
        "columns": [open_[at].name for at in clear],
        "rows": [[values[at][row] for at in clear] for row in range(len(found))],
    }


def _column(name: str, data_type: str, contract: Contract, reader: Reader) -> _Column:
    declared = {each.lower(): column for each, column in contract.columns.items()}
    try:
        parsed = parse_type(data_type)
        kind, digits = parsed.kind, parsed.precision
    except ValueError:
        kind, digits = data_type.lower(), 0
    promised = declared.get(name.lower(), {})
    return _Column(
        name=name,
        kind=_ALSO_DECLARED.get(kind, kind),
        digits=digits,
        sql=reader.quote(reader.column(name)),
        is_personal=is_personal(promised),
        is_immutable=bool(promised.get("immutable")),
        has_map=_MAP.search(data_type) is not None,
    )


_ALSO_DECLARED = {
    **dict.fromkeys(("tinyint", "smallint", "utinyint", "usmallint", "uinteger"), "integer"),
    **dict.fromkeys(("ubigint", "hugeint", "uhugeint"), "bigint"),
    "float": "double",
}
"""Types that DuckDB gives to expressions and that no contract declares."""


def _columns(
    reader: Reader, relation: str, columns: Sequence[_Column]
) -> tuple[int, dict[str, dict[str, Any]]]:
    """Rows, and everything about columns that one scan finds."""
    parts = ["count(*) as n"]
    for at, column in enumerate(columns):
        compared = column.sql if column.is_plain else column.text
        found = {
            "filled": f"count({column.sql})",
            "distinct": f"approx_count_distinct({compared})",
        }
        if column.is_plain and not column.is_personal:
            for name in ("min", "max"):
                value = f"{name}({column.text if column.kind == 'boolean' else column.sql})"
                text = f"substr(cast({value} as string), 1, {LONGEST})"
                found[name] = value if column.kind in _NUMBERS else text
        if column.kind in _NUMBERS and not column.is_personal:
            found["sum"] = f"sum({column.number})"
            found["negative"] = f"count(case when {column.sql} < 0 then 1 end)"
        parts += [f"{sql} as {name}_{at}" for name, sql in found.items()]
    (row,) = reader.rows(f"select {', '.join(parts)} from {relation}")
    rows = int(row["n"])
    measured = {}
    for at, column in enumerate(columns):
        filled = int(row[f"filled_{at}"])
        negative, total = row.get(f"negative_{at}"), row.get(f"sum_{at}")
        measured[column.name] = {
            "nulls": rows - filled,
            "distinct": min(int(row[f"distinct_{at}"]), filled),
            "min": _value(row.get(f"min_{at}"), column.kind),
            "max": _value(row.get(f"max_{at}"), column.kind),
            # Digits beyond 12 depend on the order in which threads add doubles.
            "sum": _rounded(total) if isinstance(total, float) else _value(total, column.kind),
            "negative": None if negative is None else int(negative),
            "top": None,
        }
    return rows, measured


def _count_values(reader: Reader, relation: str, column: _Column, measured: dict[str, Any]) -> None:
    """Fills in the exact number of a column's values and how often each occurs, if they are few."""
    # Values become text after they are counted: of 1.5 million times, that took most of the query.
    is_text = column.kind == "boolean" or column.kind in _TIMES
    rows = reader.rows(
        f"select {'cast(v as string)' if is_text else 'v'} as v, n from (select {column.sql} as v, "
        f"count(*) as n from {relation} where {column.sql} is not null group by {column.sql} "
        f"limit {FEW + 1}) as few"
    )
    if len(rows) > FEW:
        return
    measured["distinct"] = len(rows)
    top = [[_value(row["v"], column.kind), int(row["n"])] for row in rows]
    if all(len(str(each)) <= LONGEST for each, _ in top):
        measured["top"] = sorted(top, key=lambda each: (-each[1], str(each[0])))


def _keys(
    reader: Reader, relation: str, columns: Sequence[_Column], grain: Sequence[str], rows: int
) -> dict[str, Any] | None:
    known = {each.name.lower(): each for each in columns}
    if not grain or any(name.lower() not in known for name in grain):
        return None
    if any(known[name.lower()].is_personal for name in grain):
        return None  # a hash of a mail address is found by hashing addresses
    parts = [f"coalesce({known[name.lower()].text}, {_NULL})" for name in grain]
    key = f"md5(concat({f', {_SEPARATOR}, '.join(parts)}))"
    most = 2 * KEYS
    smallest = _hashes(reader, f"select {key} as h from {relation} order by h limit {most}")
    if len(smallest) <= KEYS and rows > most:  # keys occur more than once
        distinct = f"select distinct {key} as h from {relation}"
        smallest = _hashes(reader, f"{distinct} order by h limit {KEYS + 1}")
    found = {
        "columns": list(grain),
        "sketch": smallest[:KEYS],
        "exact": len(smallest) <= KEYS,
    }
    fixed = _immutable(reader, relation, key, smallest[:KEYS], columns)
    return {**found, "immutable": fixed} if fixed else found


def _immutable(
    reader: Reader, relation: str, key: str, sketch: Sequence[str], columns: Sequence[_Column]
) -> dict[str, Any] | None:
    """For each key of the sketch, a hash of the columns that must not change for it."""
    clear = (each for each in columns if each.is_immutable and not each.is_personal)
    fixed = sorted((each for each in clear if not each.has_map), key=lambda each: each.name)
    if not fixed or not sketch:
        return None
    values = _hash([each.text for each in fixed])
    found = reader.rows(
        f"select {key} as h, max({values}) as v from {relation} "
        f"where {key} <= {literal(sketch[-1])} group by {key}"
    )
    hashes = {str(row["h"]): str(row["v"]) for row in found}
    return {
        "columns": [each.name for each in fixed],
        "hashes": [hashes[each] for each in sketch],
    }


def _hash(values: Sequence[str]) -> str:
    """SQL of a hash of texts, of which each may be null."""
    parts = [f"coalesce({each}, {_NULL})" for each in values]
    return f"md5(concat({f', {_SEPARATOR}, '.join([*parts, literal('')])}))"


def _hashes(reader: Reader, sql: str) -> list[str]:
    return sorted({str(row["h"]) for row in reader.rows(sql)})


def _periods(
    reader: Reader,
    relation: str,
    columns: Sequence[_Column],
    contract: Contract,
    measured: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any] | None:
    wanted = str(contract.get("promises.measured_on", "")).lower()
    times = [each for each in columns if each.kind in _TIMES and not each.is_personal]
    named = [each for each in times if each.name.lower() == wanted]
    filled = [each for each in times if not measured[each.name]["nulls"]]
    column = next(iter([*named, *filled]), None)
    if column is None:
        return None
    # Sorted, because the order of columns means nothing.
    summed = (each for each in columns if each is not column and not each.has_map)
    others = sorted(summed, key=lambda each: each.name)
    method, checksum = reader.checksum([each.value for each in others])
    day = f"cast({column.sql} as date)"
    found = reader.rows(
        f"select cast(d as string) as d, n, s from (select {day} as d, count(*) as n, "
        f"sum({checksum}) as s from {relation} group by {day}) as days"
    )
    days = {
        str(row["d"]) if row["d"] is not None else "null": [
            int(row["n"]),
            f"{int(row['s'] or 0) % MODULUS:x}",
        ]
        for row in found
    }
    unit = next(
        (unit for unit, length in UNITS if len({each[:length] for each in days}) <= PERIODS),
        UNITS[-1][0],
    )
    return {
        "column": column.name,
        "unit": unit,
        "of": [each.name for each in others],
        "method": f"{method}, decimals as doubles",
        "counts": folded(days, unit),
    }


def _value(value: Any, kind: str) -> Any:
    """A value as JSON has it."""
    if value is None or isinstance(value, bool | str):
        return value
    if kind in ("bigint", "integer"):
        return int(value)
    if kind == "double":
        return float(value) if math.isfinite(value) else str(value)
    return str(value)


def _rounded(total: float) -> float | str:
    return float(f"{total:.12g}") if math.isfinite(total) else str(total)
