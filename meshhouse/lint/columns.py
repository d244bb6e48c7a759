"""The columns that a model's SQL selects, without running it.

Belongs here: rendering a model's Jinja with stand-ins and reading the outermost select.
Not here: comparing the columns with a contract (rules.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import sqlglot
from jinja2.sandbox import SandboxedEnvironment
from sqlglot import exp

from meshhouse.deadline import TooLong, time_limit
from meshhouse.repository.yaml import DeclarationError, read_text

STAND_IN = "stand_in"


class _OnlyDbtKnows(Exception):
    """The selected columns depend on a value that only dbt has."""


class _Anything(jinja2.Undefined):
    """Stands for any value that dbt would provide: it can be called, indexed and printed.

    A template that computes with such a value (a condition, a loop, a sum) cannot be rendered
    here.
    """

    def __call__(self, *_: Any, **__: Any) -> Any:
        return _Anything()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in _OF_JINJA:
            raise AttributeError(name)
        return _Anything()

    def __getitem__(self, name: Any) -> Any:
        return _Anything()

    def __str__(self) -> str:
        return STAND_IN


_OF_JINJA = ("unsafe_callable", "alters_data", "jinja_pass_arg")
"""Attributes that Jinja looks up on an object before it calls it."""


def _undecided(*_: Any, **__: Any) -> Any:
    raise _OnlyDbtKnows


for _operation in (
    "bool", "iter", "len", "contains", "hash", "int", "float", "complex", "index", "neg", "pos",
    "abs", "round", "eq", "ne", "lt", "le", "gt", "ge", "add", "radd", "sub", "rsub", "mul",
    "rmul", "truediv", "rtruediv", "floordiv", "rfloordiv", "mod", "rmod", "pow", "rpow",
):  # fmt: skip
    setattr(_Anything, f"__{_operation}__", _undecided)


class _Bounded(SandboxedEnvironment):
    """A Jinja environment that refuses repetitions and powers that would fill the memory."""

    intercepted_binops = frozenset(["*", "**"])

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Refuses an operation whose result would be larger than any SQL text."""
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
"""Time limit for the Jinja of one model, which usually takes milliseconds."""

_ENVIRONMENT = _Bounded(undefined=_Anything, extensions=["jinja2.ext.do"])


def _decided(function: Callable[..., Any]) -> Callable[..., Any]:
    """A Jinja test or filter that must not treat a stand-in as undefined."""

    def checked(value: Any, *arguments: Any, **named: Any) -> Any:
        if isinstance(value, _Anything):
            raise _OnlyDbtKnows
        return function(value, *arguments, **named)

    return checked


for _name in ("defined", "undefined"):
    _ENVIRONMENT.tests[_name] = _decided(_ENVIRONMENT.tests[_name])
for _name in ("default", "d"):
    _ENVIRONMENT.filters[_name] = _decided(_ENVIRONMENT.filters[_name])
for _name in ("as_text", "as_bool", "as_native", "as_number"):  # dbt's own filters
    _ENVIRONMENT.filters[_name] = lambda value: value
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
        dialect: sqlglot's name for the SQL of the target in use.

    Returns:
        The names and an empty text; or None and the problem; or None and an empty text if the
        columns depend on a macro or variable that only dbt knows.
    """
    try:
        with time_limit(SECONDS):
            sql = _ENVIRONMENT.from_string(read_text(path)).render()
    except _OnlyDbtKnows:
        return None, ""
    except TooLong:
        return None, f"its Jinja takes longer than {SECONDS:g} seconds; a loop in it is too long."
    except DeclarationError as error:
        return None, error.problem
    # Jinja calls Python, so any exception may come; the cause is always the model's file.
    except Exception as error:  # noqa: BLE001
        return None, f"its Jinja cannot be read: {_said(error)}."
    if not sql.strip():
        return None, "it is empty."
    parsed, problem = _parsed(sql, dialect)
    if problem:
        # Without the stand-ins it may be valid SQL: `where a = 1 {{ and_more() }}`.
        less = _NOT_A_TYPE.sub("", sql)
        is_dbts = less != sql and not (less.strip() and _parsed(less, dialect)[1])
        return None, "" if is_dbts else problem
    return _names(parsed, is_dbts=STAND_IN in sql)


_NOT_A_TYPE = re.compile(rf"(?<!\bas )\b{STAND_IN}\b", re.IGNORECASE)


def _parsed(sql: str, dialect: str) -> tuple[exp.Expression | None, str]:
    """The syntax tree of a statement, or why it cannot be parsed."""
    try:
        language = sqlglot.Dialect.get_or_raise(dialect)
        language.SUPPORTS_USER_DEFINED_TYPES = True  # a stand-in may be in the place of a type
        return sqlglot.parse_one(sql, dialect=language), ""
    except sqlglot.errors.ParseError as error:
        detail = error.errors[0] if error.errors else {}
        return None, f"its SQL cannot be read near `{detail.get('highlight', '')}`."
    except (sqlglot.errors.SqlglotError, RecursionError) as error:
        return None, f"its SQL cannot be read: {_said(error)}."


def _names(parsed: exp.Expression | None, is_dbts: bool) -> tuple[list[str] | None, str]:
    if not isinstance(parsed, exp.Query):
        return None, "" if is_dbts else "it is not a select statement."
    if any(isinstance(each, exp.Star) or each.is_star for each in parsed.selects):
        return None, "a product must not select `*`."
    names = [name.lower() for name in parsed.named_selects]
    return (None if any(STAND_IN in name for name in names) else names), ""


def _said(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
