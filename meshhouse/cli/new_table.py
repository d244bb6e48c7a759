"""`mesh new topic --database`: declare a topic from a table of a database.

Belongs here: the columns of the table, and what is uncertain about them. Not here: samples of
events (new_topic.py), or types (extraction/describe.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from meshhouse.errors import UsageError
from meshhouse.extraction.describe import described
from meshhouse.governance.classes import looks_personal
from meshhouse.governance.policies.meaning import personal_in_topics
from meshhouse.landing.infer import left_out_of
from meshhouse.repository import Column, Repository
from meshhouse.repository.extraction import table_of, table_problems
from meshhouse.repository.model import SourceTable

AS_STORED = "As the database stores it."
"""The description of each column, until its owner writes what it holds."""


@dataclass(frozen=True)
class Read:
    """The columns of a table, as a raw table declares them."""

    columns: tuple[Column, ...]
    doubts: tuple[str, ...]


def source_table(declared: dict[str, Any]) -> SourceTable:
    """The table that options name.

    Raises:
        UsageError: an option is missing or wrong; the message never repeats a connection.
    """
    for _, problem in table_problems(declared):
        raise UsageError(problem[0].upper() + problem[1:])
    return table_of(declared)


def read_table(repository: Repository, source: SourceTable, key: str | None) -> Read:
    """The columns of a table of a database.

    Raises:
        UsageError: the table or a column is missing.
        MeshError: the database refuses.
    """
    found = described(source)
    if key is not None and key not in {each.name for each in found}:
        known = ", ".join(each.name for each in found)
        raise UsageError(f"{source.name} has no column `{key}`, which is the key. It has: {known}.")
    left_out = left_out_of(each.name for each in found)
    if key in left_out:
        raise UsageError(f"`{key}` cannot be the key, because {left_out[key]}.")
    personal = personal_in_topics(repository)
    columns = []
    for each in found:
        if each.name in left_out:
            continue
        is_personal = bool(personal.search(each.name)) or looks_personal(
            each.name, {"type": each.data_type}
        )
        columns.append(
            Column(
                name=each.name,
                data_type=each.data_type,
                description=AS_STORED,
                required=each.required or each.name == key,
                classification="personal" if is_personal else None,
            )
        )
    if not columns:
        raise UsageError(f"{source.name} has no column that a raw table can have.")
    doubts = [f"{each.name}: {each.data_type}; {each.doubt}" for each in found if each.doubt]
    doubts += _other_doubts(columns, left_out)
    return Read(tuple(columns), tuple(doubts))


def _other_doubts(columns: list[Column], left_out: dict[str, str]) -> Iterator[str]:
    for column in columns:
        if column.classification:
            yield f"{column.name}: looks personal, so it is classified as such"
    for name, reason in left_out.items():
        yield f"{name}: not a column, because {reason}; it is not read"
    if required := [each.name for each in columns if each.required]:
        yield f"required: {', '.join(required)}; events without one are rejected"
