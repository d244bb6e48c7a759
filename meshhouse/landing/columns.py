"""The declared columns of a raw table, compared with those that it has.

Belongs here: which declaration would lose values, said the same way for every store. Not here:
which change of a type keeps every value (lake/evolution.py), or reading a table's columns
(lake_table.py, engines/snowflake/).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshhouse.errors import UsageError
from meshhouse.lake.evolution import lost
from meshhouse.lake.schema import declared_type, iceberg_type
from meshhouse.repository import RawTable, display_path
from meshhouse.repository.types import parse_type

if TYPE_CHECKING:
    from pyiceberg.types import IcebergType


def check_column(raw: RawTable, name: str, stored: IcebergType) -> None:
    """Refuses a declaration that would lose values of a column.

    Args:
        raw: the declaration.
        name: a column of the table.
        stored: the column's type.

    Raises:
        UsageError: values, at any level, have no place in the declared type.
    """
    place = f"{display_path(raw.path)}:{raw.line}"
    declared = {column.name: column.data_type for column in raw.columns}
    if name not in declared:
        raise UsageError(
            f"{place}: column `{name}` of {raw.relation} is no longer declared, but the table "
            "holds its values. Declare it again; a model need not use it."
        )
    problem = lost(stored, iceberg_type(parse_type(declared[name])), name)
    if problem is None:
        return
    path, old, new = problem
    if new is None:
        raise UsageError(
            f"{place}: the field `{path}` of {raw.relation} is no longer declared, but the table "
            "holds its values. Declare it again; a model need not use it."
        )
    raise UsageError(
        f"{place}: {'column' if path == name else 'the field'} `{path}` of {raw.relation} holds "
        f"{declared_type(old) or old}; its type cannot become {declared_type(new) or new} without "
        "losing some of them. Declare the old type (or a wider one) and cast in staging."
    )
