"""Generated nested queries whose lineage is known because the generator builds them from it."""

from dataclasses import dataclass, field
from itertools import count

import duckdb
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from meshhouse.governance.lineage import reads_of, steps_of

SCHEMAS = {"a.t": ["k", "x", "y"], "a.u": ["k", "z"], "b.v": ["k", "x", "w"]}


@dataclass(frozen=True)
class Made:
    """A query with what it must be found to read."""

    sql: str
    columns: dict[str, frozenset[str]]
    """Column of the result -> columns of base relations that reach it."""
    read: frozenset[str] = frozenset()
    """What the text names, or needs for its rows, besides what reaches the result."""
    ctes: tuple[str, ...] = field(default=())


@st.composite
def made(draw, names, depth=3):
    kinds = [table]
    if depth:
        kinds += [table, chosen, chosen, starred, joined, used, united, filtered, grouped, ranked]
    return draw(draw(st.sampled_from(kinds))(names, depth - 1))


@st.composite
def table(draw, names, depth):
    relation = draw(st.sampled_from(sorted(SCHEMAS)))
    columns = {each: frozenset({f"{relation}.{each}"}) for each in SCHEMAS[relation]}
    return Made(f"select * from {relation}", columns)


def _source(draw, inner, names):
    """The query as an item of `from`, in place or as a CTE; with its alias."""
    alias = f"q{next(names)}"
    if draw(st.booleans()):
        return f"({inner.sql}) as {alias}", alias, inner.ctes
    return alias, alias, (*inner.ctes, f"{alias} as ({inner.sql})")


def _some(draw, columns, most=3):
    return draw(st.lists(st.sampled_from(sorted(columns)), min_size=1, max_size=most, unique=True))


@st.composite
def chosen(draw, names, depth):
    """Some columns and an expression of two, under new names."""
    inner = draw(made(names, depth))
    source, alias, ctes = _source(draw, inner, names)
    prefix = draw(st.sampled_from(["", f"{alias}.", f'"{alias.upper()}".']))
    items, columns = [], {}
    for name in _some(draw, inner.columns):
        new = f"c{next(names)}"
        items.append(f"{prefix}{name} as {new}")
        columns[new] = inner.columns[name]
    one, other = (
        draw(st.sampled_from(sorted(inner.columns))),
        draw(st.sampled_from(sorted(inner.columns))),
    )
    new = f"c{next(names)}"
    shape = draw(st.sampled_from(
        ["{} + {}", "coalesce({}, {})", "case when {} > 1 then {} end", "greatest({}, 2 * {})"]
    ))  # fmt: skip
    items.append(shape.format(prefix + one, prefix + other) + f" as {new}")
    columns[new] = inner.columns[one] | inner.columns[other]
    reached = frozenset().union(*columns.values())
    return Made(f"select {', '.join(items)} from {source}", columns, inner.read | reached, ctes)


@st.composite
def starred(draw, names, depth):
    inner = draw(made(names, depth))
    source, alias, ctes = _source(draw, inner, names)
    star = draw(st.sampled_from(["*", f"{alias}.*"]))
    return Made(f"select {star} from {source}", inner.columns, inner.read, ctes)


@st.composite
def filtered(draw, names, depth):
    inner = draw(made(names, depth))
    source, _, ctes = _source(draw, inner, names)
    by = draw(st.sampled_from(sorted(inner.columns)))
    sql = f"select * from {source} where {by} in (1, 2)"
    return Made(sql, inner.columns, inner.read | inner.columns[by], ctes)


@st.composite
def joined(draw, names, depth):
    left, right = draw(made(names, depth)), draw(made(names, depth))
    one, a, left_ctes = _source(draw, left, names)
    other, b, right_ctes = _source(draw, right, names)
    key, other_key = (draw(st.sampled_from(sorted(each.columns))) for each in (left, right))
    columns, items = {}, []
    for side, alias in ((left, a), (right, b)):
        for name in _some(draw, side.columns):
            new = f"c{next(names)}"
            items.append(f"{alias}.{name} as {new}")
            columns[new] = side.columns[name]
    kind = draw(st.sampled_from(["join", "left join", "full join"]))
    sql = f"select {', '.join(items)} from {one} {kind} {other} on {a}.{key} = {b}.{other_key}"
    reached = frozenset().union(*columns.values(), left.columns[key], right.columns[other_key])
    return Made(sql, columns, left.read | right.read | reached, (*left_ctes, *right_ctes))


