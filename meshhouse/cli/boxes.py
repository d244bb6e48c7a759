"""Query results as tables for people, as DuckDB draws them.

Belongs here: how many rows are shown, and how wide. Not here: formats that programs read
(formats.py), tables of other commands (output.py).
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from meshhouse.cli.output import console, counted, escaped, width

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

ROWS = 50
"""Rows shown unless all are asked for."""
ROWS_PER_BOX = 5_000
"""Rows drawn at once where all are asked for; DuckDB stops counting at 10,000."""
_COUNTING_SECONDS = 2.0
_UNLIMITED = 1_000_000
_PLAN = ["explain_key", "explain_value"]


def show(
    drawing: duckdb.DuckDBPyConnection,
    schema: pa.Schema,
    batches: Iterator[pa.RecordBatch],
    everything: bool = False,
) -> None:
    """Prints the first rows and how many more there are, or all rows in boxes.

    Args:
        drawing: draws; its setting `arrow_lossless_conversion` must be on.
        schema: of the rows.
        batches: the rows.
        everything: whether to print all rows.
    """
    size = ROWS_PER_BOX if everything else ROWS
    table = _taken(schema, batches, size)
    _print(drawing, table.slice(0, size))
    if everything:
        while (table := _joined(schema, table.slice(size), batches, size)).num_rows:
            _print(drawing, table.slice(0, size))
        return
    more = _more(max(table.num_rows - size, 0), batches)
    if more:
        console().print(f"{more}; --all shows them", markup=False)


def _taken(schema: pa.Schema, batches: Iterator[pa.RecordBatch], rows: int) -> pa.Table:
    return _joined(schema, schema.empty_table(), batches, rows)


def _joined(
    schema: pa.Schema, rest: pa.Table, batches: Iterator[pa.RecordBatch], rows: int
) -> pa.Table:
    """What is left of a table, and as many batches as it takes to have so many rows."""
    import pyarrow as pa

    taken = rest.to_batches()
    count = rest.num_rows
    while count < rows and (batch := next(batches, None)) is not None:
        taken.append(batch)
        count += batch.num_rows
    return pa.Table.from_batches(taken, schema)


def _more(known: int, batches: Iterator[pa.RecordBatch]) -> str:
    """How many rows are not shown; counting stops after some seconds."""
    count = known
    end = time.monotonic() + _COUNTING_SECONDS
    for batch in batches:
        count += batch.num_rows
        if time.monotonic() > end:
            return f"more than {counted(count, 'more row')}"
    return counted(count, "more row") if count else ""


def _print(drawing: duckdb.DuckDBPyConnection, table: pa.Table) -> None:
    limit = width()
    drawn = io.StringIO()
    with contextlib.redirect_stdout(drawn):
        if table.column_names == _PLAN:
            print(*table["explain_value"].to_pylist(), sep="\n")
        else:
            drawing.from_arrow(table).show(
                max_width=limit or _UNLIMITED,
                max_rows=table.num_rows + 1,
                **({} if limit else {"max_col_width": _UNLIMITED}),
            )
    # DuckDB escapes control characters, but not those that change the direction of text.
    for line in drawn.getvalue().rstrip("\n").split("\n"):
        click.echo(escaped(line))
