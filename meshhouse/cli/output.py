"""What the commands print with: one console, one way to show tables and numbers."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table


def console(quiet: bool = False) -> Console:
    """Where people read; results that scripts want go to standard output unadorned."""
    return Console(
        stderr=True,
        quiet=quiet,
        highlight=False,
        emoji=False,
        soft_wrap=not sys.stderr.isatty(),
    )


def results() -> Console:
    """Standard output, as wide as it takes when it is no terminal."""
    width = None if sys.stdout.isatty() else 400
    return Console(highlight=False, emoji=False, width=width)


def width() -> int | None:
    """Columns that fit: those of the terminal, or as COLUMNS says; None where nothing limits."""
    if not sys.stdout.isatty() and "COLUMNS" not in os.environ:
        return None
    return shutil.get_terminal_size().columns


def escaped(text: str) -> str:
    r"""Text of unknown origin for a terminal.

    Whatever could move the cursor, change colours, hide or reverse text is written as an
    escape: `\x1b`, `\u202e`.
    """
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], right: Iterable[str] = ()
) -> Table:
    """A plain table; columns named in `right` hold numbers to be read, such as counts."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    numbers = [column in set(right) for column in columns]
    for column, number in zip(columns, numbers, strict=True):
        shown.add_column(column, justify="right" if number else "left")
    for row in rows:
        cells = zip(row, numbers, strict=True)
        shown.add_row(*(cell(value, separators=number) for value, number in cells))
    return shown


def cell(value: Any, separators: bool = True) -> str:
    """A value as people read it; brackets are no markup.

    Args:
        value: what a query or a command found.
        separators: write integers as `1,023`; not for those that may be identifiers.
    """
    from rich.markup import escape

    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if separators else str(value)
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    return escape("\n".join(map(escaped, str(value).split("\n"))))


def print_json(value: Any) -> None:
    """JSON on standard output, dates as ISO 8601."""
    print(json.dumps(value, indent=2, default=_jsonable))


def _jsonable(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def counted(count: int, noun: str) -> str:
    """A number of things: `1 row`, `2,000 rows`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def size(count: int) -> str:
    """Bytes as people read them."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"