@st.composite
def used(draw, names, depth):
    """A semi join in one of three spellings."""
    left, right = draw(made(names, depth)), draw(made(names, depth))
    one, a, left_ctes = _source(draw, left, names)
    other, b, right_ctes = _source(draw, right, names)
    key, other_key = (draw(st.sampled_from(sorted(each.columns))) for each in (left, right))
    end = draw(st.sampled_from([
        f"semi join {other} on {a}.{key} = {b}.{other_key}",
        f"where {a}.{key} in (select {b}.{other_key} from {other})",
        f"where exists (select 1 from {other} where {b}.{other_key} = {a}.{key})",
    ]))  # fmt: skip
    read = left.read | right.read | left.columns[key] | right.columns[other_key]
    return Made(f"select {a}.* from {one} {end}", left.columns, read, (*left_ctes, *right_ctes))


@st.composite
def united(draw, names, depth):
    sides, items, ctes, columns = [], [], (), {}
    for _ in range(2):
        inner = draw(made(names, depth))
        source, _, more = _source(draw, inner, names)
        sides.append(inner)
        ctes += more
        one, other = (draw(st.sampled_from(sorted(inner.columns))) for _ in range(2))
        items.append((source, one, other))
    new = [f"c{next(names)}", f"c{next(names)}"]
    for place, name in enumerate(new):
        columns[name] = frozenset().union(
            *(side.columns[item[place + 1]] for side, item in zip(sides, items, strict=True))
        )
    parts = [
        f"select {one} as {new[0]}, {other} as {new[1]} from {source}"
        for source, one, other in items
    ]
    read = frozenset().union(*columns.values(), *(each.read for each in sides))
    return Made(" union all ".join(parts), columns, read, ctes)


@st.composite
def grouped(draw, names, depth):
    inner = draw(made(names, depth))
    source, _, ctes = _source(draw, inner, names)
    by, value = (draw(st.sampled_from(sorted(inner.columns))) for _ in range(2))
    key, total = f"c{next(names)}", f"c{next(names)}"
    end = draw(st.sampled_from([f"group by {by}", "group by all", "group by 1"]))
    sql = f"select {by} as {key}, sum({value}) as {total} from {source} {end}"
    columns = {key: inner.columns[by], total: inner.columns[value]}
    return Made(sql, columns, inner.read | inner.columns[by] | inner.columns[value], ctes)


@st.composite
def ranked(draw, names, depth):
    inner = draw(made(names, depth))
    source, _, ctes = _source(draw, inner, names)
    by, order = (draw(st.sampled_from(sorted(inner.columns))) for _ in range(2))
    new = f"c{next(names)}"
    window = f"row_number() over (partition by {by} order by {order}) as {new}"
    reached = inner.columns[by] | inner.columns[order]
    columns = {**inner.columns, new: reached}
    return Made(f"select *, {window} from {source}", columns, inner.read | reached, ctes)


@st.composite
def whole(draw):
    query = draw(made(count()))
    with_ = f"with {', '.join(query.ctes)} " if query.ctes else ""
    return Made(with_ + query.sql, query.columns, query.read)


def _database():
    connection = duckdb.connect()
    for relation, columns in SCHEMAS.items():
        schema = relation.partition(".")[0]
        connection.execute(f"create schema if not exists {schema}")
        typed = ", ".join(f"{each} integer" for each in columns)
        connection.execute(f"create table {relation} ({typed})")
    return connection


_DATABASE = _database()


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(whole())
def test_lineage_is_the_one_that_the_query_was_built_from(query):
    try:
        names = [each[0] for each in _DATABASE.execute(query.sql).description]
    except duckdb.NotImplementedException:
        assume(False)  # a semi join inside a correlated subquery
    assert names == list(query.columns)
    found = reads_of("c.m", query.sql, SCHEMAS)
    assert all(each.is_known for each in found)
    into = {f"{each.relation}.{each.column}": set(each.into) for each in found if each.column}
    expected = {origin: set() for origin in query.read}
    for name, origins in query.columns.items():
        for origin in origins:
            expected.setdefault(origin, set()).add(name)
    assert into == expected
    steps = steps_of({"m": query.sql}, SCHEMAS)["m"].columns
    made = {
        name: {".".join(each) for each in (*step.inputs, *step.filters)}
        for name, step in steps.items()
    }
    assert made == query.columns
    assert all(step.sql and step.how != "unknown" for step in steps.values())
