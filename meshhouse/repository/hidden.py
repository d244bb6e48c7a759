"""Hidden inputs of a model, which no snapshot covers: the clock, chance, the session, files.

Belongs here: finding such reads in the text of a model or macro (SQL with Jinja). Not here:
which texts belong to a product (code.py), or what follows from a finding (lint/hidden.py,
runs/plan.py).

The text is scanned by tokens because it is a template: dbt renders it to SQL, but rendering
loses the line numbers. Words in comments, in strings and in column names do not count.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from meshhouse.repository.hidden_relations import of_relation
from meshhouse.repository.hidden_tokens import JINJA, SQL, Found, Token, blocks_in, near
from meshhouse.repository.hidden_words import (
    AFTER_FROM,
    BEFORE_STATEMENT,
    CALL_KINDS,
    CHANCE,
    CLOCK,
    CLOSING,
    JINJA_CALL_KINDS,
    JINJA_DOORS,
    JINJA_WORD_KINDS,
    MOMENTS,
    NAME,
    NO_ARGUMENT,
    ONE_ARGUMENT,
    OPENING,
    ORDERINGS,
    PARTS_OF,
    PER_RUN_VARIABLES,
    RELATIONS,
    SESSION,
    STATEMENTS,
    UNSEEN,
    WORD_KINDS,
)


@dataclass(frozen=True, order=True)
class HiddenInput:
    """One read whose result may change while code and inputs stay the same."""

    line: int
    what: str
    """The read as the author wrote it, such as `now()`."""
    kind: str


@lru_cache(maxsize=4096)
def hidden_inputs(text: str, macros: frozenset[str] = frozenset()) -> tuple[HiddenInput, ...]:
    """The hidden inputs of a template, by line.

    Args:
        text: a model or a macro.
        macros: names of the repository's macros; the caller scans them separately.
    """
    found: set[HiddenInput] = set()
    for pattern in SQL if "\\" in text else SQL[:1]:
        for at, what, kind in _in_sql(text, 0, pattern, macros):
            found.add(HiddenInput(text.count("\n", 0, at) + 1, what, kind))
    return tuple(sorted(found))


def hidden_in_value(value: str) -> tuple[HiddenInput, ...]:
    """The hidden inputs in a value that Jinja inserts: SQL, or a word such as `now`."""
    word = value.strip().lower()
    if word in MOMENTS:
        return (HiddenInput(1, value, CLOCK),)
    if word in CALL_KINDS and word not in ("user", "version", "normal", "uniform", "sample"):
        return (HiddenInput(1, value, CALL_KINDS[word]),)
    return hidden_inputs(value)


@lru_cache(maxsize=4096)
def jinja_names(text: str) -> dict[str, int]:
    """Every name in the Jinja of a template, with the line of its first use."""
    names: dict[str, int] = {}
    for match in SQL[0].finditer(text):
        pieces = [match] if match.lastgroup == "jinja" else blocks_in(match)
        for block in pieces:
            for token in re.finditer(r"[A-Za-z_]\w*", block.group()):
                offset = match.start() + token.start() + (0 if block is match else block.start())
                names.setdefault(token.group(), text.count("\n", 0, offset) + 1)
    return names


def _in_sql(text: str, base: int, pattern: re.Pattern[str], macros: frozenset[str]) -> Found:
    tokens: list[Token] = []
    for match in pattern.finditer(text):
        kind = "dollars" if match["dollars"] is not None else str(match.lastgroup)
        at = base + match.start()
        if kind == "jinja":
            yield from _in_jinja(match.group(), at, pattern, macros)
        for block in blocks_in(match):
            yield from _in_jinja(block.group(), at + block.start(), pattern, macros)
        if kind not in ("comment", "jinja_comment"):
            tokens.append(Token(kind, match.group(), at))
    yield from _in_tokens(tokens)


def _in_jinja(text: str, base: int, pattern: re.Pattern[str], macros: frozenset[str]) -> Found:
    tokens = [
        Token(str(match.lastgroup), match.group(), base + match.start())
        for match in JINJA.finditer(text)
    ]
    for index, token in enumerate(tokens):
        before, after = near(tokens, index, -1), near(tokens, index, 1)
        if token.kind == "text":
            # A string may be SQL, for example an argument of a macro.
            yield from _in_sql(token.text[1:-1], token.at + 1, pattern, macros)
            if (before, after, near(tokens, index, 2)) == ("[", "]", "("):
                kind = _jinja_kind(token.text[1:-1], ".", "(")
                if kind:  # datetime['now']()
                    yield token.at, token.text, kind
        elif token.kind == "word":
            yield from _of_jinja_word(tokens, index, macros)


def _of_jinja_word(tokens: Sequence[Token], index: int, macros: frozenset[str]) -> Found:
    token, after = tokens[index], near(tokens, index, 1)
    before, second = near(tokens, index, -1), near(tokens, index, 2)
    is_argument_name = after == "=" and second != "="
    if token.text == "attr" and before == "|":
        kind = _jinja_kind(second[1:-1], ".", "(") if after == "(" else None
        yield token.at, f"attr({second})", kind or UNSEEN
    elif token.text in JINJA_DOORS and before != "." and not is_argument_name:
        path = _path(tokens, index)
        known = JINJA_DOORS[token.text]
        if not any(path == each or path.startswith((f"{each}.", f"{each}(")) for each in known):
            last = re.split(r"[.\[]", path.rstrip("()"))[-1]
            kind = SESSION if token.text == "flags" else JINJA_CALL_KINDS.get(last, UNSEEN)
            yield token.at, path, kind
    elif token.text == "env_var" and second[1:-1] in PER_RUN_VARIABLES:
        yield token.at, f"env_var({second})", SESSION
    elif not is_argument_name or before == "|":
        kind = _jinja_kind(token.text, before, after)
        if kind == NAME and _only_this(tokens, index + 1):
            return
        if _beginning(tokens, index) in JINJA_DOORS:
            return  # judged with its beginning
        if kind and (before == "." or token.text not in macros):
            yield token.at, token.text, kind


def _path(tokens: Sequence[Token], index: int) -> str:
    """The names joined by dots that begin here, and `()` or `[` if that follows."""
    path = tokens[index].text
    while near(tokens, index, 1) == "." and index + 2 < len(tokens):
        index += 2
        path += f".{tokens[index].text}"
    return path + {"(": "()", "[": f"[{near(tokens, index, 2)}]"}.get(near(tokens, index, 1), "")


def _beginning(tokens: Sequence[Token], index: int) -> str:
    """The first of the names joined by dots to which this one belongs."""
    while near(tokens, index, -1) == "." and index >= 2 and tokens[index - 2].kind == "word":
        index -= 2
    return tokens[index].text


def _jinja_kind(word: str, before: str, after: str) -> str | None:
    if word.startswith("current_timestamp"):
        return CLOCK
    if word == "create" and before == "." and after == "(":
        return NAME  # api.Relation.create()
    if word in JINJA_CALL_KINDS and (after == "(" or before == "|"):
        return JINJA_CALL_KINDS[word]
    if before == "." and word != "snapshot_get_time":
        return None
    return JINJA_WORD_KINDS.get(word)


def _only_this(tokens: Sequence[Token], opening: int) -> bool:
    """Whether a call's only arguments are `this` (the model's own table) or parts of it.

    Args:
        tokens: of the Jinja block.
        opening: index of the call's opening parenthesis.
    """
    depth, names = 0, set()
    for index in range(opening, len(tokens)):
        token, text = tokens[index], tokens[index].text
        depth += {"(": 1, ")": -1}.get(text, 0)
        if depth == 0:
            break
        is_part = near(tokens, index, -1) == "." or near(tokens, index, 1) == "="
        if token.kind == "text" or (token.kind == "word" and not is_part):
            names.add(text)
    return names == {"this"}


def _in_tokens(tokens: Sequence[Token]) -> Found:
    openers: list[str] = []
    starts = [-1]
    """For each open parenthesis, the index where its relations begin; -1 without relations."""
    for index, token in enumerate(tokens):
        word = token.text.lower()
        if word in OPENING:
            openers.append(near(tokens, index, -1).lower())
            starts.append(-1)
        elif word in CLOSING and openers:
            openers.pop()
            starts.pop()
        elif word == "," and starts[-1] >= 0:
            yield from of_relation(tokens, index + 1, starts[-1])
        elif word in AFTER_FROM or (word in ORDERINGS and near(tokens, index, 1).lower() == "by"):
            starts[-1] = -1
        elif token.kind == "text" and _is_moment(tokens, index):
            yield token.at, token.text, CLOCK
        if token.kind == "word" or (token.kind == "quoted" and near(tokens, index, 1) == "("):
            yield from _of_word(tokens, index)
        if _precedes_relation(tokens, index, openers):
            starts[-1] = starts[-1] if starts[-1] >= 0 else index
            yield from of_relation(tokens, index + 1, index)


def _is_at_start(tokens: Sequence[Token], index: int) -> bool:
    """Whether a statement may begin here."""
    before = near(tokens, index, -1).lower()
    return before in BEFORE_STATEMENT or before.startswith(("{{", "{%"))


def _precedes_relation(tokens: Sequence[Token], index: int, openers: Sequence[str]) -> bool:
    word, before = tokens[index].text.lower(), near(tokens, index, -1).lower()
    if word not in RELATIONS or before in (".", "distinct") or set(openers[-1:]) & PARTS_OF:
        return False
    return word != "using" or near(tokens, index, 1) != "("


def _of_word(tokens: Sequence[Token], index: int) -> Found:
    token = tokens[index]
    word = token.text.strip('"`').lower()
    before = near(tokens, index, -1).lower()
    after = near(tokens, index, 1)
    if before == "as" and after != "(":
        return  # an alias
    if word in CALL_KINDS and after == "(":
        yield token.at, f"{word}()", CALL_KINDS[word]
    elif word in STATEMENTS and _is_at_start(tokens, index):
        yield from of_relation(tokens, index + 1, index)
    elif word == "show" and _is_at_start(tokens, index) and after not in "().,":
        yield token.at, "show", SESSION
    elif word in WORD_KINDS and (after == "(" or (before != "." and after != ".")):
        yield token.at, word, WORD_KINDS[word]
    elif word == "nextval" and before == ".":
        yield token.at, word, CHANCE
    elif word == "sample" and before == "using":
        yield token.at, "using sample", CHANCE
    elif (
        word in NO_ARGUMENT | ONE_ARGUMENT
        and after == "("
        and _arguments(tokens, index + 1) <= (1 if word in ONE_ARGUMENT else 0)
    ):
        yield token.at, f"{word}()", CLOCK


def _arguments(tokens: Sequence[Token], opening: int) -> int:
    """The number of arguments of the call whose parenthesis opens at `opening`."""
    depth, commas = 0, 0
    for token in tokens[opening:]:
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(token.text, 0)
        commas += token.text == "," and depth == 1
        if depth == 0:
            break
    return 0 if near(tokens, opening, 1) == ")" else commas + 1


def _is_moment(tokens: Sequence[Token], index: int) -> bool:
    if tokens[index].text[1:-1].strip().lower() not in MOMENTS:
        return False
    before, second = (near(tokens, index, -step).lower() for step in (1, 2))
    cast = before == "(" and second in ("cast", "try_cast", "to_date", "to_timestamp", "date")
    return cast or near(tokens, index, 1) == "::" or bool(re.match("date|timestamp", before))
