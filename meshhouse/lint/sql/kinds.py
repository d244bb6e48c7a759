"""The kind of value of an expression: an integer, a decimal, a double, a date and so on.

Belongs here: types of columns across the models of a domain, and of the expressions in one
statement. Not here: the rules that use these types (differences.py).

sqlglot infers the types. It treats a number such as `1.5` as a double, but every target treats
it as a decimal. So such numbers are cast to decimals first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify

Columns = Mapping[str, str]
"""Name in lower case -> type."""

_KINDS: dict[str, frozenset[exp.DataType.Type]] = {
    "integer": frozenset(exp.DataType.INTEGER_TYPES),
    "decimal": frozenset({exp.DType.DECIMAL, exp.DType.BIGDECIMAL}),
    "double": frozenset(exp.DataType.FLOAT_TYPES),
    "text": frozenset(exp.DataType.TEXT_TYPES),
    "boolean": frozenset({exp.DType.BOOLEAN}),
    "date": frozenset({exp.DType.DATE}),
    "timestamp": frozenset(exp.DataType.TEMPORAL_TYPES) - {exp.DType.DATE},
    "interval": frozenset({exp.DType.INTERVAL}),
}
_SAME = (
    exp.Abs, exp.Alias, exp.AnyValue, exp.Coalesce, exp.Filter, exp.FirstValue, exp.Greatest,
    exp.Lag, exp.LastValue, exp.Lead, exp.Least, exp.Max, exp.Min, exp.Neg, exp.Nullif, exp.Paren,
    exp.Round, exp.Sum, exp.Window,
)  # fmt: skip
"""Expressions whose value has the kind of their arguments."""


def annotated(tree: exp.Expression, known: Mapping[str, Columns], dialect: str) -> exp.Expression:
    """A copy of a statement in which expressions have types, as far as they can be inferred.

    Args:
        tree: the statement.
        known: `schema.table` in lower case -> its columns.
        dialect: sqlglot's name for the SQL.
    """
    copy = tree.copy()
    schema: dict[str, Columns] = {}
    for table in copy.find_all(exp.Table):
        relation = f"{table.db}.{table.name}".strip(".").lower()
        if known.get(relation):
            flat = relation.replace(".", "__")
            flat = flat.upper() if dialect == "snowflake" else flat
            if not table.alias:
                table.set("alias", exp.TableAlias(this=table.this.copy()))
            table.set("this", exp.to_identifier(flat))
            table.set("db", None)
            table.set("catalog", None)
            schema[flat] = known[relation]
    for number in list(copy.find_all(exp.Literal)):
        if not number.is_string and "." in number.name and "e" not in number.name.lower():
            scale = len(number.name.partition(".")[2])
            cast = exp.cast(number.copy(), f"decimal(38, {min(scale, 37)})")
            number.replace(cast)
    try:
        qualified = qualify(
            copy,
            schema=schema,  # type: ignore[arg-type] # a mapping is what is read
            dialect=dialect,
            validate_qualify_columns=False,
            quote_identifiers=False,
            identify=False,
        )
        return annotate_types(qualified, schema=schema, dialect=dialect)  # type: ignore[arg-type]
    except (SqlglotError, AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return tree  # sqlglot cannot infer its types, so they stay unknown


def made_columns(tree: exp.Expression) -> dict[str, str]:
    """Name -> type of the columns of a query; leaves out columns of unknown type."""
    if not isinstance(tree, exp.Query):
        return {}
    found = {}
    for each in tree.selects:
        kind = kind_of(each.unalias())
        data_type = each.unalias().type
        if each.alias_or_name and kind:
            text = data_type.sql() if data_type and kind_of_type(data_type) == kind else kind
            words = {"integer": "bigint", "decimal": "decimal(38, 10)"}
            found[each.alias_or_name.lower()] = words.get(text, text)
    return found


def kind_of_type(data_type: Any) -> str:
    """The kind of a type of sqlglot; empty if no rule distinguishes it."""
    return next((kind for kind, types in _KINDS.items() if data_type.this in types), "")


def kind_of(node: exp.Expression | None) -> str:
    """The kind of an expression; empty if it is not known."""
    if node is None:
        return ""
    if isinstance(node, exp.Cast | exp.TryCast):
        return kind_of_type(node.to)
    if isinstance(node, exp.Literal):
        return _of_literal(node)
    if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Query):
        selects = node.this.selects
        return kind_of(selects[0].unalias()) if len(selects) == 1 else ""
    if isinstance(node, exp.Case):
        values = [each.args["true"] for each in node.args["ifs"]]
        return _common([*values, node.args.get("default")])
    if isinstance(node, exp.Add | exp.Sub | exp.Mul | exp.Mod):
        return _of_arithmetic(node)
    if isinstance(node, exp.Div):
        kinds = {kind_of(node.this), kind_of(node.expression)}
        return "double" if "double" in kinds else "decimal"
    if isinstance(node, exp.Coalesce | exp.Greatest | exp.Least):
        return _common([node.this, *node.expressions])
    if isinstance(node, _SAME):
        return kind_of(node.this)
    return kind_of_type(node.type) if node.type else ""


def _of_literal(node: exp.Literal) -> str:
    if node.is_string:
        return "text"
    if "e" in node.name.lower():
        return "double"
    return "decimal" if "." in node.name else "integer"


def _of_arithmetic(node: exp.Expression) -> str:
    kinds = {kind_of(node.this), kind_of(node.expression)}
    if kinds & {"date", "timestamp", "interval"}:
        return kind_of_type(node.type) if node.type else ""
    return _widest(kinds)


def _common(nodes: list[exp.Expression | None]) -> str:
    kinds = {kind_of(each) for each in nodes if each is not None and not _is_null(each)}
    return _widest(kinds) if kinds - {"integer", "decimal", "double", ""} == set() else (
        kinds.pop() if len(kinds) == 1 else "")  # fmt: skip


def _widest(kinds: set[str]) -> str:
    if "double" in kinds:
        return "double"
    if "" in kinds or not kinds <= {"integer", "decimal"}:
        return ""
    return "decimal" if "decimal" in kinds else "integer"


def _is_null(node: exp.Expression) -> bool:
    return isinstance(node, exp.Null)
