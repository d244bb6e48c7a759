"""The SQL that a consumer may run: queries of published tables only.

Belongs here: the check of a statement's text before it runs. Not here: the connection that
runs it (connection.py), or the files that DuckDB may open (sandbox.py).

DuckDB's own parser classifies a statement: `json_serialize_sql` turns a SELECT, and nothing
else, into JSON. So the check and the execution cannot disagree about the grammar. A text is
only cut at word boundaries of DuckDB's own lexer.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from meshhouse.errors import UsageError

if TYPE_CHECKING:
    import duckdb

_TABLE_FUNCTIONS = frozenset(
    [
        "range",
        "generate_series",
        "unnest",
        "repeat",
        "repeat_row",
        "json_each",
        "json_tree",
        "pg_timezone_names",
        "duckdb_columns",
        "duckdb_tables",
        "duckdb_schemas",
        "duckdb_functions",
        "duckdb_types",
        "duckdb_keywords",
    ]
)
"""Functions in FROM that read no files and no settings, and run no SQL given as text.

`duckdb_views` is not one of them: it shows where the files of the published tables are.
"""
_REFUSED_FUNCTIONS = frozenset(["getenv", "current_setting", "write_log", "nextval", "currval"])
"""Scalar functions that read the process's environment or change state."""
_CATALOG_SCHEMAS = frozenset(("information_schema", "pg_catalog"))
_SHOW_PATHS = frozenset(("views", "pg_views", "pg_settings"))
"""Listings in these schemas that show folders of this machine."""
_IN_MEMORY = frozenset(("", "memory"))
_LISTINGS = frozenset(('"tables"', "__show_tables_expanded"))
_WORD = re.compile(r"'\w+'|\w+|[(),]")
"""A token of EXPLAIN's options: `(analyze, format 'json')`."""
_ANALYZE = ("analyze", "analyse")
_ROOM = 10_000
_LIST_RELATIONS = (
    "select table_schema || '.' || table_name as name from information_schema.tables "
    "where table_schema not in ('main', 'information_schema', 'pg_catalog') order by name"
)

READ_ONLY = "Published products are read only; give a query that returns rows."
_INSTEAD = (
    "Only published products and the ledger (`meshhouse.*`) can be read; "
    "`--unrestricted` removes this limit"
)


@dataclass(frozen=True)
class Checked:
    """A query that may run."""

    text: str
    tree: Any
    """Its syntax tree; None if it reads no rows, because it only explains or lists."""


def checked(
    connection: duckdb.DuckDBPyConnection,
    query: str,
    relations: Collection[str],
    local: Collection[str] = (),
) -> Checked:
    """The query to run, once the check has shown that it reads only allowed relations.

    `show tables` becomes a query that lists all relations; DuckDB's lists one schema only.

    Args:
        connection: parses the query, but does not run it.
        query: one statement.
        relations: `schema.table` that may be read.
        local: names without a schema that may be read, such as registered data frames.

    Raises:
        UsageError: the text is not one query, or the query does more than read the relations.
        duckdb.ParserException: the text is not SQL.
    """
    import duckdb

    kinds = duckdb.StatementType
    try:
        statements = connection.extract_statements(query)
    except duckdb.PermissionException as error:  # DuckDB reads IMPORT DATABASE while parsing it
        raise UsageError(READ_ONLY) from error
    queries = [each for each in statements if each.type in (kinds.SELECT, kinds.EXPLAIN)]
    # DuckDB parses PIVOT into CREATE TYPE statements (in memory, without text) and a query.
    made = statements[: -len(queries)] if queries else []
    if not queries or any(each.type != kinds.CREATE or each.query for each in made):
        raise UsageError(READ_ONLY)
    if len(queries) > 1:
        raise UsageError(f"Give one query, not {len(queries)}.")
    begin, text = "", queries[0].query
    if made:
        text = _pivot(connection, query)
    elif queries[0].type == kinds.EXPLAIN:
        begin, text = _explained(text)
    tree = _parsed(connection, text)
    if _lists_tables(tree):
        return Checked(_LIST_RELATIONS, None)
    _check(tree, {each.lower() for each in relations}, frozenset(each.lower() for each in local))
    # An EXPLAIN is assembled from checked parts, so that no unchecked text runs.
    return Checked(begin + text, None) if begin else Checked(query, tree)


