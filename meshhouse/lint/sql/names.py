"""The functions and types that a statement names, as written in its text.

Belongs here: distinguishing the name of a function from a keyword, an alias or a type. Not
here: which names a target has (dialects.py), or judging the statement (targets.py).

The names come from the text, not from sqlglot's tree, because the tree replaces them by the
names of another dialect.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel
from sqlglot.tokens import TokenType

_WORD = re.compile(r"[A-Za-z_][\w$]*")
_CASTS = {"cast", "try_cast", "safe_cast"}
_NO_CALL = {
    "all", "and", "any", "as", "asc", "between", "by", "case", "cross", "cube", "desc",
    "distinct", "else", "end", "escape", "except", "exclude", "exists", "from", "full", "group",
    "having", "ilike", "in", "inner", "intersect", "interval", "into", "is", "join", "lateral",
    "like", "limit", "not", "nulls", "offset", "on", "or", "order", "outer", "over", "partition",
    "pivot", "qualify", "recursive", "regexp", "rename", "repeatable", "returning", "rlike",
    "rollup", "sample", "seed", "select", "set", "sets", "similar", "some", "table",
    "tablesample", "then", "to", "union", "unpivot", "using", "values", "when", "where",
    "window", "with", "within",
}  # fmt: skip
"""Keywords that may precede a parenthesis without being a function."""
_TYPE = re.compile(r"[A-Za-z_][\w$]*(\s+\w+)*")
"""A type, or a part of one: sqlglot reads `double precision` as one token."""


@dataclass(frozen=True)
class Name:
    """A function or a type, and its line."""

    kind: str
    """`function` or `type`."""
    text: str
    """In lower case; a type of several words has one space between them."""
    line: int
    with_length: bool = False
    """For a type: whether parentheses follow it, as in `varchar(10)`."""


DATE_PARTS = {"year", "quarter", "month", "week", "day", "hour", "minute", "second"}


class NotReadable(Exception):
    """The statement does not parse."""

    def __init__(self, line: int, problem: str, types: Sequence[Name] = ()) -> None:
        super().__init__(problem)
        self.line = line
        self.problem = problem
        self.types = types
        """The types that it casts to: an unknown type may be why it does not parse."""


@dataclass(frozen=True)
class Statement:
    """The content of a statement, without its layout."""

    names: tuple[Name, ...]
    text: str
    """Its words and signs in lower case with one space between them. Strings and quoted names
    are emptied, except for parts of a date."""
    lines: tuple[tuple[int, int], ...]
    """For each token: its offset in `text` and its line in the SQL."""
    trees: tuple[Any, ...] = ()
    """sqlglot's syntax trees of the statement."""

    def line_at(self, offset: int) -> int:
        """The line of SQL that an offset in `text` belongs to."""
        return next((line for start, line in reversed(self.lines) if start <= offset), 1)


def read(sql: str, dialect: str) -> Statement:
    """Reads a statement.

    Args:
        sql: the statement.
        dialect: sqlglot's name for the SQL.

    Raises:
        NotReadable: the statement does not parse.
    """
    try:
        tokens = sqlglot.tokenize(sql, dialect=dialect)
    except sqlglot.errors.TokenError as error:
        raise NotReadable(1, "a quote or a comment is not closed") from error
    try:
        trees = _parse(sql, dialect)
    except NotReadable as error:
        error.types = [each for each in _names(sql, tokens, set()) if each.kind == "type"]
        raise
    aliases = {
        identifier.meta["start"]
        for tree in trees
        if tree is not None
        for identifier in tree.find_all(exp.Identifier)
        if "start" in identifier.meta
    }
    words: list[str] = []
    lines: list[tuple[int, int]] = []
    offset = 0
    for token in tokens:
        quote = sql[token.start] if token.start < len(sql) else ""
        word = token.text.lower()
        if quote in ("'", '"'):
            word = quote + (word if word in DATE_PARTS else "") + quote
        words.append(word)
        lines.append((offset, token.line))
        offset += len(words[-1]) + 1
    found = tuple(tree for tree in trees if tree is not None)
    return Statement(tuple(_names(sql, tokens, aliases)), " ".join(words), tuple(lines), found)


def _parse(sql: str, dialect: str) -> list[Any]:
    try:
        return sqlglot.parse(sql, dialect=dialect, error_level=ErrorLevel.RAISE)
    except sqlglot.errors.ParseError as error:
        for detail in error.errors:
            if not _is_about_arguments(detail):
                raise _not_readable(detail) from error
    return sqlglot.parse(sql, dialect=dialect, error_level=ErrorLevel.IGNORE)


def _is_about_arguments(detail: dict[str, Any]) -> bool:
    """Whether sqlglot only complains that a function lacks an argument; it may be wrong."""
    text = str(detail.get("description"))
    if text.startswith("The number of provided arguments"):
        return True
    missed = re.search(r"missing for <class '[\w.]*\.(\w+)'>", text)
    kind = getattr(exp, missed[1], None) if missed else None
    return kind is not None and issubclass(kind, exp.Func) and not issubclass(kind, exp.Connector)


