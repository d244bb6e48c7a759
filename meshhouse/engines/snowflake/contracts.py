"""Types and values of Snowflake's tables, compared with a contract.

Belongs here: declared names for Snowflake's types, and the search for values that fit Snowflake's
wider type but not the contract's. Not here: the comparison of types (engines/types.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from meshhouse.engines.snowflake.database import column_type
from meshhouse.engines.snowflake.session import Session, quote
from meshhouse.errors import MeshError
from meshhouse.repository import Product
from meshhouse.repository.types import DataType

_WORDS = {
    "TEXT": "string",
    "VARCHAR": "string",
    "FLOAT": "double",
    "DOUBLE": "double",
    "BOOLEAN": "boolean",
    "DATE": "date",
    "TIMESTAMP_NTZ": "timestamp",
    "TIMESTAMP_TZ": "timestamptz",
}
_RANGES = {
    "integer": (-(2**31), 2**31 - 1),
    "bigint": (-(2**63), 2**63 - 1),
}
"""Smallest and largest value. Snowflake itself would accept 38 digits."""


def declared_words(
    promised: Mapping[str, DataType],
    columns: Mapping[str, tuple[str, int | None, int | None]],
) -> dict[str, str]:
    """Returns column -> declared name of its type, or Snowflake's own name if none matches.

    Args:
        promised: column -> type of the contract. It tells integers from decimals without digits
            after the point, which are the same type in Snowflake.
        columns: as `Database.columns` returns them.
    """
    declared = {name.lower(): data_type for name, data_type in promised.items()}
    return {
        name: _word(kind, precision, scale, declared.get(name))
        for name, (kind, precision, scale) in columns.items()
    }


def _word(kind: str, precision: int | None, scale: int | None, declared: DataType | None) -> str:
    if declared is not None and declared.is_nested:
        # Fakesnow calls every type of JSON a variant.
        return str(declared) if kind.lower() in (column_type(declared), "variant") else kind.lower()
    if kind != "NUMBER":
        return _WORDS.get(kind, kind.lower())
    if not scale and declared is not None and declared.kind in _RANGES:
        return declared.kind
    return f"decimal({precision},{scale})"


def require_values_within(
    product: Product, promised: Mapping[str, DataType], session: Session, relation: str
) -> None:
    """Refuses values that the contract's type could not hold on other targets.

    Args:
        product: the product that was built.
        promised: column -> type of its contract.
        session: session that reads the table.
        relation: the table's quoted name.

    Raises:
        MeshError: a value is outside the range or the precision of its type.
    """
    limits = list(_limits(promised))
    if not limits:
        return
    counts = ", ".join(f"count_if({condition})" for _, _, condition in limits)
    (found,) = session.rows(f"select {counts} from {relation}")
    problems = [
        f"{count} values of `{name}` are {what}"
        for count, (name, what, _) in zip(found, limits, strict=True)
        if count
    ]
    if problems:
        raise MeshError(
            f"{product.relation} does not fit its contract: {', '.join(problems)}. Cast them in "
            f"{product.sql_path.name}, or change the contract."
        )


def _limits(promised: Mapping[str, DataType]) -> Iterator[tuple[str, str, str]]:
    """Yields column, description of a bad value, and the SQL condition that finds such values."""
    for name, data_type in promised.items():
        kind, column = data_type.kind, quote(name.upper())
        if kind in _RANGES:
            least, most = _RANGES[kind]
            yield name, f"outside of {kind}", f"{column} < {least} or {column} > {most}"
        elif kind in ("timestamp", "timestamptz"):
            # Iceberg, DuckDB and Spark store at most microseconds.
            micros = "timestamp_ntz(6)" if kind == "timestamp" else "timestamp_tz(6)"
            yield name, "finer than microseconds", f"{column} <> cast({column} as {micros})"
