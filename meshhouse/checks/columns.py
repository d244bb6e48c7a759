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


_ENVIRONMENT = SandboxedEnvironment(undefined=_Anything, extensions=["jinja2.ext.do"])
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
        sql = _ENVIRONMENT.from_string(path.read_text()).render()
        language = sqlglot.Dialect.get_or_raise(dialect)
        language.SUPPORTS_USER_DEFINED_TYPES = True  # a stand-in may stand for a type
        parsed = sqlglot.parse_one(sql, dialect=language)
    except jinja2.TemplateError as error:
        return None, f"its Jinja cannot be read: {error}."
    except sqlglot.errors.ParseError as error:
        detail = error.errors[0] if error.errors else {}
        return None, f"its SQL cannot be read near `{detail.get('highlight', '')}`."
    if not isinstance(parsed, exp.Query):
        return None, "it is no select statement."
    if any(isinstance(each, exp.Star) or each.is_star for each in parsed.selects):
        return None, "a product must not select `*`."
    return [name.lower() for name in parsed.named_selects], ""
