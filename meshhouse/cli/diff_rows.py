"""Rows that differ, as text, JSON and Markdown, for `mesh diff --data`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from meshhouse.cli.output import counted, escaped
from meshhouse.runs.row_diff import Example
from meshhouse.runs.two_states import RowsOfTwo

_LONGEST = 40
"""Characters of a value that people see; --json has the whole value."""


def rows_as_lines(rows: RowsOfTwo | str) -> Iterator[str]:
    """The difference of rows for people."""
    if isinstance(rows, str):
        yield rows
        return
    found = rows.difference
    yield f"{rows.relation}: rows of {rows.before} and of {rows.after}"
    yield f"    {_counts(rows)}"
    for names, which in ((found.only_before, "earlier"), (found.only_after, "later")):
        if names:
            yield f"    only in the {which} rows, not compared: {', '.join(names)}"
    widest = max((len(name) for name in found.columns), default=0)
    for name, count in found.columns.items():
        yield f"    {name:<{widest}}  changed in {counted(count, 'row')}"
    if found.examples:
        yield f"    {counted(len(found.examples), 'example')}:"
    for example in found.examples:
        yield f"      {_example(example)}"


def _counts(rows: RowsOfTwo) -> str:
    found = rows.difference
    by = f"by {', '.join(found.key)}" if found.key else f"as whole rows, because {found.because}"
    parts = [f"{found.added:,} added", f"{found.removed:,} removed"]
    parts += [f"{found.changed:,} changed"] if found.key else []
    return (
        f"{counted(found.rows_before, 'row')} before, {found.rows_after:,} after; compared {by}: "
        f"{', '.join(parts)}"
    )


def _example(example: Example) -> str:
    key = _listed(example.key)
    if example.kind == "changed":
        steps = [f"{name} {_value(old)} -> {_value(example.values[name])}"
                 for name, old in example.before.items()]  # fmt: skip
        return f"{key}: {', '.join(steps)}"
    parts = [part for part in (key, _listed(example.values)) if part]
    return f"{example.kind}: {', '.join(parts)}"


def _listed(values: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name}={_value(value)}" for name, value in values.items())


def _value(value: str | None) -> str:
    if value is None:
        return "null"
    text = escaped(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def rows_as_json(rows: RowsOfTwo | str) -> dict[str, Any]:
    """The difference of rows as JSON; values of examples are texts."""
    if isinstance(rows, str):
        return {"not_compared": rows}
    found = rows.difference
    return {
        "product": rows.relation,
        "before": rows.before,
        "after": rows.after,
        "rows_before": found.rows_before,
        "rows_after": found.rows_after,
        "added": found.added,
        "removed": found.removed,
        "changed": found.changed if found.key else None,
        "key": list(found.key),
        "compared_as_whole_rows": found.because or None,
        "columns": dict(found.columns),
        "only_before": list(found.only_before),
        "only_after": list(found.only_after),
        "examples": [
            {
                "kind": each.kind,
                "key": dict(each.key),
                "before": dict(each.before),
                "values": dict(each.values),
            }
            for each in found.examples
        ],
    }


def rows_as_markdown(rows: RowsOfTwo | str) -> str:
    """The difference of rows for a comment; examples are in a block that shows them as they are."""
    lines = list(rows_as_lines(rows))
    # A fence that no value can end: longer than any row of backticks in it.
    longest = max((len(run) for line in lines for run in _backticks(line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([f"{fence}text", *(escaped(line) for line in lines), fence])


def _backticks(line: str) -> list[str]:
    return "".join(each if each == "`" else " " for each in line).split()
