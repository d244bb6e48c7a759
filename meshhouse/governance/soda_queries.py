"""The queries that Soda runs for the checks of a product, as far as they read columns.

Belongs here: the SQL in a Soda contract, and what its keys amount to as SQL. Not here: what the
queries read (reading.py), or running checks (audit/).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from meshhouse.governance.reading import Query
from meshhouse.governance.sql_text import canonical
from meshhouse.repository import Product

_QUERIES = ("query", "rows_tested_query", "keys_query")


def soda_queries(product: Product, contract: Mapping[str, Any], dialect: str) -> Iterator[Query]:
    """The queries of a product's Soda contract, in canonical form.

    Checks that look at one column of the product and compare it with nothing are left out.

    Args:
        product: whose checks they are.
        contract: see audit/contract.py.
        dialect: sqlglot's name of the dialect of the SQL in the checks.
    """
    reader = f"{product.domain}.{product.model}"
    whole = str(contract.get("filter") or "")
    for column, entry in [
        ("", contract),
        *((str(each["name"]), each) for each in contract.get("columns") or ()),
    ]:
        for check in entry.get("checks") or ():
            for kind, body in check.items():
                # A reference set may be given for all checks of a column.
                inherited = {key: entry[key] for key in _OF_COLUMNS if column and entry.get(key)}
                given = {**inherited, **(body or {})}
                if given.get("enabled") is False:
                    continue
                name = "__".join(filter(None, (column, kind, str(given.get("qualifier") or ""))))
                for sql in _sql(product.relation, column, kind, given, whole):
                    yield Query(reader, canonical(sql, dialect, {}), name)


_OF_COLUMNS = ("valid_values", "invalid_values", "valid_reference_data")


def _sql(
    relation: str, column: str, kind: str, body: Mapping[str, Any], whole: str
) -> Iterator[str]:
    for key in _QUERIES:
        if body.get(key):
            yield str(body[key])
    wheres = [f"({each})" for each in (whole, body.get("filter")) if each]
    values: list[str] = []
    if body.get("expression"):
        expression = str(body["expression"])
        if kind == "failed_rows":
            wheres.append(f"({expression})")
        else:
            values.append(expression)
    if column and kind == "invalid":
        wheres += _conditions(column, body)
    if values or wheres:
        where = f" where {' and '.join(wheres)}" if wheres else ""
        yield f"select {', '.join(values) or '1'} from {relation}{where}"


def _conditions(column: str, body: Mapping[str, Any]) -> Iterator[str]:
    for key, test in (("valid_values", "not in"), ("invalid_values", "in")):
        listed = ", ".join(_literal(each) for each in body.get(key) or () if each is not None)
        if listed:
            yield f"{column} {test} ({listed})"
    reference = body.get("valid_reference_data")
    if isinstance(reference, Mapping) and reference.get("dataset") and reference.get("column"):
        other = ".".join(str(reference["dataset"]).replace("/", ".").split(".")[-2:])
        yield f"{column} not in (select {reference['column']} from {other})"


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return "'" + str(value).replace("'", "''") + "'"
