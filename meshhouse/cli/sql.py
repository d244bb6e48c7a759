"""`mesh sql`: one query over published products."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from meshhouse.cli.output import results, table
from meshhouse.consumers import published
from meshhouse.engines import engine
from meshhouse.errors import UsageError
from meshhouse.lake.damage import damaged_in
from meshhouse.repository import Repository

if TYPE_CHECKING:
    import duckdb

_FORMATS = ("table", "csv", "json", "parquet")


@click.command()
@click.argument("query")
@click.option("--format", "form", type=click.Choice(_FORMATS), default="table", show_default=True)
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write to this file.")
def sql(query: str, form: str, output: Path | None) -> None:
    """Run QUERY over published products, such as "select * from sales.orders limit 5"."""
    import duckdb

    import meshhouse

    if form == "parquet" and output is None:
        raise UsageError("Parquet needs a file: add `--output FILE`.")
    if output is not None and form == "table":
        form = output.suffix.removeprefix(".").lower()
        if form not in _FORMATS:
            raise UsageError(
                f"`{output}` does not say which format; add --format csv|json|parquet."
            )
    repository = Repository.find()
    rows = engine(repository).query(query)
    if rows is not None:
        _show(duckdb.from_arrow(rows), form, output)
        return
    connection = meshhouse.connect()
    try:
        _check_reads(connection.extract_statements(query))
        _show(connection.sql(query), form, output)
    except (duckdb.ParserException, duckdb.CatalogException, duckdb.BinderException) as error:
        raise UsageError(f"{_plain(error)} `mesh status` lists the products.") from error
    except duckdb.Error as error:
        raise damaged_in(query, published(repository)) or UsageError(_plain(error)) from error


def _check_reads(statements: list[duckdb.Statement]) -> None:
    """Refuses what does more than read, such as COPY to a file, before any of it is done."""
    import duckdb

    kinds = duckdb.StatementType
    queries = [each for each in statements if each.type in (kinds.SELECT, kinds.EXPLAIN)]
    # PIVOT comes as the creation of a type, in memory, and a query.
    others = [
        each for each in statements if each.type not in (kinds.SELECT, kinds.EXPLAIN, kinds.CREATE)
    ]
    if others or not queries:
        raise UsageError("Published products are read only; give a query that returns rows.")
    if len(queries) > 1:
        raise UsageError(f"Give one query; these are {len(queries)}.")


def _show(relation: Any, form: str, output: Path | None) -> None:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    if form == "table":
        rows = relation.fetchall()
        results().print(table(relation.columns, rows))
        return
    reader = relation.to_arrow_reader(100_000)
    target = output.open("wb") if output else sys.stdout.buffer
    try:
        if form == "csv":
            with pa.csv.CSVWriter(target, reader.schema) as writer:
                for batch in reader:
                    writer.write_batch(batch)
        elif form == "parquet":
            with pa.parquet.ParquetWriter(target, reader.schema) as writer:
                for batch in reader:
                    writer.write_batch(batch)
        else:
            _write_json(reader, target)
    finally:
        if output:
            target.close()


def _write_json(reader: Any, target: Any) -> None:
    """A JSON array; decimals stay exact as strings, times are ISO 8601."""
    import json

    separator = b"["
    for batch in reader:
        for row in batch.to_pylist():
            target.write(separator + json.dumps(row, default=_jsonable).encode())
            separator = b",\n "
    target.write(b"]\n" if separator != b"[" else b"[]\n")


def _jsonable(value: object) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _plain(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") + "."
