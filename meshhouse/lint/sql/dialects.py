"""The SQL that each target understands, known without connecting to the target.

Belongs here: the functions and types of a target, how its SQL is parsed, and the profile that
dbt needs to render for it. Not here: rendering models (rendering.py), or judging their SQL
(targets.py).
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import sqlglot

from meshhouse.errors import UsageError

_LISTS = Path(__file__).with_name("lists")

Place = tuple[int, str]
"""A line of a statement, and the problem on that line."""


@dataclass(frozen=True)
class Dialect:
    """The SQL of one target."""

    target: str
    title: str
    sqlglot: str
    """sqlglot's name of the dialect."""
    adapter: str
    """dbt's name of the adapter; the package is `dbt-<adapter>`."""
    install: str
    """How to install the adapter, for the message."""
    output: Mapping[str, Any]
    """A dbt profile that is enough to render SQL; nothing connects with it."""
    has_every_feature: bool = False
    """Whether dbt snapshots and Python models work on this target."""

    def has_function(self, name: str) -> bool:
        """Whether SQL may call a function of this name, in lower case."""
        return name in self._functions

    def has_type(self, name: str) -> bool:
        """Whether a cast may name this type, in lower case, such as `double precision`."""
        return name in self._types

    def needs_length(self, name: str) -> bool:
        """Whether the type must not be named without a length in parentheses."""
        return f"{name}(n)" in self._types

    def lacking(self, statement: str) -> Iterator[tuple[int, str, str]]:
        """SQL in a statement that parsers accept but this target does not.

        Args:
            statement: words and signs in lower case with one space between them.

        Yields:
            The offset in the statement, the missing feature, and what to write instead.
        """
        for pattern, what, instead in self._lacking:
            for match in pattern.finditer(statement):
                yield match.start(), what, instead

    def whole_quotients(self, sql: str) -> list[int]:
        """The lines that use `//`: integer division on DuckDB, a comment on Snowflake."""
        try:
            tokens = sqlglot.tokenize(sql, dialect="duckdb")
        except sqlglot.errors.TokenError:
            return []  # it is not DuckDB's SQL either
        return [token.line for token in tokens if token.text == "//"]

    asks_own_parser = False
    """Whether `syntax_error` runs the target's own parser, which overrules sqlglot."""

    def syntax_error(self, sql: str) -> Place | None:
        """Why the target's own parser refuses a statement; None if it accepts or is missing."""
        return None

    def require(self) -> None:
        """Checks that dbt can render for this target.

        Raises:
            UsageError: the target's adapter is not installed.
        """
        if importlib.util.find_spec(f"dbt.adapters.{self.adapter}") is None:
            raise UsageError(
                f"Target {self.target} cannot be checked without dbt-{self.adapter}. {self.install}"
            )

    @cached_property
    def _functions(self) -> frozenset[str]:
        return _words(f"{self.target}_functions.txt") | _words(f"{self.target}_grammar.txt")

    @cached_property
    def _lacking(self) -> list[tuple[re.Pattern[str], str, str]]:
        rows = (line.split(" | ") for line in _lines(f"{self.target}_lacks.txt"))
        return [(re.compile(pattern), what, instead) for pattern, what, instead in rows]

    @cached_property
    def _types(self) -> frozenset[str]:
        return frozenset(_lines(f"{self.target}_types.txt"))


class _DuckDB(Dialect):
    """DuckDB is always installed, so its own parser and catalog answer."""

    asks_own_parser = True

    def whole_quotients(self, sql: str) -> list[int]:
        return []

    def has_function(self, name: str) -> bool:
        return (
            name in self._functions
            or self._knows(f"select {name}()")
            or self._knows(f"select {name}(0.5) within group (order by x) from (select 1 as x)")
        )

    def has_type(self, name: str) -> bool:
        return self._knows(f"select cast(null as {name})")

    def needs_length(self, name: str) -> bool:
        return False

    def syntax_error(self, sql: str) -> Place | None:
        import duckdb

        try:
            duckdb.extract_statements(sql)
        except duckdb.Error as error:
            line = re.search(r"^LINE (\d+):", str(error), re.MULTILINE)
            problem = str(error).splitlines()[0].removeprefix("Parser Error: ")
            return int(line[1]) if line else 1, problem
        return None

    @cached_property
    def _functions(self) -> frozenset[str]:
        found = self._connection.execute("select distinct function_name from duckdb_functions()")
        return frozenset(name for (name,) in found.fetchall())

    @cached_property
    def _connection(self) -> Any:
        import duckdb

        connection = duckdb.connect()
        connection.execute("set autoinstall_known_extensions = false")
        return connection

    def _knows(self, sql: str) -> bool:
        """Whether all names in the statement exist, whatever else is wrong with it.

        DuckDB's list of functions lacks those of its grammar (`coalesce`, `extract`).
        """
        import duckdb

        try:
            self._connection.execute(sql)
        except duckdb.CatalogException as error:
            return "does not exist" not in str(error)
        except duckdb.ParserException as error:
            return "Unknown ordered aggregate" not in str(error)
        except duckdb.Error:
            return True
        return True


_DIALECTS: tuple[Dialect, ...] = (
    _DuckDB(
        "local", "DuckDB", "duckdb", "duckdb", "Run `make install`.",
        {"type": "duckdb", "path": ":memory:", "schema": "main", "threads": 1},
        has_every_feature=True,
    ),
    Dialect(
        "spark", "Spark", "spark", "spark", "Run `make spark`.",
        {"type": "spark", "method": "session", "host": "none", "schema": "main", "threads": 1},
    ),
    Dialect(
        "snowflake", "Snowflake", "snowflake", "snowflake",
        "Run `make snowflake`.",
        {
            "type": "snowflake", "account": "none", "user": "none", "password": "none",
            "database": "mesh", "schema": "main", "threads": 1,
        },
    ),
)  # fmt: skip


def dialect(target: str) -> Dialect:
    """The SQL of a target.

    Raises:
        UsageError: there is no such target.
    """
    for each in _DIALECTS:
        if each.target == target:
            return each
    known = ", ".join(each.target for each in _DIALECTS)
    raise UsageError(f"There is no target `{target}`. Targets: {known}.")


def dialect_in_use() -> Dialect:
    """The SQL of the target that `MESH_TARGET` names.

    Raises:
        UsageError: there is no such target.
    """
    return dialect(os.environ.get("MESH_TARGET", "local"))


def contract_dialect() -> Dialect:
    """The SQL that contracts store, whatever target is in use: that of DuckDB.

    Otherwise a product would seem to change when it moves to another target.
    """
    return dialect("local")


def every_dialect() -> tuple[Dialect, ...]:
    """The SQL of each target."""
    return _DIALECTS


def use_instead(name: str) -> str:
    """Advice on what to use on every target instead of a function or type; empty if none."""
    return _advice().get(name, "")


def _advice() -> dict[str, str]:
    pairs = (line.partition(": ") for line in _lines("instead.txt"))
    return {name: text for names, _, text in pairs for name in names.split(", ")}


def _words(name: str) -> frozenset[str]:
    return frozenset(" ".join(_lines(name)).split())


def _lines(name: str) -> list[str]:
    lines = (_LISTS / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]
