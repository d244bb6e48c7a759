"""Whether every model would run on a target, without the target.

Belongs here: judging the SQL that dbt renders for a target, and finding the line of the
model that it came from. Does not: what a target has (meshhouse/engines/dialects.py), or
reading names out of SQL (names.py).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence

from meshhouse.checks.finding import Finding
from meshhouse.checks.names import Name, NotReadable, read
from meshhouse.checks.rendering import Rendered, render
from meshhouse.dbt import DbtFailed
from meshhouse.engines.dialects import Dialect, use_instead
from meshhouse.repository import Repository

_PLACE = re.compile(r"\(([\w./-]+\.(?:sql|yml))\)")
_HEADING = re.compile(r"^\w+ Error in \w+ \S+ \(\S+\)\s*")


def check_targets(repository: Repository, dialects: Sequence[Dialect]) -> list[Finding]:
    """What would not run on these targets, sorted by place. Needs dbt's adapters, no data.

    Raises:
        UsageError: the adapter of a target is not installed.
    """
    for dialect in dialects:
        dialect.require()
    findings: set[Finding] = set()
    for dialect in dialects:
        for domain in repository.domain_names:
            findings.update(_domain(repository, domain, dialect))
    return sorted(findings)


def _domain(repository: Repository, domain: str, dialect: Dialect) -> Iterator[Finding]:
    left_out: list[str] = []
    while True:
        try:
            rendered = render(repository, domain, dialect, left_out)
            break
        except DbtFailed as error:
            place = _PLACE.search(str(error))
            yield _not_rendered(repository, domain, dialect, error)
            if place is None or place[1] in left_out:
                return  # dbt does not get as far as single models
            left_out.append(place[1])
    for each in rendered:
        yield from _statement(each, dialect)


def _not_rendered(
    repository: Repository, domain: str, dialect: Dialect, error: DbtFailed
) -> Finding:
    text = str(error).removeprefix(f"{domain}: ")
    place = _PLACE.search(text)
    file = place[1] if place else "dbt_project.yml"
    problem = f"dbt cannot render this for target {dialect.target}: {_HEADING.sub('', text)}"
    remedy = ""
    if "connection never acquired" in text:
        problem = (
            f"this asks the database while it is rendered, which a check for target "
            f"{dialect.target} does without."
        )
        remedy = "Write down in the model what it asks for."
    return Finding(repository.folder(domain) / file, 1, problem, remedy)


def _statement(rendered: Rendered, dialect: Dialect) -> Iterator[Finding]:
    refused = dialect.syntax_error(rendered.sql)
    if refused:
        yield _not_readable(rendered, dialect, *refused)
        return
    try:
        statement = read(rendered.sql, dialect.sqlglot)
    except NotReadable as error:
        lacking = list(_names(rendered, error.types, dialect))
        yield from lacking
        if not lacking and not dialect.asks_own_parser:
            yield _not_readable(rendered, dialect, error.line, error.problem)
        return
    for offset, what, instead in dialect.lacking(statement.text):
        line = _source_line(rendered, statement.line_at(offset))
        problem = f"target {dialect.target} ({dialect.title}) has no {what}."
        yield Finding(rendered.path, line, problem, instead)
    yield from _names(rendered, statement.names, dialect)


def _not_readable(rendered: Rendered, dialect: Dialect, line: int, problem: str) -> Finding:
    problem = f"this is no SQL of target {dialect.target} ({dialect.title}): {problem}."
    return Finding(rendered.path, _source_line(rendered, line), problem, "")


def _names(rendered: Rendered, names: Sequence[Name], dialect: Dialect) -> Iterator[Finding]:
    for name in names:
        problem = _problem(name, dialect)
        if problem:
            line = _source_line(rendered, name.line)
            advice = [_origin(rendered, name, line), use_instead(name.text)]
            yield Finding(rendered.path, line, problem, " ".join(filter(None, advice)))


def _problem(name: Name, dialect: Dialect) -> str:
    where = f"on target {dialect.target} ({dialect.title})"
    if name.kind == "function":
        has = dialect.has_function(name.text)
        return "" if has else f"there is no function `{name.text}` {where}."
    if dialect.needs_length(name.text):
        return "" if name.with_length else f"type `{name.text}` needs a length {where}."
    return "" if dialect.has_type(name.text) else f"there is no type `{name.text}` {where}."


def _origin(rendered: Rendered, name: Name, line: int) -> str:
    """Which macro the name comes from, where the model's own line does not have it."""
    pattern = re.compile(rf"\b{re.escape(name.text)}\b", re.IGNORECASE)
    lines = rendered.path.read_text().splitlines()
    if line <= len(lines) and pattern.search(lines[line - 1]):
        return ""
    macros = [macro for macro, text in rendered.macros.items() if pattern.search(text)]
    return f"It comes from the macro `{macros[0]}`." if len(macros) == 1 else ""


def _source_line(rendered: Rendered, line: int) -> int:
    """The line of the file that a line of rendered SQL came from.

    Text outside of Jinja is rendered as it stands, so equal lines pair up, and what stands
    between two pairs of one is rendered from what stands between them in the other.
    """
    before = [each.strip() for each in rendered.path.read_text().splitlines()]
    after = [each.strip() for each in rendered.sql.splitlines()]
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for _, before_start, before_end, after_start, after_end in matcher.get_opcodes():
        if after_start < line <= after_end:
            return max(1, min(before_start + line - after_start, before_end))
    return 1
