"""Query results as tables for people, drawn by DuckDB.

Belongs here: the number of rows that are printed, and their width. Not here: formats for programs
(formats.py), or tables of other commands (output.py).
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
"""Rows printed without `--all`."""
ROWS_PER_BOX = 5_000
"""Rows drawn at once with `--all`; DuckDB stops counting at 10,000."""
_COUNTING_SECONDS = 2.0
_UNLIMITED = 1_000_000
_PLAN = ["explain_key", "explain_value"]


def show(
    drawing: duckdb.DuckDBPyConnection,
    schema: pa.Schema,
    batches: Iterator[pa.RecordBatch],
    everything: bool = False,
) -> None:
    """Prints the first rows and the number of further rows, or all rows in several boxes.

    Args:
        drawing: connection that draws the boxes, with `arrow_lossless_conversion` on.
        schema: schema of the rows.
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
    """The rest of a table, extended by batches until it has at least so many rows."""
    import pyarrow as pa

    taken = rest.to_batches()
    count = rest.num_rows
    while count < rows and (batch := next(batches, None)) is not None:
        taken.append(batch)
        count += batch.num_rows
    return pa.Table.from_batches(taken, schema)


def _more(known: int, batches: Iterator[pa.RecordBatch]) -> str:
    """The number of rows that are not printed; counting stops after `_COUNTING_SECONDS`."""
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
    # DuckDB escapes control characters, but not characters that reverse the direction of text.
    for line in drawn.getvalue().rstrip("\n").split("\n"):
        click.echo(escaped(line))
