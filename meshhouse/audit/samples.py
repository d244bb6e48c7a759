"""Sample rows that made a check fail.

Belongs here: SQL for the kinds of checks that look at rows, and masking personal data. Not
here: the verdict (verify.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from meshhouse.engines.protocol import Reader
from meshhouse.repository import Product
from meshhouse.repository.classes import is_personal
from meshhouse.sql import literal

SAMPLES = 5
MASK = "***"
_TIMES = "times"


@dataclass(frozen=True)
class Readable:
    """The relations that a check's query may read beside the candidate."""

    products: Collection[Product] = ()
    """The products of all domains, in every version."""
    unknown: Collection[str] = ()
    """Relations without declared columns, such as those of a broken domain."""


def sample_rows(
    product: Product,
    check: Any,
    contract: Mapping[str, Any],
    reader: Reader,
    readable: Readable,
) -> tuple[Mapping[str, Any], ...]:
    """Up to `SAMPLES` rows that made a check fail; empty if the check is not about rows.

    Args:
        product: the product whose candidate is checked.
        check: Soda's check.
        contract: the contract that defines the check.
        reader: reads the same tables as the check.
        readable: other relations that the check may have read.
    """
    definition = _definition(check, contract)
    sql = _sql(product, check, definition, reader.quote)
    if sql is None:
        return ()
    found = reader.rows(f"select * from ({sql}) as found limit {SAMPLES}")
    clear = _clear(product, sql, readable)
    return tuple(_masked(row, clear) for row in found)


def _clear(product: Product, sql: str, readable: Readable) -> Collection[str] | None:
    """The columns whose values may be shown; None means all.

    If a query reads personal data, any column that is not declared (such as an alias) may be
    derived from it and is masked; counts of duplicates are not. A product counts as read if the
    text contains its domain's and its model's name anywhere. A false match only masks too much.
    """
    if any(_mentions(sql, *relation.split(".", 1)) for relation in readable.unknown):
        return {_TIMES}
    read = [product, *(each for each in readable.products if _reads(product, sql, each))]
    personal = {
        column.name.lower()
        for each in read
        for column in each.columns
        if is_personal({"classification": column.classification})
    }
    if not personal:
        return None
    return {each.name.lower() for each in product.columns} - personal | {_TIMES}


def _reads(product: Product, sql: str, other: Product) -> bool:
    """Whether a check of a product may read another one; versions of its model always count."""
    same = (product.domain, product.model) == (other.domain, other.model)
    return same or _mentions(sql, other.domain, other.model)


def _mentions(sql: str, domain: str, name: str) -> bool:
    text = sql.lower()
    return domain.lower() in text and name.lower() in text


def _masked(row: Mapping[str, Any], clear: Collection[str] | None) -> Mapping[str, Any]:
    """A row with the values of other columns masked; nulls stay visible."""
    return {
        name: value if clear is None or value is None or name.lower() in clear else MASK
        for name, value in row.items()
    }


def _definition(check: Any, contract: Mapping[str, Any]) -> Mapping[str, Any]:
    """The definition of a check in the contract, found by kind, column and qualifier."""
    checks = contract.get("checks") or []
    if check.column_name:
        column = next(each for each in contract["columns"] if each["name"] == check.column_name)
        checks = column.get("checks") or []
    for each in checks:
        body = each.get(check.type, ...)
        if body is ...:
            continue
        body = body or {}
        if str(body.get("qualifier") or "") == str(check.qualifier or ""):
            return body
    return {}


def _sql(
    product: Product, check: Any, definition: Mapping[str, Any], quote: Callable[[str], str]
) -> str | None:
    relation = f"{quote(product.domain)}.{quote(product.name)}"
    where = f" where {definition['filter']}" if definition.get("filter") else ""
    if check.type == "failed_rows":
        if definition.get("query"):
            return str(definition["query"]).rstrip().rstrip(";")
        return f"select * from {relation} where {definition.get('expression', 'false')}"
    if check.type == "duplicate":
        columns = definition.get("columns") or [check.column_name]
        names = ", ".join(quote(str(column)) for column in columns)
        return (
            f"select {names}, count(*) as {_TIMES} from {relation}{where} "
            f"group by {names} having count(*) > 1 order by {_TIMES} desc"
        )
    if check.column_name is None:
        return None
    column = quote(check.column_name)
    if check.type == "missing":
        return f"select * from {relation} where {column} is null"
    if check.type == "invalid":
        conditions = _invalid(column, definition)
        return f"select * from {relation} where {conditions}" if conditions else None
    return None


def _invalid(column: str, definition: Mapping[str, Any]) -> str:
    conditions = []
    if "valid_min" in definition:
        conditions.append(f"{column} < {float(definition['valid_min'])}")
    if "valid_max" in definition:
        conditions.append(f"{column} > {float(definition['valid_max'])}")
    if "valid_values" in definition:
        values = ", ".join(literal(str(value)) for value in definition["valid_values"])
        conditions.append(f"cast({column} as string) not in ({values})")
    return " or ".join(conditions)
