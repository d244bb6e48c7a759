"""The repository's prose is plain English, and the files that it names exist.

Belongs here: phrases that readers had to read twice, each with its plain alternative. Not here:
style of code, which ruff checks.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SUFFIXES = (".py", ".md", ".yml", ".sql")

# Pattern, plain alternative, an example that the pattern must find.
BANNED = (
    (
        r"(?<!\bthere )\b(?:is|are|was|were|be) no (?!(?:longer|more|less|fewer|later|older)\b)",
        "say `is not a ...`",
        "a file that is no YAML",
    ),
    (r"\banew\b", "say `again` or `from the start`", "the table is built anew"),
    (r"\bfor ever\b", "name a bound, or say `indefinitely`", "it waits for ever"),
    (r"\bof (?:its|their|his|our) own\b",
     "say `own ...` before the noun, or `separate`", "a process of its own"),
    (r"\b(?:theirs|ours)\b", "name the owner", "their numbers, not ours"),
    (r"\b(?:somebody|someone|whoever|those who|he who)\b", "name the actor: a reader, a run, ...",
     "somebody may be landing"),
    (r"\bwhat (?:stands|is|lies) there\b", "name the thing", "keeps what is there"),
    (r"\b(?:as|where) (?:it|they) stands?\b|\bwhat stands\b", "say `current`, or name the place",
     "tickets as they stand"),
    (r"\b(?:is|are|was|were|be) told\b", "say `is called with` or `receives`", "progress is told"),
    (r"\b(?:is|are|was|were) to be\b", "say `must be` or `will be`", "a run that is to be kept"),
    (r"\bmay not\b", "say `must not`, or `might not`", "others may not write"),
    (r"\bso as (?:it|they)\b", "say `as`", "so as it was"),
    (r"\bupkeep\b|\btid(?:y|ies|ied)\b", "say `maintenance`", "upkeep of tables"),
    (r"\bpointers?\b", "say `metadata location`", "the pointer moves"),
    (r"\bmoments\b|\b(?:one|any|each|that|this|of a|since a|from a|until a) moment\b",
     "say `time`, `timestamp` or `at once`", "all at one moment"),
    (r"\bstanding publications?\b", "say `current publication`", "the standing publication"),
    (r"\badopt(?:s|ed|ing)\b|\bl(?:end|ends|ent)\b", "say `register` or `zero-copy publish`",
     "publication adopts the files"),
    (r"\b(?:tak(?:e|es|ing)|its|their|landers') turns?\b", "say `advisory lock`", "it takes turns"),
    (r"\bcompanions?\b", "say `co-built product`", "the product and its companions"),
    (r"\bland(?:s|ed|ing)? (?:anew|again)\b", "say `reprocess`", "events are landed again"),
    (r"\bbut for\b", "say `except`", "all of it but for the last"),
    (r"\bsome \d", "say `about`", "it takes some 30 s"),
    (r"^\s*Does not:|\. Does not:", "say `Not here:`", "Belongs here: a. Does not: b."),
)  # fmt: skip
_PATTERNS = [(re.compile(pattern, re.IGNORECASE), plain) for pattern, plain, _ in BANNED]

# Python 3.12 splits f-strings into tokens of their parts.
_STRINGS = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
_CODE = re.compile(r"`[^`\n]*`|\{[^{}\n]*\}")
_FILE = re.compile(r"[\w./-]*\w\.py\b")


@cache
def tracked() -> list[Path]:
    """Every file of the repository in git, except this one, which lists the phrases."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    paths = (ROOT / name for name in names if name)
    return sorted(path for path in paths if path != Path(__file__) and path.exists())


def files(suffixes: tuple[str, ...]) -> list[Path]:
    """Every file of the repository with one of these suffixes."""
    return [path for path in tracked() if path.suffix in suffixes]


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line of prose; of Python, only comments and strings with spaces."""
    text = path.read_text()
    if path.suffix != ".py":
        yield from enumerate(text.splitlines(), start=1)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        is_text = token.type in _STRINGS and " " in token.string
        if is_text or token.type == tokenize.COMMENT:
            yield from enumerate(token.string.splitlines(), start=token.start[0])


def explanations(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line of a Python file's docstrings and comments."""
    text = path.read_text()
    for node in ast.walk(ast.parse(text)):
        # A text that is a statement: a docstring, also of a constant or a field.
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield from enumerate(str(node.value.value).splitlines(), start=node.lineno)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


@pytest.mark.parametrize(("pattern", "plain", "example"), BANNED)
def test_each_banned_phrase_is_found(pattern, plain, example):
    assert re.search(pattern, example, re.IGNORECASE), plain


def test_the_prose_has_no_banned_phrase():
    found = [
        f"{path.relative_to(ROOT)}:{number}: `{match.group().strip()}`: {plain}"
        for path in files(SUFFIXES)
        for number, line in prose(path)
        for pattern, plain in _PATTERNS
        if (match := pattern.search(_CODE.sub("``", line)))
    ]
    assert not found, "\n" + "\n".join(found)


def test_python_files_that_docstrings_and_comments_name_exist():
    """A name is relative to the file's folder, to a folder above it, or to meshhouse/."""
    missing = [
        f"{path.relative_to(ROOT)}:{number}: there is no file {name}"
        for path in files((".py",))
        for number, line in explanations(path)
        for name in _FILE.findall(line)
        if not any((place / name).exists() for place in (*path.parents, ROOT / "meshhouse"))
    ]
    assert not missing, "\n" + "\n".join(missing)
