"""The contents and the result of one commit of a raw table.

Belongs here: decoded batches that wait for their commit, and data files that were written before
it. Not here: committing them (target.py), or writing files (lake_table.py, engines/spark).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from meshhouse.events.source import EventBatch
from meshhouse.landing.decode import Decoded
from meshhouse.sql import literal

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.manifest import DataFile
    from pyiceberg.table.metadata import TableMetadata


RESCUED_SAMPLE = 1_000


@dataclass(frozen=True)
class Plan:
    """The time and the columns for data files that are written before their commit."""

    landed_at: datetime
    """The time of the future commit and of all its rows."""
    raw: TableMetadata
    rejected: TableMetadata


@dataclass(frozen=True)
class Written:
    """Data files that are not part of the table yet."""

    files: tuple[DataFile, ...] = ()
    rejected_files: tuple[DataFile, ...] = ()
    rows: int = 0
    rejected: int = 0
    unknown_fields: tuple[str, ...] = ()
    """Undeclared fields of events."""


class Pending:
    """Decoded batches, or files written by a plan, for the next commit."""

    def __init__(self, plan: Plan | None = None) -> None:
        """`plan` is the plan of the files in `written`."""
        self.plan = plan
        self.written: list[Written] = []
        self.rows: list[pa.Table] = []
        self.rejected: list[pa.Table] = []
        self.starts: dict[int, int] = {}
        """Partition -> its next offset in the table, unless another lander has changed it."""
        self.offsets: dict[int, int] = {}
        """Partition -> its next offset after the commit."""
        self.bytes = 0
        self.events = 0

    @property
    def counts(self) -> tuple[int, int]:
        """Numbers of rows and of rejected events."""
        return (
            sum(each.num_rows for each in self.rows) + sum(each.rows for each in self.written),
            sum(each.num_rows for each in self.rejected)
            + sum(each.rejected for each in self.written),
        )

    def add(self, start: int, batch: EventBatch, decoded: Decoded) -> None:
        """Adds a decoded batch whose partition continues at offset `start`."""
        if decoded.rows.num_rows:
            self.rows.append(decoded.rows)
        if decoded.rejected.num_rows:
            self.rejected.append(decoded.rejected)
        self.bytes += decoded.rows.nbytes + decoded.rejected.nbytes
        self.events += batch.events.num_rows
        self.starts.setdefault(batch.partition, start)
        self.offsets[batch.partition] = batch.next_offset

    def add_written(
        self, written: Written, starts: Mapping[int, int], ends: Mapping[int, int]
    ) -> None:
        """Adds files with the decoded events between the offsets `starts` and `ends`."""
        self.written.append(written)
        self.events += written.rows + written.rejected
        self.starts = {**starts, **self.starts}
        self.offsets.update(ends)


@dataclass(frozen=True)
class Committed:
    """The result of one commit."""

    rows: int
    rejected: int
    snapshot_id: int | None
    offsets: dict[int, int]
    """Next offset of each partition that the commit advanced."""
    new_fields: tuple[str, ...] = ()
    """Undeclared fields of events that were not seen before."""


def stamped(rows: pa.Table, landed_at: datetime) -> pa.Table:
    """Returns the rows with the time of their commit."""
    import pyarrow as pa

    index = rows.schema.get_field_index("_landed_at")
    kind = rows.schema.field(index).type
    stamp = pa.repeat(pa.scalar(landed_at, kind), rows.num_rows)
    return rows.set_column(index, rows.schema.field(index), stamp)


def unknown_fields(rows: pa.Table | None) -> list[str]:
    """Paths of the undeclared fields in `_rescued`, from its first thousand values."""
    if rows is None or rows["_rescued"].null_count == rows.num_rows:
        return []
    import duckdb
    import pyarrow as pa

    rescued = rows["_rescued"].drop_null().slice(0, RESCUED_SAMPLE)
    nested = {field.name for field in rows.schema if pa.types.is_nested(field.type)}
    # DuckDB's parser, because Python's fails on deep nesting and on long numbers.
    with closing(duckdb.connect()) as connection:
        connection.register("rescued", pa.table({"document": rescued}))

        def names(keys: str) -> list[str]:
            found = connection.execute(f"select distinct unnest({keys}) as name from rescued")
            return [name for (name,) in found.fetchall()]

        found = [name for name in names("json_keys(document)") if name not in nested]
        for name in nested:
            for path, label, declared in _structs(
                rows.schema.field(name).type, f'$."{name}"', name
            ):
                keys = f"json_keys(document, {literal(path)})"
                keys = f"flatten({keys})" if "*" in path else keys
                found += [f"{label}.{each}" for each in names(keys) if each not in declared]
    return sorted({name[:200] for name in found})


def _structs(kind: pa.DataType, path: str, label: str) -> Iterator[tuple[str, str, set[str]]]:
    """The path of each struct in a type as JSON and as text, with its declared fields."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        nested = [field for field in kind if pa.types.is_nested(field.type)]
        # What an undeclared field holds is undeclared as well, so only declared ones are entered.
        yield path, label, {field.name for field in nested}
        for field in nested:
            yield from _structs(field.type, f'{path}."{field.name}"', f"{label}.{field.name}")
    elif pa.types.is_map(kind):
        yield from _structs(kind.item_type, f"{path}.*", f"{label}[]")
    elif pa.types.is_list(kind):
        yield from _structs(kind.value_type, f"{path}[*]", f"{label}[]")
