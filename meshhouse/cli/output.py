"""What the commands print with: one console, one way to show tables and numbers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table


def console(quiet: bool = False) -> Console:
    """Where people read; results that scripts want go to standard output unadorned."""
    return Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=not sys.stderr.isatty())


def results() -> Console:
    """Standard output, as wide as it takes when it is no terminal."""
    width = None if sys.stdout.isatty() else 400
    return Console(highlight=False, width=width)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], right: Iterable[str] = ()
) -> Table:
    """A plain table; columns named in `right` hold numbers."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        shown.add_column(column, justify="right" if column in set(right) else "left")
    for row in rows:
        shown.add_row(*(cell(value) for value in row))
    return shown


def cell(value: Any) -> str:
    """A value as people read it; brackets are no markup."""
    from rich.markup import escape

    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    return escape(str(value))


def print_json(value: Any) -> None:
    """JSON on standard output, dates as ISO 8601."""
    print(json.dumps(value, indent=2, default=_jsonable))


def _jsonable(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def size(count: int) -> str:
    """Bytes as people read them."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"
