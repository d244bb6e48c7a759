"""Printing for all commands: consoles, tables, numbers and JSON.

Belongs here: the common form of output. Not here: query results (boxes.py, formats.py).
"""

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
    """The console for messages to people, on standard error; `results` is for results."""
    return Console(
        stderr=True,
        quiet=quiet,
        highlight=False,
        emoji=False,
        soft_wrap=not sys.stderr.isatty(),
    )


def results() -> Console:
    """The console for results, on standard output; 400 columns wide if it is not a terminal."""
    width = None if sys.stdout.isatty() else 400
    return Console(highlight=False, emoji=False, width=width)


def width() -> int | None:
    """Width in columns: the terminal's, or COLUMNS; None if neither exists."""
    if not sys.stdout.isatty() and "COLUMNS" not in os.environ:
        return None
    return shutil.get_terminal_size().columns


def escaped(text: str) -> str:
    r"""Makes text of unknown origin safe for a terminal.

    Characters that could move the cursor, change colours, hide or reverse text become escapes:
    `\x1b`, `\u202e`.
    """
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def excerpt(value: str | bytes | None, limit: int | None = 80) -> str | None:
    """A value of unknown origin as a line for people; other bytes are hexadecimal digits.

    Control characters are escaped, because events come from other systems: they could move the
    cursor, change colours or hide text.

    Args:
        value: the value.
        limit: the characters after which it is cut; None to show all.
    """
    if value is None:
        return None
    text = text_of(value) if isinstance(value, bytes) else value
    if text is None:
        text = f"0x{value[:limit].hex()}"  # type: ignore[union-attr]
    if limit is None:
        return escaped(text)
    line = escaped(text[: limit + 1])
    return line if len(line) <= limit else line[: limit - 1] + "…"


def text_of(value: bytes) -> str | None:
    """The text of some bytes; None if they are not UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], right: Iterable[str] = ()
) -> Table:
    """A plain table; columns named in `right` hold numbers such as counts."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    numbers = [column in set(right) for column in columns]
    for column, number in zip(columns, numbers, strict=True):
        shown.add_column(column, justify="right" if number else "left")
    for row in rows:
        cells = zip(row, numbers, strict=True)
        shown.add_row(*(cell(value, separators=number) for value, number in cells))
    return shown


def print_texts(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], right: Iterable[str] = ()
) -> None:
    """Prints a table as a result; its texts are escaped: no markup, no emoji (`:smile:`)."""
    from rich.text import Text

    shown = table(columns, [], right)
    for row in rows:
        shown.add_row(
            *(Text(_lines(each)) if isinstance(each, str) else cell(each) for each in row)
        )
    results().print(shown)


def fitting(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    less_important: Sequence[str],
    limit: int | None,
) -> tuple[list[str], list[list[Any]], list[str]]:
    """Leaves out columns until a table fits the terminal.

    Args:
        columns: names of the columns.
        rows: values of the columns.
        less_important: columns that may be left out, the least important first.
        limit: the width of the terminal; None for no limit.

    Returns:
        The remaining columns and rows, and the names of the columns that were left out.
    """
    kept = list(range(len(columns)))
    left_out: list[str] = []
    for name in less_important:
        widths = [
            max([len(columns[index]), *(len(cell(row[index])) for row in rows)]) for index in kept
        ]
        if limit is None or sum(widths) + 2 * (len(widths) - 1) <= limit:
            break
        kept.remove(columns.index(name))
        left_out.append(name)
    return [columns[i] for i in kept], [[row[i] for i in kept] for row in rows], left_out


def cell(value: Any, separators: bool = True) -> str:
    """A value as text for people; brackets are not markup.

    Args:
        value: any value.
        separators: whether to write integers as `1,023`; wrong for identifiers.
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
    return escape(_lines(str(value)))


def _lines(text: str) -> str:
    """A text as lines that are safe for a terminal."""
    return "\n".join(map(escaped, text.split("\n")))


def print_json(value: Any) -> None:
    """Prints JSON on standard output, with dates in ISO 8601."""
    print(json.dumps(value, indent=2, default=_jsonable))


def _jsonable(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def counted(count: int, noun: str) -> str:
    """A number with its noun: `1 row`, `2,000 rows`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def size(count: int) -> str:
    """A number of bytes in B, KiB, MiB or GiB."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"
