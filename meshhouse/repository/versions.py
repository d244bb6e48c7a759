"""Versions of a model: the declaration of each version merged over that of the model.

Belongs here: merging a model with one of its versions, as dbt does. Not here: problems in a
version, or the resulting products (products.py).
"""

from __future__ import annotations

from itertools import compress
from pathlib import Path

from meshhouse.repository.shapes import mapping, mappings
from meshhouse.repository.yaml import Located


def sql_path(path: Path, name: str, number: int, version: Located, is_latest: bool) -> Path:
    """The SQL file of a version; as in dbt, the latest version's file may have no number."""
    stem = str(version.get("defined_in") or f"{name}_v{number}")
    numbered, plain = path.with_name(f"{stem}.sql"), path.with_name(f"{name}.sql")
    return plain if is_latest and not numbered.exists() and plain.exists() else numbered


def merged(below: Located, above: Located) -> Located:
    """The settings of a model, overridden key by key by those of a version, as dbt does."""
    both = Located(below)
    both.line, both.lines = below.line, {**below.lines, **above.lines}
    for key, value in above.items():
        old = below.get(key)
        is_deep = isinstance(value, Located) and isinstance(old, Located)
        both[key] = merged(old, value) if is_deep else value
    return both


def columns_of(model: Located, version: Located) -> list[Located]:
    """The columns that a version inherits from the model, and those that it declares itself.

    A version inherits all columns unless it uses `include` or `exclude`.
    """
    entries = mappings(version.get("columns"))
    is_choice = [bool({"include", "exclude"} & set(each)) for each in entries]
    own = [each for each, choice in zip(entries, is_choice, strict=True) if not choice]
    chosen = next(compress(entries, is_choice), mapping(None))
    included, excluded = chosen.get("include", "all"), chosen.get("exclude") or ()
    replaced = {str(each.get("name")): each for each in own}
    columns = []
    for each in mappings(model.get("columns")):
        name = str(each.get("name"))
        if (included in ("all", "*") or name in included) and name not in excluded:
            columns.append(replaced.pop(name, each))
    return [*columns, *(each for each in own if str(each.get("name")) in replaced)]
