"""Reads the declared columns of raw tables and products.

Belongs here: names, types and constraints of columns. Not here: raw tables and products
(topics.py, products.py), or the types of Iceberg (lake/schema.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from meshhouse.repository import keys, names
from meshhouse.repository.model import ENCODINGS, Column
from meshhouse.repository.problems import Problems
from meshhouse.repository.shapes import mappings, meta_of
from meshhouse.repository.types import parse_type, spelled
from meshhouse.repository.yaml import Located

_CONSTRAINTS = ("not_null", "unique", "primary_key", "foreign_key", "check", "custom")
LANDING_COLUMNS = {
    "_rescued", "_topic_partition", "_offset", "_timestamp", "_key", "_tombstone", "_landed_at",
}  # fmt: skip
"""Columns that landing adds to each raw table."""


def read_columns(
    problems: Problems,
    path: Path,
    entries: Iterable[Located],
    relation: str,
    is_raw: bool = False,
) -> tuple[Column, ...]:
    """The columns of a relation.

    Args:
        problems: the problems of the columns are added.
        path: the file that declares them.
        entries: one for each column.
        relation: the relation, for messages.
        is_raw: whether it is a raw table, to which landing adds columns.
    """
    columns = []
    first: dict[str, Column] = {}
    for column in entries:
        read = _column(column)
        columns.append(read)
        if problem := _bad_column(read, is_raw):
            problems.add(path, read.line, f"column `{read.name}` of {relation}: {problem}")
        for constraint in mappings(column.get("constraints")):
            kind = constraint.get("type")
            if kind not in _CONSTRAINTS:
                problem = f"`{kind}` is not a constraint. Use {', '.join(_CONSTRAINTS)}."
                problems.add(path, constraint.line_of("type"), problem)
        twin = first.setdefault(read.name.lower(), read)
        if twin is not read:
            how = "twice" if twin.name == read.name else "twice, in other case"
            problem = (
                f"column `{read.name}` of {relation} is here {how} (first in line "
                f"{twin.line}); remove or rename one."
            )
            problems.add(path, read.line, problem)
    return tuple(columns)


def _bad_column(column: Column, is_raw: bool) -> str | None:
    if problem := names.bad_column(column.name):
        return problem
    if is_raw and column.name.lower() in LANDING_COLUMNS:
        return "landing adds a column of this name; rename yours."
    if not column.data_type:
        return "no data_type is given."
    if column.encoding is not None and (column.encoding not in ENCODINGS or not is_raw):
        return (
            f"`encoding` is `{column.encoding}`; on a column of a topic it may be "
            f"{', '.join(ENCODINGS)}."
        )
    try:
        kind = parse_type(column.data_type)
        better = spelled(column.data_type)
    except ValueError as error:
        return str(error)
    if column.encoding is not None:
        encoded = ENCODINGS[column.encoding]
        if not encoded & kind.leaves:
            return (
                f"`encoding: {column.encoding}` has no effect on the type `{column.data_type}`, "
                f"which holds no {' or '.join(sorted(encoded))}; remove it."
            )
    if better is not None:
        return (
            f"write the type `{column.data_type}` as `{better}`, which dbt's macros translate for "
            "every target."
        )
    if not is_raw and kind != kind.as_held():
        return (
            f"no table keeps a `not null` inside of a type such as `{column.data_type}`; remove "
            "it, and add a check instead."
        )
    return None


def _column(column: Located) -> Column:
    meta = meta_of(column)
    constraints = mappings(column.get("constraints"))
    not_null = [each.line for each in constraints if each.get("type") == "not_null"]
    return Column(
        name=str(column.get("name")),
        data_type=text(column.get("data_type")) or "",
        description=prose(column),
        required=keys.REQUIRED.of(meta) is True or bool(not_null),
        required_line=next(iter(not_null), None),
        line=column.line,
        classification=text(keys.CLASSIFICATION.of(meta)),
        unit=text(keys.UNIT.of(meta)),
        encoding=text(keys.ENCODING.of(meta)),
    )


def is_number(value: Any) -> bool:
    """Whether a YAML value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def prose(entry: Located) -> str:
    """The description of an entry."""
    return (text(entry.get("description")) or "").strip()


def text(value: Any) -> str | None:
    """A scalar as text."""
    return None if value is None else str(value)
