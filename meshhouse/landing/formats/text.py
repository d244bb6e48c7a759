"""Lines of text: the named groups of a pattern are the fields of an event.

Belongs here: patterns, and matching thousands of lines at once with DuckDB's RE2. Not here: the
types of fields (decode.py).

The pattern must match the whole line, so that no text is lost. A group with an empty match is
null: text has no other way to write null.
"""

from __future__ import annotations

import re

import duckdb
import pyarrow as pa

from meshhouse.landing.formats.errors import BadDeclaration
from meshhouse.landing.formats.wire import with_json
from meshhouse.repository import RawTable
from meshhouse.repository.keys import PATTERN
from meshhouse.sql import literal

_COMMON = (
    r"(?P<remote_host>\S+) (?:-|(?P<identity>\S+)) (?:-|(?P<remote_user>.+?)) "
    r'\[(?P<time>[^\]]+)\] "(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}) (?:-|(?P<bytes>\d+))'
)
_HEADER = r'"(?:-|(?P<{}>(?:[^"\\]|\\.)*))"'
WELL_KNOWN = {
    "common_log": _COMMON,
    "combined_log": f"{_COMMON} {_HEADER.format('referer')} {_HEADER.format('user_agent')}",
}
"""The access logs of Apache and nginx; `-` is null."""

# Quoted texts, escapes and character classes, whose parentheses open no group; and groups.
_TOKEN = re.compile(
    r"\\Q.*?(?:\\E|\Z)|\\.|\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\]"
    r"|(?P<named>\(\?P<(?P<name>\w+)>)|\(\?|(?P<plain>\()",
    re.DOTALL,
)


def group_names(pattern: str) -> list[str | None]:
    """Names of a valid pattern's groups, in order; None for a group without a name."""
    return [match["name"] for match in _TOKEN.finditer(pattern) if match["named"] or match["plain"]]


def pattern_of(raw: RawTable) -> str:
    """The pattern of a topic's lines.

    Raises:
        BadDeclaration: there is no pattern, or it has no named group or does not compile.
    """

    def bad(problem: str, remedy: str) -> BadDeclaration:
        return BadDeclaration(raw.path, raw.line, f"{raw.relation} {problem}.", remedy)

    if not raw.pattern:
        known = ", ".join(WELL_KNOWN)
        remedy = (
            f"Add config.meta.{PATTERN.name}: an RE2 pattern with named groups, or one of {known}."
        )
        raise bad("has the format text, but no pattern", remedy)
    pattern = WELL_KNOWN.get(raw.pattern, raw.pattern)
    try:
        duckdb.execute("select regexp_matches('', $1)", [pattern]).fetchall()
    except duckdb.Error as error:
        reason = str(error).partition(": ")[2] or str(error)
        remedy = "Write it in RE2's syntax, groups as (?P<name>...)."
        raise bad(f"has a pattern that does not compile: {reason}", remedy) from error
    names = [name for name in group_names(pattern) if name]
    if not names:
        known = ", ".join(WELL_KNOWN)
        remedy = f"Name the fields as (?P<name>...), or use one of {known}."
        raise bad("has a pattern without a named group", remedy)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        remedy = "Give each group a different name."
        raise bad(f"has a pattern that names `{twice[0]}` twice", remedy)
    return pattern


class Lines:
    """Reads events that are lines of text."""

    def __init__(self, raw: RawTable) -> None:
        """Compiles the pattern.

        Raises:
            BadDeclaration: see `pattern_of`.
        """
        pattern = pattern_of(raw)
        groups = group_names(pattern)
        # By position: DuckDB needs a name for each group and ignores case in names.
        places = ", ".join(f"'g{place}'" for place in range(len(groups)))
        fields = ", ".join(
            f"{literal(name)}, nullif(found.g{place}, '')"
            for place, name in enumerate(groups)
            if name
        )
        whole = literal(rf"\A(?:{pattern})\z")
        name = raw.pattern if raw.pattern in WELL_KNOWN else "of its topic"
        self._statement = f"""
            with lines as (
                select value, rtrim(try(decode(value)), e'\\r\\n') as line from events
            ),
            matched as (
                select
                    value,
                    line,
                    regexp_matches(line, {whole}) as fits,
                    regexp_extract(line, {whole}, [{places}]) as found,
                from lines
            )
            select
                case when fits then encode(json_object({fields})::varchar) end as json,
                case
                    when value is null then null
                    when line is null then 'is not valid UTF-8'
                    when not fits
                        then {literal(f"does not match the pattern {name}: `")}
                            || left(line, 100) || '`'
                end as reason,
            from matched
        """
        self._connection = duckdb.connect(config={"threads": 1})

    def as_json(self, events: pa.Table) -> pa.Table:
        """See `meshhouse.landing.formats.Format`."""
        self._connection.register("events", events)
        try:
            read = self._connection.execute(self._statement).to_arrow_table()
        finally:
            self._connection.unregister("events")
        return with_json(events, read["json"], read["reason"])
