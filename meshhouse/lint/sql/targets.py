"""Checks whether every model would run on the targets with the same results.

Belongs here: judging the SQL that dbt renders for a target, and finding the line of the
model that it came from. Not here: the functions of a target (dialects.py), SQL with different
results (differences.py), or reading names from SQL (names.py).
"""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from meshhouse.dbt import DbtFailed
from meshhouse.lint.finding import Finding
from meshhouse.lint.sql.dialects import Dialect, use_instead
from meshhouse.lint.sql.differences import Difference, differences
from meshhouse.lint.sql.kinds import Columns, annotated, made_columns
from meshhouse.lint.sql.names import Name, NotReadable, Statement, read
from meshhouse.lint.sql.rendering import PLACE, Rendered, asks_database, render
from meshhouse.repository import Repository
from meshhouse.repository.types import is_type

_LOCATED = re.compile(r"(\S+\.(?:sql|yml|yaml)):(\d+): (.*)", re.DOTALL)
_HEADING = re.compile(r"^\w+ Error in \w+ \S+ \(\S+\)\s*")


def check_targets(repository: Repository, dialects: Sequence[Dialect]) -> list[Finding]:
    """SQL that would not run on these targets, or give different results, sorted by place.

    Needs dbt's adapters, but no data.

    Raises:
        UsageError: the adapter of a target is not installed.
    """
    for dialect in dialects:
        dialect.require()
    findings: set[Finding] = set()
    places: Places = defaultdict(set)
    for dialect in dialects:
        known = _declared_columns(repository)
        for domain in repository.domain_names:
            findings.update(_domain(repository, domain, dialect, known, places))
    return sorted(findings | set(differing(places)))


Places = defaultdict[tuple[Path, int, Difference], set[str]]
"""File, line and kind of SQL -> targets for which dbt renders it there."""


def _declared_columns(repository: Repository) -> dict[str, Columns]:
    """`schema.table` -> column -> type, of raw tables and products."""
    known: dict[str, Columns] = {}
    for domain in repository.domains:
        for each in (*domain.raw_tables, *domain.products):
            known[each.relation.lower()] = {
                column.name.lower(): column.data_type
                for column in each.columns
                if is_type(column.data_type)
            }
    return known


def differing(places: Places) -> Iterator[Finding]:
    """A finding for each place where targets get the same SQL but compute different results.

    SQL that a macro renders for one target only cannot differ.
    """
    for (path, line, difference), targets in places.items():
        if len({difference.of(target) for target in targets}) > 1:
            each = "; ".join(f"{target}: {difference.of(target)}" for target in sorted(targets))
            problem = f"{difference.what} is not the same on every target ({each})."
            yield Finding(path, line, problem, difference.instead)


def _domain(
    repository: Repository,
    domain: str,
    dialect: Dialect,
    known: dict[str, Columns],
    places: Places,
) -> Iterator[Finding]:
    left_out: list[str] = []
    while True:
        try:
            rendered = render(repository, domain, dialect, left_out)
            break
        except DbtFailed as error:
            place = PLACE.search(str(error))
            yield _not_rendered(repository, domain, dialect, error)
            if place is None or place[1] in left_out:
                return  # the error does not name one more model to leave out
            left_out.append(place[1])
    for each in rendered:
        yield from judge(each, dialect, known, places)


def _not_rendered(
    repository: Repository, domain: str, dialect: Dialect, error: DbtFailed
) -> Finding:
    text = str(error).removeprefix(f"{domain}: ")
    if found := _LOCATED.match(text):  # the mistake affects every target and names its place
        return Finding(repository.root / found[1], int(found[2]), found[3], "")
    place = PLACE.search(text)
    file = place[1] if place else "dbt_project.yml"
    problem = f"dbt cannot render this for target {dialect.target}: {_HEADING.sub('', text)}"
    remedy = ""
    if asks_database(text):
        problem = (
            f"this queries the database while dbt renders it, but a check for target "
            f"{dialect.target} runs without a database."
        )
        remedy = "Write the queried values into the model."
    return Finding(repository.folder(domain) / file, 1, problem, remedy)


def judge(
    rendered: Rendered, dialect: Dialect, known: dict[str, Columns], places: Places
) -> Iterator[Finding]:
    """A finding for each part of a statement that one target does not understand.

    Args:
        rendered: the statement.
        dialect: the dialect of the target.
        known: `schema.table` -> its columns; the columns that the statement builds are added.
        places: possible differences between targets are added, for `differing`.
    """
    for line in dialect.whole_quotients(rendered.sql):
        problem = f"target {dialect.target} ({dialect.title}) has no operator `//`."
        remedy = "Use `cast(floor(x / y) as ...)` with doubles."
        yield Finding(rendered.path, _source_line(rendered, line), problem, remedy)
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
    for line, difference in _differences(rendered, statement, dialect, known):
        places[rendered.path, _source_line(rendered, line), difference].add(dialect.target)


def _differences(
    rendered: Rendered, statement: Statement, dialect: Dialect, known: dict[str, Columns]
) -> Iterator[tuple[int, Difference]]:
    for tree in statement.trees:
        typed = annotated(tree, known, dialect.sqlglot)
        yield from differences(typed, rendered.sql)
        if rendered.relation:
            declared = known.get(rendered.relation, {})
            known[rendered.relation] = {**made_columns(typed), **declared}


def _not_readable(rendered: Rendered, dialect: Dialect, line: int, problem: str) -> Finding:
    problem = f"this is not SQL of target {dialect.target} ({dialect.title}): {problem}."
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
    """The macro that a name comes from, if the model's own line does not contain it."""
    pattern = re.compile(rf"\b{re.escape(name.text)}\b", re.IGNORECASE)
    lines = rendered.path.read_text().splitlines()
    if line <= len(lines) and pattern.search(lines[line - 1]):
        return ""
    macros = [macro for macro, text in rendered.macros.items() if pattern.search(text)]
    return f"It comes from the macro `{macros[0]}`." if len(macros) == 1 else ""


def _source_line(rendered: Rendered, line: int) -> int:
    """The line of the file that a line of rendered SQL came from.

    dbt does not change text outside Jinja, so equal lines of file and SQL form pairs. Lines
    between two pairs of the SQL were rendered from the lines between them in the file.
    """
    before = [each.strip() for each in rendered.path.read_text().splitlines()]
    after = [each.strip() for each in rendered.sql.splitlines()]
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for _, before_start, before_end, after_start, after_end in matcher.get_opcodes():
        if after_start < line <= after_end:
            return max(1, min(before_start + line - after_start, before_end))
    return 1
