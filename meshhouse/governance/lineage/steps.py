"""Steps: how each column of a model is made of the columns of what the model reads.

Belongs here: one step of a model at a time, with its SQL and its kind. Not here: lineage through
all models of a domain at once (domain.py, roots.py), or joining the steps of several domains.

Both use the same walk over a query. Here a model that another one reads counts as a relation of
its own, so that the way from a topic to a product can be followed step by step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from sqlglot import exp

from meshhouse.governance.lineage.domain import Models, model_among
from meshhouse.governance.lineage.flow import ANY, NOTHING, STAR, UNKNOWN, Flow, Made, Origin
from meshhouse.governance.lineage.flow import Table as Offer
from meshhouse.governance.lineage.queries import CannotRead, by_name
from meshhouse.governance.lineage.reads import Schemas, base, is_named, offered
from meshhouse.governance.lineage.uses import Uses

SAME, COMPUTED, COUNTED, CONSTANT = "same value", "computed", "counted", "constant"
NOT_KNOWN = "unknown"
_WRAPPED = (exp.Alias, exp.Paren, exp.Cast, exp.TryCast, exp.Filter, exp.Window)
_COUNTS = (exp.Count, exp.CountIf, exp.ApproxDistinct)
_LITERALS = (
    exp.Literal, exp.National, exp.RawString, exp.UnicodeString, exp.HexString, exp.BitString,
    exp.ByteString, exp.Heredoc,
)  # fmt: skip
_LINE = 90
_MOST_TEXT = 4_000
"""Characters of the SQL of one step: a step is for people to read."""


@dataclass(frozen=True)
class ColumnStep:
    """How a model makes one column.

    The relation of an input is a `schema.table`, or the name of a model of the domain. Its column
    is empty where only the number of rows counts.
    """

    how: str
    """`same value`, `computed`, `counted`, `constant` or `unknown`."""
    sql: str
    """The expression, and those of the CTEs that it names."""
    inputs: tuple[Origin, ...] = ()
    """What its value is made of."""
    filters: tuple[Origin, ...] = ()
    """What only decides which values count, such as the condition of a `case` or a window."""


@dataclass(frozen=True)
class ModelSteps:
    """How a model makes its columns."""

    columns: Mapping[str, ColumnStep]
    relations: tuple[str, ...]
    """What decides its rows: models, raw tables, products of other domains."""
    is_complete: bool = True
    """False if it has columns whose names are not known."""


def steps_of(models: Models, schemas: Schemas, dialect: str = "duckdb") -> Mapping[str, ModelSteps]:
    """The steps of each model.

    Args:
        models: as for `roots_of`.
        schemas: `schema.table` -> its columns, of what is not a model.
        dialect: of sqlglot.

    Returns:
        Model, as the mapping names it in lower case -> its steps.
    """
    texts = {
        name.lower(): (sql,) if isinstance(sql, str) else tuple(sql) for name, sql in models.items()
    }
    columns = {name.lower(): [each.lower() for each in found] for name, found in schemas.items()}
    walk = _Walk(texts, columns, dialect)
    return {name: _model_steps(walk.table(name), name, dialect) for name in texts}


@dataclass
class _Walk:
    """Reads each model once, with the models that it reads as relations."""

    models: Mapping[str, tuple[str, ...]]
    schemas: Schemas
    dialect: str
    made: dict[str, Offer] = field(default_factory=dict)

    def table(self, model: str) -> Offer:
        """What a model offers, of all its renderings together."""
        if model not in self.made:
            self.made[model] = Offer(rest=NOTHING)  # for a model that reads itself
            found: Offer | None = None
            for sql in self.models[model]:
                table = self._read(sql)
                found = self.made[model] = table if found is None else by_name(found, table)
        return self.made[model]

    def _read(self, sql: str) -> Offer:
        try:
            return offered(sql, Uses(parts=[]), self._relation, self.dialect)
        except CannotRead:
            named = [each for each in (*self.schemas, *self.models) if is_named(each, sql)]
            lost = {Origin(each, UNKNOWN): STAR for each in named} or {Origin("", UNKNOWN): STAR}
            return Offer(rest=Flow(lost), relations=frozenset(named))

    def _relation(self, relation: str) -> Offer:
        model = model_among(self.models, relation)
        if model is None:
            return _with_names(base(relation, self.schemas.get(relation, ())))
        offer = self.table(model)
        names = list(dict.fromkeys(each.name for each in offer.columns))
        table = base(model, names)
        if offer.rest is not None and names:
            table = replace(table, rest=Flow({Origin(model, ANY): STAR}, is_direct=True))
        return _with_names(table)


def _with_names(table: Offer) -> Offer:
    """The relation, its columns made by their names."""
    columns = [
        replace(each, flow=replace(each.flow, made=(Made(exp.column(each.name)),)))
        for each in table.columns
    ]
    return replace(table, columns=tuple(columns))


def _model_steps(table: Offer, model: str, dialect: str) -> ModelSteps:
    flows: dict[str, list[Flow]] = {}
    for each in table.columns:
        flows.setdefault(each.name, []).append(each.flow)
    columns = {name: _step(found, model, dialect) for name, found in flows.items()}
    rows = tuple(sorted(table.relations - {model}))
    return ModelSteps(columns, rows, table.rest is None)


def _step(flows: list[Flow], model: str, dialect: str) -> ColumnStep:
    origins: dict[Origin, frozenset[str]] = {}
    for flow in flows:
        for origin, how in flow.origins.items():
            if origin.relation != model:  # rows of earlier builds of an incremental model
                origins[origin] = origins.get(origin, frozenset()) | how
    inputs = tuple(sorted(each for each, how in origins.items() if "select" in how))
    filters = tuple(sorted({*origins} - {*inputs}))
    made = list(dict.fromkeys(one for flow in flows for one in flow.made))
    return ColumnStep(_how(flows, made, origins), _text(made, dialect), inputs, filters)


def _how(flows: list[Flow], made: list[Made], origins: Iterable[Origin]) -> str:
    if any(each.column in {UNKNOWN, ANY} for each in origins):
        return NOT_KNOWN
    if not origins:
        return CONSTANT
    if all(each.is_direct for each in flows):
        return SAME
    kinds = {_kind(each) for each in made}
    return kinds.pop() if len(kinds) == 1 else COMPUTED


def _kind(made: Made) -> str:
    expression = made.expression
    while isinstance(expression, _WRAPPED):
        expression = expression.this
    if isinstance(expression, exp.Column):
        kinds = {_kind(each) for each in made.parts} or {SAME}
        return kinds.pop() if len(kinds) == 1 else COMPUTED
    if isinstance(expression, _COUNTS):
        return COUNTED
    return COMPUTED


def _text(made: list[Made], dialect: str) -> str:
    """The expressions for people: the last one first, then those of the CTEs that it names."""
    lines: list[str] = []
    said: set[tuple[str, str]] = set()
    place = ""
    for expression, is_outer in _expressions(made):
        cte = expression.find_ancestor(exp.CTE)
        named = cte.alias if cte is not None else ""
        shown = _spelled(expression.unalias() if is_outer else expression, dialect)
        if (named, shown) in said:
            continue  # later builds of an incremental model say the same
        said.add((named, shown))
        if named != place:
            lines.append(f"-- in {named}" if named else "-- in the query itself")
            place = named
        lines.append(shown)
    text = "\n".join(lines)
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]} ... (shortened)"


def _spelled(expression: exp.Expression, dialect: str) -> str:
    """In one line, or in several if it is long; without texts and numbers.

    They can be values of a protected column anywhere on the way, such as `name = 'Ann'`.
    """
    expression = _without_literals(expression)
    line = expression.sql(dialect, comments=False)
    return line if len(line) <= _LINE else expression.sql(dialect, comments=False, pretty=True)


def _without_literals(expression: exp.Expression) -> exp.Expression:
    if expression.find(*_LITERALS) is None:
        return expression

    def masked(node: exp.Expression) -> exp.Expression:
        if not isinstance(node, _LITERALS) or isinstance(node.parent, exp.DataTypeParam):
            return node
        is_number = isinstance(node, exp.Literal) and not node.is_string
        if is_number and node.this in {"0", "1"}:  # of `coalesce` and flags, and nobody's value
            return node
        return exp.Placeholder() if is_number else exp.Literal.string("...")

    return expression.transform(masked)


def _expressions(made: list[Made]) -> Iterator[tuple[exp.Expression, bool]]:
    """Each expression once, and whether it is the column's own.

    Plain names of columns are left out where there is more to say.
    """
    waiting = [(each, True) for each in made]
    seen: set[int] = set()
    for each, is_outer in waiting:  # grows
        if id(each.expression) in seen:
            continue
        seen.add(id(each.expression))
        if is_outer or not isinstance(each.expression.unalias(), exp.Column):
            yield each.expression, is_outer
        waiting += [(part, False) for part in each.parts]
