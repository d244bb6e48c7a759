"""Which hooks of a model a domain may use, judged by the words of their SQL.

Belongs here: recognising statements that only read, or that write to the model's own table.
Not here: reading settings (settings.py), or other features of dbt (features.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from meshhouse.lint.finding import Finding
from meshhouse.lint.settings import HOOKS, Model

_THIS = (
    r"""(\{\{[-+]?\s*this(\.render\(\))?\s*[-+]?\}\}|"""
    r"""["`]?\{\{-?\s*this\.schema\s*-?\}\}["`]?\.["`]?"""
    r"""\{\{-?\s*this\.(identifier|name|table)\s*-?\}\}["`]?)(?!\w)"""
)
_TO_THIS = re.compile(
    r"(alter\s+(table|view)(\s+if\s+exists)?|delete\s+from|"
    r"insert\s+(into|overwrite)(\s+(into|table))?|merge\s+into|truncate(\s+table)?|update|"
    r"vacuum(\s+analyze)?|analyze(\s+table)?|comment\s+on\s+(table|view|column)|"
    r"(grant|revoke)\s+[a-z\s,]+?\s+on(\s+table)?|"
    r"create(\s+unique)?\s+index(\s+concurrently)?(\s+if\s+not\s+exists)?"
    r"\s+(?:(?!\bon\b).)*\bon)"
    rf"\s*{_THIS}",
    re.IGNORECASE | re.DOTALL,
)
_READS = re.compile(r"\(*\s*(select|with|from|values)\b", re.IGNORECASE)
_WRITES_AFTER_WITH = re.compile(
    r"\b(insert\s+(into|overwrite)|delete\s+from|merge\s+into|update\s+\S+\s+set)\b",
    re.IGNORECASE,
)
_JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_JINJA_BLOCK = re.compile(r"\{%.*?%\}", re.DOTALL)
_OTHERWISE = re.compile(r"\{%[-+]?\s*(?:else|elif)\b.*?%\}", re.DOTALL)
_WRITES = re.compile(
    r"(alter|analyze|attach|call|checkpoint|comment|copy|create|delete|detach|drop|export|grant|"
    r"import|insert|install|load|merge|optimize|pragma|replace|reset|revoke|set|truncate|update|"
    r"use|vacuum)\b",
    re.IGNORECASE,
)
_NO_CODE = re.compile(
    r"""\{\#.*?\#\}|--[^\n]*|/\*.*?\*/|(?P<text>'(?:[^'\\]|'')*')|(?P<name>"[^"]*")""",
    re.DOTALL,
)
"""Comments, strings and quoted names. Strings with a backslash do not match, because Spark and
DuckDB disagree about where such a string ends."""
_DOLLAR_QUOTES = re.compile(r"\$\w*\$")


def hook_findings(model: Model) -> Iterator[Finding]:
    """A finding for each hook that may write to something other than its model's table."""
    for name in HOOKS:
        setting = model.settings.get(name)
        for text in _texts(setting.value) if setting else ():
            elsewhere = any(_writes_elsewhere(each) for each in _statements(text))
            if setting and elsewhere:
                yield Finding(
                    setting.path,
                    setting.line,
                    f"`{name}` of `{model.path.stem}` has a statement that neither reads nor "
                    "writes to {{ this }}: changes elsewhere are neither audited nor rolled back.",
                    "Write to {{ this }} only, and use a model for anything else.",
                )


def _statements(text: str) -> Iterator[str]:
    """The statements of a hook, and of each branch of its Jinja, without comments and strings."""
    if not _DOLLAR_QUOTES.search(text):
        text = _NO_CODE.sub(_without_content, text)
    for statement in text.split(";"):
        first, *others = _OTHERWISE.split(statement)
        yield first
        # A branch may also be only a part of the statement, such as a value; skip those.
        yield from (each for each in others if _WRITES.match(_JINJA_BLOCK.sub(" ", each).strip()))


def _without_content(match: re.Match[str]) -> str:
    if match["name"]:
        return match["name"].replace(";", "_")
    return "''" if match["text"] else " "


def _writes_elsewhere(statement: str) -> bool:
    """Whether a statement of a hook may write to something other than the model's own table.

    A statement that is only Jinja counts as harmless, because its SQL is not known here.
    """
    statement = _JINJA_BLOCK.sub(" ", statement).strip()
    without_jinja = _JINJA.sub(" ", statement).strip()
    if not without_jinja or _TO_THIS.match(statement):
        return False
    return not _READS.match(without_jinja) or bool(_WRITES_AFTER_WITH.search(without_jinja))


def _texts(hook: Any) -> list[str]:
    if isinstance(hook, list):
        return [text for each in hook for text in _texts(each)]
    if isinstance(hook, dict):
        return _texts(hook.get("sql"))
    return [hook] if isinstance(hook, str) else []
