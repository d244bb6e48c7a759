"""Which columns a model's SQL makes, without running it.

Belongs here: rendering a model's Jinja with stand-ins and reading the outermost select.
Does not: comparing them with anything (rules.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import sqlglot
from jinja2.sandbox import SandboxedEnvironment
from sqlglot import exp

from meshhouse.deadline import TooLong, time_limit
from meshhouse.repository.yaml import DeclarationError, read_text


class _Anything(jinja2.Undefined):
    """Stands for whatever dbt would provide: any call or attribute is a harmless name."""

    def __call__(self, *_: Any, **__: Any) -> Any:
        return "stand_in"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name=name)

    def __str__(self) -> str:
        return "stand_in"


class _Bounded(SandboxedEnvironment):
    """Jinja that cannot fill the memory: no huge repetition, no huge power."""

    intercepted_binops = frozenset(["*", "**"])

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Refuses an operation whose result would be larger than any SQL."""
        numbers = [each for each in (left, right) if isinstance(each, int)]
        texts = [each for each in (left, right) if isinstance(each, str | list | tuple)]
        if operator == "**" and numbers and isinstance(right, int) and abs(right) > MOST_POWER:
            raise OverflowError("a power is too large")
        if operator == "*" and texts and numbers and len(texts[0]) * numbers[0] > MOST_CHARACTERS:
            raise OverflowError("a repetition is too long")
        return super().call_binop(context, operator, left, right)


MOST_POWER = 1_000
MOST_CHARACTERS = 1_000_000
SECONDS = 5.0
"""Longest that the Jinja of one model may take here; it takes milliseconds."""

_ENVIRONMENT = _Bounded(undefined=_Anything, extensions=["jinja2.ext.do"])
_ENVIRONMENT.globals.update(
    config=lambda *_, **__: "",
    is_incremental=lambda: False,
    ref=lambda *names, **_: f"ref_{'_'.join(str(name) for name in names)}",
    source=lambda *names: f"source_{'_'.join(names)}",
)


def selected_columns(path: Path, dialect: str) -> tuple[list[str] | None, str]:
    """Names of the columns that a model selects, in lower case.

    Args:
        path: the model's file.
        dialect: what sqlglot calls the SQL of the target in use.

    Returns:
        The names and an empty text; or None and why they cannot be told.
    """
    try:
        with time_limit(SECONDS):
            sql = _ENVIRONMENT.from_string(read_text(path)).render()
    except TooLong:
        return None, f"its Jinja takes longer than {SECONDS:g} seconds; a loop in it is too long."
    except DeclarationError as error:
        return None, error.problem
    # Jinja calls Python, which fails in any way: whatever it is, it is the file's.
    except Exception as error:  # noqa: BLE001
        return None, f"its Jinja cannot be read: {_said(error)}."
    if not sql.strip():
        return None, "it is empty."
    try:
        language = sqlglot.Dialect.get_or_raise(dialect)
        language.SUPPORTS_USER_DEFINED_TYPES = True  # a stand-in may stand for a type
        parsed = sqlglot.parse_one(sql, dialect=language)
    except sqlglot.errors.ParseError as error:
        detail = error.errors[0] if error.errors else {}
        return None, f"its SQL cannot be read near `{detail.get('highlight', '')}`."
    except (sqlglot.errors.SqlglotError, RecursionError) as error:
        return None, f"its SQL cannot be read: {_said(error)}."
    if not isinstance(parsed, exp.Query):
        return None, "it is no select statement."
    if any(isinstance(each, exp.Star) or each.is_star for each in parsed.selects):
        return None, "a product must not select `*`."
    return [name.lower() for name in parsed.named_selects], ""


def _said(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