def _explained(text: str) -> tuple[str, str]:
    """The EXPLAIN keyword with its options, without comments, and the explained statement."""
    import duckdb

    raw = text.encode()
    starts = [start for start, _ in duckdb.tokenize(text)]
    parts = [raw[start:end].decode() for start, end in pairwise([*starts, len(raw)])]
    found = [_WORD.match(part) for part in parts]
    words = [each.group().lower() if each else "" for each in found]
    end = 2 if words[1] in _ANALYZE else 1
    if words[end] == "(" and words[end + 1] in (*_ANALYZE, "format"):
        end = words.index(")", end) + 1
    if words[0] != "explain" or "" in words[:end]:
        raise UsageError("Write `explain` or `explain (format json)` first.")
    if not {*words[:end]}.isdisjoint(_ANALYZE):
        raise UsageError(
            "`explain analyze` is refused, because it shows where the files of products are. "
            "`explain` shows the plan; `--unrestricted` removes this limit."
        )
    return " ".join(words[:end]) + " ", raw[starts[end] :].decode()


def _pivot(connection: duckdb.DuckDBPyConnection, query: str) -> str:
    """DuckDB's own text of a PIVOT without IN; it puts the enum type's name into IN.

    DuckDB 1.5 cuts that text to the length of the query, so the query is padded with spaces.
    """
    room = _ROOM + 10 * len(query)
    text = connection.extract_statements(f"{' ' * room}{query}\n;")[-1].query
    if len(text.encode()) >= room:
        raise UsageError("This PIVOT is too long; list its values: `on column in ('a', 'b')`.")
    return text


def _parsed(connection: duckdb.DuckDBPyConnection, text: str) -> Any:
    sql = "select json_serialize_sql(?, skip_empty := true, skip_null := true)"
    [(serialized,)] = connection.cursor().execute(sql, [text]).fetchall()
    found = json.loads(serialized)
    if found.get("error") or len(found["statements"]) != 1:
        raise UsageError(READ_ONLY)
    return found["statements"][0]["node"]


def _lists_tables(tree: Any) -> bool:
    source = tree.get("from_table") or {}
    return source.get("type") == "SHOW_REF" and source.get("table_name") in _LISTINGS


def _check(node: Any, relations: Collection[str], local: frozenset[str]) -> None:
    """Checks a syntax tree; `local` holds the names without a schema that are in scope."""
    if isinstance(node, list):
        for each in node:
            _check(each, relations, local)
        return
    if not isinstance(node, dict):
        return
    local |= frozenset(_common_tables(node))
    kind = node.get("type")
    if kind == "BASE_TABLE":
        _check_table(node, relations, local)
    elif kind == "TABLE_FUNCTION":
        _check_function(node["function"]["function_name"], _TABLE_FUNCTIONS)
        _check(node["function"].get("children"), relations, local)
        return
    elif kind == "SHOW_REF" and "query" not in node:
        raise UsageError(f"{_INSTEAD}. `show tables` lists them.")
    elif node.get("class") == "FUNCTION" and node["function_name"].lower() in _REFUSED_FUNCTIONS:
        _check_function(node["function_name"], ())
    for value in node.values():
        _check(value, relations, local)


def _common_tables(node: dict[str, Any]) -> Iterator[str]:
    """Names that a node's WITH clause defines for the nodes below it."""
    for each in (node.get("cte_map") or {}).get("map") or ():
        yield each["key"].lower()
    if "cte_name" in node:
        yield node["cte_name"].lower()


def _check_table(node: dict[str, Any], relations: Collection[str], local: frozenset[str]) -> None:
    catalog, schema = (node.get(part, "").lower() for part in ("catalog_name", "schema_name"))
    table = node["table_name"].lower()
    if not schema and table in local:
        return
    if catalog in {*_IN_MEMORY, "system"} and schema in _CATALOG_SCHEMAS:
        if table in _SHOW_PATHS:
            raise UsageError(
                f"`{schema}.{table}` is refused, because it shows folders of this machine. "
                "`show tables` lists the tables, `information_schema.columns` their columns."
            )
        return
    if catalog not in _IN_MEMORY or f"{schema}.{table}" not in relations:
        raise _missing(".".join(filter(None, (catalog, schema, table))), relations)


def _check_function(name: str, allowed: Collection[str]) -> None:
    if name.lower() not in allowed:
        raise UsageError(f"`{name}` is refused. {_INSTEAD}.")


def _missing(name: str, relations: Collection[str]) -> UsageError:
    by_table = {each.partition(".")[2]: each for each in relations}
    close = difflib.get_close_matches(name, [*relations, *by_table], n=1, cutoff=0.75)
    hint = f" Did you mean `{by_table.get(close[0], close[0])}`?" if close else ""
    shown = name if name.isprintable() else ascii(name)
    return UsageError(
        f"`{shown}` does not exist: {_INSTEAD[0].lower()}{_INSTEAD[1:]}.{hint} "
        "`mesh status` lists the products."
    )
