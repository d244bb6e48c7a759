"""Versions of a model: what each declares, over what the model declares for all of them.

Belongs here: merging a model with one of its versions, as dbt does. Not here: what makes a
version unusable, or the products that come of it (domain.py).
"""

from __future__ import annotations

from itertools import compress
from pathlib import Path

from meshhouse.repository.shapes import mapping, mappings
from meshhouse.repository.yaml import Located


def sql_path(path: Path, name: str, number: int, version: Located, is_latest: bool) -> Path:
    """The SQL of a version; that of the latest one may be in a file without a number, as in dbt."""
    stem = str(version.get("defined_in") or f"{name}_v{number}")
    numbered, plain = path.with_name(f"{stem}.sql"), path.with_name(f"{name}.sql")
    return plain if is_latest and not numbered.exists() and plain.exists() else numbered


def merged(below: Located, above: Located) -> Located:
    """A model's settings with those of one of its versions over them, key by key, as dbt does."""
    both = Located(below)
    both.line, both.lines = below.line, {**below.lines, **above.lines}
    for key, value in above.items():
        old = below.get(key)
        is_deep = isinstance(value, Located) and isinstance(old, Located)
        both[key] = merged(old, value) if is_deep else value
    return both


def columns_of(model: Located, version: Located) -> list[Located]:
    """The model's columns that a version takes over, and those that it declares itself.

    A version takes over all of them unless it says otherwise with `include` and `exclude`.
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