def _not_readable(detail: dict[str, Any]) -> NotReadable:
    near = str(detail.get("highlight") or "").strip()
    what = str(detail.get("description") or "it does not parse").rstrip(".")
    what = what.partition(" but got <")[0]
    what = "something is missing" if "<class" in what else what[:1].lower() + what[1:]
    return NotReadable(int(detail.get("line") or 1), f"{what}, near `{near}`" if near else what)


def _names(sql: str, tokens: Sequence[Any], aliases: set[int]) -> Iterator[Name]:
    types: set[int] = set()  # positions of tokens that belong to a type
    for start, end in _type_regions(sql, tokens):
        types.update(range(start, end))
        yield from _types(tokens[start:end])
    for position, token in enumerate(tokens[:-1]):
        word = token.text.lower()
        if (
            tokens[position + 1].token_type == TokenType.L_PAREN
            and _WORD.fullmatch(word)
            and token.token_type not in (TokenType.IDENTIFIER, TokenType.STRING)
            and word not in _NO_CALL
            and position not in types
            and token.start not in aliases
            and not _is_no_function(tokens, position)
        ):
            yield Name("function", word, token.line)


def _is_no_function(tokens: Sequence[Any], position: int) -> bool:
    """Whether the words around a word show that it is not a function."""
    before = tokens[position - 1].text.lower() if position else ""
    behind = tokens[position + 2].text.lower() if position + 2 < len(tokens) else ""
    # A function with a schema is user-defined, so no list contains it.
    if before in (".", "sample", "tablesample"):
        return True
    return tokens[position].text.lower() == "filter" and behind == "where"


def _type_regions(sql: str, tokens: Sequence[Any]) -> Iterator[tuple[int, int]]:
    """First and last position (exclusive) of each type in a cast."""
    for position, token in enumerate(tokens):
        following = tokens[position + 1].token_type if position + 1 < len(tokens) else None
        if token.token_type == TokenType.DCOLON:
            if sql[token.start : token.end + 1] != "::":
                continue  # sqlglot tokenizes `2L` as a cast
            yield position + 1, _end_of_type(tokens, position + 1)
        elif token.text.lower() in _CASTS and following == TokenType.L_PAREN:
            depth = 0
            for inner in range(position + 1, len(tokens)):
                kind = tokens[inner].token_type
                depth += (kind == TokenType.L_PAREN) - (kind == TokenType.R_PAREN)
                if depth == 1 and kind == TokenType.ALIAS:
                    yield inner + 1, _end_of_type(tokens, inner + 1)
                    break
                if depth == 0:
                    break


def _end_of_type(tokens: Sequence[Any], start: int) -> int:
    """The position after the words of a type and its brackets."""
    depth = 0
    for position in range(start, len(tokens)):
        change = _opened(tokens, position)
        depth += change
        if depth < 0 or (depth == 0 and not change and not _continues(tokens, start, position)):
            return position
    return len(tokens)


def _opened(tokens: Sequence[Any], position: int) -> int:
    """How many brackets of a type a token opens; negative if it closes them."""
    text = tokens[position].text
    if text == "<":  # a comparison, unless it follows a type with angle brackets
        return int(tokens[position - 1].text.lower() in ("array", "map", "struct"))
    if text in ("(", "[", "{"):
        return 1
    if text in (")", "]", "}"):
        return -1
    return -len(text) if set(text) == {">"} else 0


_SECOND_WORDS = {"precision", "varying", "with", "without", "local", "time", "zone"}


def _continues(tokens: Sequence[Any], start: int, position: int) -> bool:
    word = tokens[position].text.lower()
    if position == start:
        return True
    in_interval = tokens[start].text.lower() == "interval"
    units = {"year", "month", "day", "hour", "minute", "second", "to"}
    return word in _SECOND_WORDS or (in_interval and word in units)


def _types(tokens: Sequence[Any]) -> Iterator[Name]:
    """A type and, if it is nested, the types of its fields."""
    depth = 0
    words: list[str] = []
    line = tokens[0].line if tokens else 1
    for position, token in enumerate(tokens):
        if _TYPE.fullmatch(token.text):
            words += token.text.lower().split()
            line = token.line
            continue
        opened = _opened(tokens, position)
        if token.text != ":":  # `name: type`
            yield from _type(words, depth, line, opened > 0)
        words = []
        depth += opened
    yield from _type(words, depth, line, False)


def _type(words: list[str], depth: int, line: int, with_length: bool) -> Iterator[Name]:
    if words[-2:] == ["not", "null"]:
        words = words[:-2]
    if depth > 0 and len(words) > 1 and words[1] not in _SECOND_WORDS:
        words = words[1:]  # the name of a field
    if words[:1] == ["interval"]:
        words = words[:1]
    if words:
        yield Name("type", " ".join(words), line, with_length)
