"""The shell of `mesh sql`: one query after the other, with history and completion.

Belongs here: reading queries from the keyboard. Not here: running them (sql.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from meshhouse.cli.output import escaped
from meshhouse.errors import MeshError

if TYPE_CHECKING:
    from meshhouse.cli.sql import Asked, Output

_WORDS = [
    "select",
    "from",
    "where",
    "group",
    "by",
    "having",
    "order",
    "limit",
    "join",
    "left",
    "using",
    "on",
    "with",
    "as",
    "and",
    "or",
    "not",
    "in",
    "is",
    "null",
    "distinct",
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "between",
    "case",
    "when",
    "then",
    "else",
    "end",
    "cast",
    "describe",
    "summarize",
    "show",
    "tables",
    "explain",
]
_WELCOME = "Queries end with `;`. `show tables;` lists the tables, Ctrl-D leaves."
_HISTORY_LENGTH = 1_000


def run_shell(asked: Asked, wanted: Output) -> None:
    """Runs queries until Ctrl-D; a failure or Ctrl-C ends only the current query."""
    click.echo(_WELCOME, err=True)
    save = _with_readline(asked)
    try:
        while (query := _typed()) is not None:
            try:
                asked.run(query, wanted)
            except MeshError as error:
                click.echo("\n".join(map(escaped, str(error).split("\n"))), err=True)
            except KeyboardInterrupt:
                click.echo("\nInterrupted.", err=True)
    finally:
        save()


def _typed() -> str | None:
    """Reads the next query; None at the end of input."""
    lines: list[str] = []
    while True:
        try:
            line = input("   ...> " if lines else "mesh=> ")
        except EOFError:
            click.echo(err=True)
            return None
        except KeyboardInterrupt:
            click.echo(err=True)
            lines = []
            continue
        if not lines and line.strip().lower() in ("exit", "quit", ".exit", ".quit", r"\q"):
            return None
        lines.append(line)
        text = "\n".join(lines)
        if not text.strip():
            lines = []
        elif text.rstrip().endswith(";"):
            return text


def _with_readline(asked: Asked) -> Callable[[], None]:
    """Gives `input` history and completion; returns a function that saves the history."""
    try:
        import readline
    except ImportError:  # not available on Windows
        return lambda: None
    path = Path(os.environ.get("MESH_HISTORY", "~/.meshhouse_history")).expanduser()
    if path.is_file():
        readline.read_history_file(path)
    readline.set_history_length(_HISTORY_LENGTH)
    words = [*_WORDS, *_names(asked)]
    readline.set_completer_delims(" \t\n,();=<>+-*/")
    readline.set_completer(lambda text, state: completion(words, text, state))
    readline.parse_and_bind("tab: complete")

    def save() -> None:
        path.touch(mode=0o600)  # queries may contain data
        readline.write_history_file(path)

    return save


def completion(words: list[str], text: str, state: int) -> str | None:
    """Returns the `state`-th word that starts with `text`; readline's protocol."""
    found = [word for word in words if word.lower().startswith(text.lower())]
    return found[state] if state < len(found) else None


def _names(asked: Asked) -> list[str]:
    """Names of tables and columns for completion; none if the target answers queries itself."""
    if asked.is_remote:
        return []
    found = asked.reader.cursor().execute(
        "select table_schema || '.' || table_name from information_schema.tables "
        "where table_schema <> 'main' union "
        "select column_name from information_schema.columns where table_schema <> 'main'"
    )
    return sorted(name for (name,) in found.fetchall())
