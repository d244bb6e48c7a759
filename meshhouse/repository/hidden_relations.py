"""Relations in SQL that no dependency stands for: files, names, unknown functions.

Belongs here: judging what follows `from` and the like. Not here: finding these words in a text
(hidden.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from meshhouse.repository.hidden_tokens import JINJA_BLOCK, Found, Token, near
from meshhouse.repository.hidden_words import (
    BEFORE,
    BEFORE_STATEMENT,
    CALL_KINDS,
    FILE,
    FILE_FORMATS,
    NAME,
    TABLE_FUNCTIONS,
    TEXT_PREFIXES,
    UNSEEN,
)

_COMPUTED = re.compile(
    r"\b(?:env_var|var|target|api|adapter)\b|\bthis\s*\.(?!\s*(?:render|include)\b)"
)
"""Jinja that computes the name of a relation; dbt records no dependency on it."""


def of_relation(tokens: Sequence[Token], index: int, start: int) -> Found:
    """A relation that is a file, or a table that neither `ref` nor `source` names.

    Args:
        tokens: of the template.
        index: where the relation begins.
        start: where the first relation of the same `from` begins.
    """
    while near(tokens, index, 0).startswith("{%") or near(tokens, index, 0).lower() in BEFORE:
        index += 1
    if index >= len(tokens):
        return
    token, dot, last = tokens[index], near(tokens, index, 1), near(tokens, index, 2)
    if token.kind in ("text", "dollars"):
        yield token.at, f"from {token.text}", FILE
    elif token.text.lower() in TEXT_PREFIXES and _prefixed(tokens, index):
        yield token.at, f"from {token.text}{_prefixed(tokens, index)}", FILE
    elif token.text == "@":
        yield token.at, "a stage", FILE
    elif token.text.lower() == "table" and re.match("['\"{$]", last):
        yield token.at, f"table({last})", NAME
    elif token.text.lower() == "table" and dot == "(":
        yield from _of_function(tokens, index + 2)
    elif token.kind == "jinja" and (dot == "." or _COMPUTED.search(token.text)):
        yield token.at, f"{token.text}{'.' + last if dot == '.' else ''}", NAME
    elif token.kind in ("word", "quoted"):
        yield from _of_name(tokens, index, start)


def _of_name(tokens: Sequence[Token], index: int, start: int) -> Found:
    """A relation that begins with a name; see `of_relation`."""
    token, parts = tokens[index], _parts(tokens, index)
    if near(tokens, index, 2 * len(parts) - 1) == "(":
        if tokens[start].text.lower() != "using":  # after which PIVOT has aggregates
            yield from _of_function(tokens, index)
        return
    quoted = [each for each in parts if each.kind == "quoted"]
    computed = [block for each in quoted for block in JINJA_BLOCK.findall(each.text)]
    if any(re.search(r"[./\\*]", JINJA_BLOCK.sub("", each.text)) for each in quoted):
        yield token.at, f"from {'.'.join(each.text for each in parts)}", FILE
    elif any(map(_COMPUTED.search, computed)):
        yield token.at, token.text, NAME
    elif len(parts) > 1:
        if token.text in {each.text for each in tokens[start + 1 : index]}:
            return  # a column of an earlier table in the same `from`
        last = parts[1].text
        kind = FILE if token.text.lower() in FILE_FORMATS and last.startswith("`") else NAME
        yield token.at, f"{token.text}.{last}", kind


def _of_function(tokens: Sequence[Token], index: int) -> Found:
    """A function in place of a relation: only some are known to read nothing."""
    parts = _parts(tokens, index)
    if not parts:
        return
    name = parts[-1].text.strip('"`').lower()
    if name not in TABLE_FUNCTIONS and name not in CALL_KINDS and name not in BEFORE_STATEMENT:
        yield tokens[index].at, f"{'.'.join(each.text for each in parts)}()", UNSEEN


def _parts(tokens: Sequence[Token], index: int) -> list[Token]:
    """The names joined by dots that begin here."""
    parts = [each for each in tokens[index : index + 1] if each.kind in ("word", "quoted")]
    while parts and near(tokens, index, 1) == "." and index + 2 < len(tokens):
        index += 2
        parts.append(tokens[index])
    return parts


def _prefixed(tokens: Sequence[Token], index: int) -> str:
    """The string that a prefix, such as the E of E'text', belongs to; empty if there is none."""
    end = tokens[index].at + len(tokens[index].text)
    for token in tokens[index + 1 : index + 3]:
        if token.at != end:
            return ""
        if token.kind == "text":
            return token.text
        end += len(token.text)
        if token.text != "&":
            return ""
    return ""
