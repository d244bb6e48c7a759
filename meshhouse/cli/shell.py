"""The shell of `mesh sql`: one query after the other, with history and completion.

Belongs here: reading queries from the keyboard. Not here: running them (sql.py).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from meshhouse import settings
from meshhouse.cli.output import escaped
from meshhouse.errors import MeshError

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


def run_shell(run: Callable[[str], None], names: Callable[[], list[str]]) -> None:
    """Runs queries until Ctrl-D; a failure or Ctrl-C ends only the current query.

    Args:
        run: runs one query and prints its rows.
        names: returns the relations and columns that the Tab key completes.
    """
    click.echo(_WELCOME, err=True)
    save = _with_readline(names)
    try:
        while (query := _typed()) is not None:
            try:
                run(query)
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


def _with_readline(names: Callable[[], list[str]]) -> Callable[[], None]:
    """Gives `input` history and completion; returns a function that saves the history."""
    try:
        import readline
    except ImportError:  # not available on Windows
        return lambda: None
    path = Path(settings.value("MESH_HISTORY")).expanduser()
    if path.is_file():
        readline.read_history_file(path)
    readline.set_history_length(_HISTORY_LENGTH)
    words = [*_WORDS, *names()]
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
