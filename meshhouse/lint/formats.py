"""Rules about the formats of topics' events.

Belongs here: the findings of `mesh check` about a format. Not here: what a format requires
(landing/formats/); landing asks the same code.
"""

from __future__ import annotations

from collections.abc import Iterator

from meshhouse.lint.finding import Finding
from meshhouse.repository import RawTable


def format_findings(raw: RawTable) -> Iterator[Finding]:
    """A finding for each mistake in the format of a topic's events."""
    is_encoded = any(column.encoding is not None for column in raw.columns)
    if raw.format == "json" and raw.pattern is None and raw.schema_path is None and not is_encoded:
        return
    # These import DuckDB and Arrow, which checking a mesh of JSON topics does not need.
    from meshhouse.landing.formats import BadDeclaration, format_of

    try:
        format_of(raw)
    except BadDeclaration as error:
        yield Finding(error.path, error.line, error.problem, error.remedy)
        return
    if raw.format == "text":
        yield from _groups(raw)


def _groups(raw: RawTable) -> Iterator[Finding]:
    from meshhouse.landing.formats.text import group_names, pattern_of

    declared = {column.name for column in raw.columns}
    for name in group_names(pattern_of(raw)):
        if name and name not in declared:
            yield Finding(
                raw.path,
                raw.line,
                f"the pattern of {raw.relation} names `{name}`, which is not one of its columns.",
                "Declare the column, or make the group unnamed: (?:...).",
            )
