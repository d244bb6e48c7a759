"""Calls of `ref`, `source` and macros in the files of a project, with other names.

Belongs here: texts in which calls are replaced. Not here: which names (sources.py,
runs/import_project.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

Source = tuple[str, str]
"""Name of a source and of its table."""
_SOURCE = re.compile(r"""\bsource\(\s*(['"])([^'"]+)\1\s*,\s*(['"])([^'"]+)\3\s*\)""")
_REF = re.compile(r"""\bref\(\s*(['"])(\w+)\1\s*,\s*(['"])(\w+)\3(?P<rest>[^()]*)\)""")
_VERSION = re.compile(
    r"""\s*,\s*v(?:ersion)?\s*=\s*(?:(['"])(?P<quoted>[\w.]+)\1|(?P<number>[\d.]+))\s*,?\s*"""
)
MACROS_OF_THE_MESH = (
    "generate_schema_name", "generate_alias_name", "generate_database_name", "ref", "source",
)  # fmt: skip
_OWN_MACRO = re.compile(
    r"\{%-?\s*macro\s+(?:\w+__)?(" + "|".join(MACROS_OF_THE_MESH) + r")\s*\(.*?"
    r"\{%-?\s*endmacro\s*-?%\}",
    re.DOTALL,
)
_COMMENT = re.compile(r"\{#.*?#\}|--[^\n]*", re.DOTALL)


def sources_in(text: str) -> Iterator[Source]:
    """The sources that a text calls."""
    yield from ((match[2], match[4]) for match in _SOURCE.finditer(text))


def with_sources(text: str, new: Mapping[Source, str]) -> str:
    """A text in which calls of some sources are replaced by other calls."""
    return _SOURCE.sub(lambda match: new.get((match[2], match[4]), match[0]), text)


def with_refs(text: str, new: Callable[[str, str, str], str | None]) -> str:
    """A text in which `ref('project', 'model')` is replaced, where `new` gives another call.

    `new` also gets the text after the model, such as `, v=1`.
    """
    return _REF.sub(lambda match: new(match[2], match[4], match["rest"]) or match[0], text)


def version_in(rest: str) -> str | None:
    """The version that a `ref` asks for, from the text after its model; None if it asks for none.

    Raises:
        ValueError: it says something else than a version.
    """
    if not rest.strip(", \n\t"):
        return None
    found = _VERSION.fullmatch(rest)
    if found is None:
        raise ValueError(rest)
    return found["quoted"] or found["number"]


def with_project_name(text: str, old: str, new: str) -> str:
    """A text whose calls of the project's own macros have the project's new name."""
    text = re.sub(rf"(?<![\w.'\"]){re.escape(old)}\.(?=\w+\s*\()", f"{new}.", text)
    dispatched = re.compile(
        rf"""(dispatch\(\s*(['"])\w+\2\s*,\s*(?:macro_namespace\s*=\s*)?)(['"]){re.escape(old)}\3"""
    )
    return dispatched.sub(rf"\1\g<3>{new}\3", text)


def without_own_macros(text: str) -> tuple[str, list[str]]:
    """A file of macros without those that the mesh decides, and the names of those removed.

    The text is empty if nothing but comments is left.
    """
    removed = [match[1] for match in _OWN_MACRO.finditer(text)]
    if not removed:
        return text, []
    rest = _OWN_MACRO.sub("", text)
    return (rest if _COMMENT.sub("", rest).strip() else ""), sorted(set(removed))
