"""Where a YAML file differs from its shape.

Belongs here: the elements of a shape, and the walk over a file. Not here: the shapes of the
files (shapes.py), or the meaning of a value (topics.py, products.py).

One walk finds two kinds of misfit. A value of the wrong kind makes a domain unusable. An
unknown key is a finding of `mesh check`; a run refuses it only if the key may change what
consumers get (`Misfit.is_style` is false).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from meshhouse.repository.yaml import Located, printable

ANY = "anything"
TEXT = "text"
FLAG = "true or false"
NUMBER = "a number"
_PROBABLY_MISSPELT = 0.8
"""A key this similar to a known one counts as misspelt: `grop` and `group` reach 0.89."""


@dataclass(frozen=True)
class Map:
    """A mapping with these keys."""

    what: str
    """The name of the mapping in messages."""
    keys: Mapping[str, Any]
    """Key -> the shape of its value."""
    required: tuple[str, ...] = ()
    is_open: bool = False
    """Whether other keys are allowed."""
    finds_misspelt: bool = False
    """For an open mapping: whether a key that resembles one of `keys`, or that the mesh reads only
    in another mapping, is a misfit."""
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    """A key that the mesh does not read in this mapping -> the mapping in which it does."""
    is_of_the_mesh: bool = False
    """Whether only the mesh reads this mapping, so that dbt ignores its keys."""


@dataclass(frozen=True)
class Many:
    """A list of values of one shape."""

    of: Any


@dataclass(frozen=True)
class Misfit:
    """A place where a file differs from its shape."""

    line: int
    problem: str
    remedy: str
    is_unknown_key: bool
    """Neither the mesh nor dbt reads the key; the rest of the file can be used."""
    is_style: bool = False
    """The unknown key is an extra key of the author: it does not change what consumers get."""


def misfits(content: Located, shape: Map) -> Iterator[Misfit]:
    """Everything in a file that differs from its shape."""
    yield from _walk(content, shape, content.line, shape.what)


def _walk(value: Any, shape: Any, line: int, where: str) -> Iterator[Misfit]:
    shape = shape(value) if callable(shape) else shape
    if shape == ANY or (isinstance(value, str) and "{{" in value):
        return  # dbt renders Jinja later
    if value is None:
        for key in shape.required if isinstance(shape, Map) else ():
            yield Misfit(line, f"{shape.what} has no `{key}`.", f"Add `{key}:`.", False)
    elif isinstance(shape, Map):
        yield from _map(value, shape, line, where)
    elif isinstance(shape, Many):
        yield from _many(value, shape, line, where)
    elif not _fits(value, shape):
        yield _wrong(value, shape, line, where)


def _many(value: Any, shape: Many, line: int, where: str) -> Iterator[Misfit]:
    if not isinstance(value, list):
        yield _wrong(value, "a list (lines that begin with `- `)", line, where)
        return
    for each in value:
        at = each.line if isinstance(each, Located) else line
        if each is None:
            yield _wrong(each, _kind(shape.of), at, f"an entry of {where}")
        yield from _walk(each, shape.of, at, f"an entry of {where}")


def _map(value: Any, shape: Map, line: int, where: str) -> Iterator[Misfit]:
    if not isinstance(value, Located):
        yield _wrong(value, "a mapping of keys to values", line, where)
        return
    for key in shape.required:
        if value.get(key) is None:
            problem = f"{shape.what} has no `{key}`."
            yield Misfit(value.line, problem, f"Add `{key}:`.", False)
    for key, each in value.items():
        if key in shape.keys:
            yield from _walk(each, shape.keys[key], value.line_of(key), f"`{key}` of {shape.what}")
        elif not key.startswith("+") and (not shape.is_open or _finds_misspelt(key, shape)):
            yield _unknown(value, key, shape)


def _finds_misspelt(key: str, shape: Map) -> bool:
    return shape.finds_misspelt and (key in shape.elsewhere or _looks_misspelt(key, shape))


def _looks_misspelt(key: str, shape: Map) -> bool:
    return bool(difflib.get_close_matches(key, shape.keys, n=1, cutoff=_PROBABLY_MISSPELT))


def _unknown(value: Located, key: str, shape: Map) -> Misfit:
    close = difflib.get_close_matches(key, shape.keys, n=1)
    known = f"Known: {', '.join(sorted(shape.keys))}."
    remedy = f"Did you mean `{close[0]}`?" if close else known
    if key in shape.elsewhere:
        remedy = f"It belongs in {shape.elsewhere[key]}."
    problem = f"`{printable(key)}` is not a key that the mesh knows in {shape.what}."
    is_style = not shape.is_of_the_mesh and not _looks_misspelt(key, shape)
    return Misfit(value.line_of(key), problem, remedy, True, is_style)


def _wrong(value: Any, expected: str, line: int, where: str) -> Misfit:
    problem = f"{where} must be {expected}; it is {_said(value)}."
    remedy = ""
    if expected == TEXT:
        remedy = "Put it in quotes: YAML reads `no`, `1.0` and 2024-01-01 as something else."
    return Misfit(line, problem, remedy, False)


def _said(value: Any) -> str:
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return f"`{str(value).lower()}` (true or false)"
    return f"`{printable(str(value))[:60]}`"


def _kind(shape: Any) -> str:
    if isinstance(shape, Map) or callable(shape):
        return "a mapping of keys to values"
    return "a list" if isinstance(shape, Many) else str(shape)


def _fits(value: Any, kind: str) -> bool:
    if kind == FLAG:
        return isinstance(value, bool)
    if kind == NUMBER:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, str)
