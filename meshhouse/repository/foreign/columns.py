"""The columns of a source's table that the models of a project read.

Belongs here: reading them from SQL that selects from one source only. Not here: columns that are
declared (sources.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import sqlglot
from sqlglot import exp

from meshhouse.repository.foreign.calls import Source, sources_in

_JINJA = re.compile(r"\{#.*?#\}|\{%.*?%\}|\{\{(.*?)\}\}", re.DOTALL)
_NAMES = re.compile(r"""(['"])([A-Za-z_]\w*)\1""")
_PARTS_OF_DATES = {"year", "quarter", "month", "week", "day", "hour", "minute", "second"}
"""Arguments of macros such as `date_trunc` that look like columns."""
_SOURCE = "meshhouse_source"


def columns_read(texts: Iterable[str], dialect: str) -> dict[Source, list[str]]:
    """Source -> the columns that models read of it, as far as their SQL says."""
    found: dict[Source, dict[str, None]] = {}
    for text in texts:
        sources = set(sources_in(text))
        if len(sources) == 1:
            found.setdefault(sources.pop(), {}).update(dict.fromkeys(_of(text, dialect)))
    return {source: list(names) for source, names in found.items()}


def _of(text: str, dialect: str) -> list[str]:
    sql = _JINJA.sub(_plain, text)
    try:
        tree = sqlglot.parse_one(sql, read=dialect or None)
    except (sqlglot.errors.SqlglotError, RecursionError):
        return []
    like = {_SOURCE}
    for cte in tree.find_all(exp.CTE):
        select = cte.this
        if isinstance(select, exp.Select) and select.is_star and _tables(select) <= like:
            like.add(cte.alias_or_name)
    names: dict[str, None] = {}
    for select in tree.find_all(exp.Select):
        if _tables(select) and _tables(select) <= like:
            own = {each.alias for each in select.expressions if each.alias}
            for column in select.find_all(exp.Column):
                if column.name not in own or column.find_ancestor(exp.Alias):
                    names[column.name.lower()] = None
    return [each for each in names if each != "*"]


def _tables(select: exp.Select) -> set[str]:
    return {each.name for each in select.find_all(exp.Table)}


def _plain(match: re.Match[str]) -> str:
    """SQL in the place of Jinja: a source by a name, a macro by a call with its columns."""
    inside = match[1]
    if inside is None:
        return ""
    if re.search(r"\bsource\s*\(", inside):
        return _SOURCE
    if re.match(r"-?\s*(config|set)\b", inside):
        return ""
    if re.search(r"\bref\s*\(", inside):
        return "other_model"
    if re.match(r"-?\s*(var|env_var|target|this|type_|dbt\.type_)", inside):
        return "0"
    names = [name for _, name in _NAMES.findall(inside) if name not in _PARTS_OF_DATES]
    return f"f({', '.join(names)})"
