"""`mesh sql`: queries over published products and the ledger.

Belongs here: the source of a query, running it, and the destination of its rows. Not here: which
statements are allowed (serve/statements.py), the form of rows (boxes.py, formats.py), the shell
(shell.py).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from meshhouse.cli import boxes
from meshhouse.cli.files import replacing
from meshhouse.cli.formats import batches, write
from meshhouse.cli.interrupts import arrived
from meshhouse.cli.output import console, escaped
from meshhouse.cli.shell import run_shell
from meshhouse.engines import engine
from meshhouse.errors import UsageError
from meshhouse.lake.damage import damaged_in
from meshhouse.repository import Repository
from meshhouse.serve.connection import fail_again, published
from meshhouse.serve.relation import unwrapped
from meshhouse.usage.record import recorder_of

if TYPE_CHECKING:
    import duckdb

LOSSLESS = "arrow_lossless_conversion = true"
"""DuckDB setting that preserves DuckDB's types in rows that pass through Arrow."""
_TRIES = 10
_FORMATS = ("table", "csv", "json", "parquet")


@dataclass(frozen=True)
class Output:
    """Format and destination of rows."""

    form: str = "table"
    file: Path | None = None
    everything: bool = False


@click.command()
@click.argument("query", required=False)
@click.option(
    "--file",
    "-f",
    "source",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Read the query from this file.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(_FORMATS),
    default="table",
    show_default=True,
    help="Form of the result.",
)
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write to this file.")
@click.option("--all", "everything", is_flag=True, help=f"Show all rows, not only {boxes.ROWS}.")
@click.option(
    "--unrestricted",
    is_flag=True,
    help="Allow everything that DuckDB can do, including files and extensions.",
)
def sql(
    query: str | None,
    source: Path | None,
    form: str,
    output: Path | None,
    everything: bool,
    unrestricted: bool,
) -> None:
    """Run QUERY over published products, such as "select * from sales.orders limit 5".

    With `-` or in a pipe, the query is read from standard input. Without a query, a terminal opens
    a shell.
    """
    wanted = _output(form, output, everything)
    text = _text(query, source)
    asked = Asked(Repository.find(), unrestricted)
    if text is None:
        run_shell(lambda typed: asked.run(typed, wanted), asked.names)
        return
    asked.run(text, wanted)


class Asked:
    """Runs queries on the current target; the first query opens the DuckDB connection."""

    def __init__(self, repository: Repository, unrestricted: bool) -> None:
        self._repository = repository
        self._engine = engine(repository)
        self._unrestricted = unrestricted
        self._reader: Any = None

    def run(self, query: str, wanted: Output) -> None:
        """Runs one query and writes its rows.

        Raises:
            UsageError: the query is wrong or not allowed.
            MeshError: the query fails.
        """
        rows = self._engine.query(query)
        with _explained(query, self._repository), ThreadPoolExecutor(1) as thread:
            asked = self.reader if rows is None else None
            # DuckDB and Arrow do not react to signals while they work, so they run in another
            # thread and this one waits for Ctrl-C.
            answer = thread.submit(_answer, asked, rows, query, wanted)
            try:
                answer.result()
            except KeyboardInterrupt:
                while asked is not None and not answer.done():
                    asked.interrupt()
                    wait([answer], 0.1)
                raise

    def names(self) -> list[str]:
        """What may be read, and its columns; none where the target answers queries itself."""
        if self._engine.answers_queries:
            return []
        found = self.reader.cursor().execute(
            "select table_schema || '.' || table_name from information_schema.tables "
            "where table_schema <> 'main' union "
            "select column_name from information_schema.columns where table_schema <> 'main'"
        )
        return sorted(name for (name,) in found.fetchall())

    @property
    def reader(self) -> Any:
        """The DuckDB connection for queries, with products as of its first use."""
        from meshhouse.serve.connection import opened

        if self._reader is None:
            recorder = recorder_of(self._repository, "mesh sql")
            self._reader = opened(self._repository, self._unrestricted, recorder, LOSSLESS)
        return self._reader


def _answer(asked: Any, rows: Any, query: str, wanted: Output) -> None:
    import duckdb

    try:
        _answer_once(asked, rows, query, wanted)
    except duckdb.InterruptException:
        if asked is not None:
            _fail_again(asked, query)
        raise


def _answer_once(asked: Any, rows: Any, query: str, wanted: Output) -> None:
    drawing = _drawing()
    if wanted.form != "table":
        _write(drawing.from_arrow(rows) if asked is None else unwrapped(asked.sql(query)), wanted)
        return
    if asked is not None:
        asked.execute(query)
        if asked.description is None:  # with --unrestricted, some statements return no rows
            return
        rows = asked.to_arrow_reader(boxes.ROWS_PER_BOX)
    boxes.show(drawing, rows.schema, batches(rows), wanted.everything)


def _fail_again(asked: Any, query: str) -> None:
    """Raises the real error of a query that was interrupted without Ctrl-C.

    A thread of DuckDB that fails interrupts the others. DuckDB 1.5.5 sometimes reports their
    interruption instead of the failure (duckdb/duckdb#25902): once in 400 times where rows are
    streamed, less often where they are not. So a few tries find the failure.
    """
    import duckdb

    for _ in range(_TRIES):
        if arrived():
            return
        try:
            fail_again(asked, query)
        except duckdb.InterruptException:
            continue
        return


def _output(form: str, output: Path | None, everything: bool) -> Output:
    if form == "parquet" and output is None:
        raise UsageError("Parquet needs a file: add `--output FILE`.")
    if output is not None and form == "table":
        form = output.suffix.removeprefix(".").lower()
        if form not in _FORMATS:
            raise UsageError(
                f"`{output}` does not say which format; add --format csv|json|parquet."
            )
    return Output(form, output, everything)


def _text(query: str | None, source: Path | None) -> str | None:
    """The query's text; None if a shell should read it from the keyboard."""
    if source is not None:
        if query is not None:
            raise UsageError("Write a query or `--file FILE`, not both.")
        return source.read_text()
    if query == "-" or (query is None and not sys.stdin.isatty()):
        return sys.stdin.read()
    return query


def _drawing() -> duckdb.DuckDBPyConnection:
    """A separate DuckDB connection that only draws tables."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    connection.execute(f"set {LOSSLESS}")
    return connection


def _write(relation: Any, wanted: Output) -> None:
    if relation is None:
        raise UsageError("This statement has no rows to write.")
    if wanted.file is not None:
        with replacing(wanted.file) as file:
            notes = write(relation, wanted.form, file)
    else:
        notes = write(relation, wanted.form, sys.stdout.buffer)
    for note in notes:
        console().print(note, markup=False)


@contextmanager
def _explained(query: str, repository: Repository) -> Iterator[None]:
    """Turns DuckDB's errors into the mesh's, with the position in the query below them."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        damaged = damaged_in(query, error, published(repository))
        if damaged is not None:
            raise damaged from error
        raise UsageError(_said(str(error), query)) from error
    except UsageError as error:
        raise UsageError(_said(str(error), query)) from error


def _said(message: str, query: str) -> str:
    """DuckDB's message, without a position that refers to a rewritten form of the query."""
    about, line, place = message.partition("LINE ")
    shown = place.partition(": ")[2].partition("\n")[0].strip(".")
    if line and shown not in query:
        line = place = ""
    return "\n".join(escaped(each) for each in f"{about}{line}{place}".splitlines() if each.strip())
