"""Which products and columns a query reads, from DuckDB's syntax tree of it.

Belongs here: names of products and columns, never a value of the query. Not here: whether the query
may run (statements.py), or where reads are recorded (usage/).

The tree is the one that the check of the statement has already made, so this takes no second
parser: 0.05 ms for a small query. Where SQL leaves open which column is meant, the columns of that
product are unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Columns = Mapping[str, Mapping[str, str]]
"""Product -> its columns: the name in lower case -> the name as it is written."""
Found = dict[str, set[str] | None]
"""Product -> the columns that are read; None if they are unknown."""


MOST_PARTS = 10_000
"""Parts of a query that are looked at, which takes 6 ms: a list in IN may have 100,000."""


class TooLong(Exception):
    """A query has more than `MOST_PARTS` parts, so nobody knows what it reads."""


def products_read(tree: Any, columns: Columns) -> dict[str, tuple[str, ...] | None]:
    """Product -> the names of its columns that a query reads, sorted; None if they are unknown.

    Args:
        tree: the query, from `json_serialize_sql`.
        columns: what can be read.

    Raises:
        TooLong: the query has too many parts.
    """
    found: Found = {}
    _Walk(columns, found).query(tree, None, frozenset())
    return {
        product: None if read is None else tuple(sorted(read)) for product, read in found.items()
    }


@dataclass
class _Scope:
    """The tables of one FROM clause."""

    outer: _Scope | None
    sources: dict[str, str | None] = field(default_factory=dict)
    """Name in the query -> product; None for what the query makes itself, and for other tables."""
    only_tested: set[str] = field(default_factory=set)
    """Names of sources of semi and anti joins, whose columns `*` does not return."""
    hidden: tuple[str, ...] = ()
    """Parameters of functions inside the query."""

    @property
    def products(self) -> list[str]:
        return [each for each in self.sources.values() if each is not None]


class _Walk:
    """Walks through one query and notes what it reads."""

    def __init__(self, columns: Columns, found: Found) -> None:
        self._columns = columns
        self._found = found
        self._left = MOST_PARTS

    def query(self, node: Any, outer: _Scope | None, local: frozenset[str]) -> None:
        """Notes what a query node reads; `local` holds the names of common table expressions."""
        defined = (node.get("cte_map") or {}).get("map") or ()
        for each in defined:
            self.query(each["value"]["query"]["node"], outer, local | {each["key"].lower()})
            local |= {each["key"].lower()}
        if "cte_name" in node:
            local |= {node["cte_name"].lower()}
        scope = _Scope(outer)
        later: list[Callable[[], None]] = []
        if node.get("from_table"):
            self._table(node["from_table"], scope, local, later)
        for each in later:  # after all tables of FROM are known, which these may name
            each()
        # ORDER BY of a union names columns of its result, and of no table.
        order = scope if node.get("type") == "SELECT_NODE" else _Scope(None)
        for key, value in node.items():
            if key not in ("from_table", "cte_map"):
                self._expression(value, order if key == "modifiers" else scope, local)

    def _table(
        self, node: Any, scope: _Scope, local: frozenset[str], later: list[Callable[[], None]]
    ) -> None:
        """Notes a table of FROM in its scope; what is inside it is looked at later."""
        kind, alias = node["type"], node.get("alias", "").lower()
        match kind:
            case "BASE_TABLE":
                self._base_table(node, alias, scope, local)
            case "JOIN":
                self._join(node, scope, local, later)
            case "SUBQUERY":
                scope.sources[alias or f"?{len(scope.sources)}"] = None
                later.append(lambda: self.query(node["subquery"]["node"], scope, local))
            case "SHOW_REF":
                if node.get("show_type") == "SUMMARY":  # DESCRIBE reads no rows
                    later.append(lambda: self.query(node["query"], scope, local))
            case "PIVOT":
                inner = _Scope(scope)
                self._table(node["source"], inner, local, later)
                later.append(lambda: self._unknown(inner.products))
                scope.sources[alias or f"?{len(scope.sources)}"] = None
            case _:  # table functions, lists of values
                scope.sources[alias or f"?{len(scope.sources)}"] = None
                later.append(lambda: self._expression(_inside(node), scope, local))

    def _base_table(self, node: Any, alias: str, scope: _Scope, local: frozenset[str]) -> None:
        schema, table = node.get("schema_name", "").lower(), node["table_name"].lower()
        product = f"{schema}.{table}"
        if (not schema and table in local) or product not in self._columns:
            scope.sources[alias or table] = None
            return
        self._found.setdefault(product, set())
        # A second table of the same name can only be meant by its schema.
        name = alias or (table if table not in scope.sources else product)
        scope.sources[name] = product
        if not alias:
            scope.sources[product] = product
        if node.get("column_name_alias"):
            self._unknown([product])

    def _join(
        self, node: Any, scope: _Scope, local: frozenset[str], later: list[Callable[[], None]]
    ) -> None:
        before = set(scope.sources)
        self._table(node["left"], scope, local, later)
        left = set(scope.sources)
        self._table(node["right"], scope, local, later)
        if node.get("join_type") in ("SEMI", "ANTI"):
            scope.only_tested |= scope.sources.keys() - left
        joined = [
            each for name, each in scope.sources.items() if name not in before and each is not None
        ]
        if node.get("ref_type") == "NATURAL":
            later.append(lambda: self._unknown(joined))
        later.append(lambda: self._using(node.get("using_columns") or (), joined))
        later.append(lambda: self._expression(node.get("condition"), scope, local))

    def _using(self, names: Sequence[str], products: Sequence[str]) -> None:
        for name in names:
            for each in products:
                self._read(each, name)

    def _expression(self, node: Any, scope: _Scope, local: frozenset[str]) -> None:
        self._left -= 1
        if self._left < 0:
            raise TooLong
        if isinstance(node, list):
            for each in node:
                self._expression(each, scope, local)
        elif isinstance(node, dict) and str(node.get("type", "")).endswith("_NODE"):
            self.query(node, scope, local)
        elif isinstance(node, dict):
            self._part(node, scope, local)

    def _part(self, node: dict[str, Any], scope: _Scope, local: frozenset[str]) -> None:
        match node.get("class"):
            case "STAR":
                self._star(node, scope, local)
            case "LAMBDA":
                self._function(node, scope, local)
            case "COLUMN_REF":
                self._column([each.lower() for each in node["column_names"]], scope)
            case "POSITIONAL_REFERENCE":
                self._unknown(scope.products)
            case "CONSTANT":
                pass
            case _:
                for value in node.values():
                    self._expression(value, scope, local)

    def _star(self, node: Any, scope: _Scope, local: frozenset[str]) -> None:
        if node.get("expr"):  # columns('a.*'), or a function of names
            self._unknown(scope.products)
            return
        named = node.get("relation_name", "").lower()
        source = scope.sources.get(named) if named else None
        every = [
            each for name, each in scope.sources.items() if each and name not in scope.only_tested
        ]
        products = [source] if source else ([] if named else every)
        left_out = {str(each).lower() for each in node.get("exclude_list") or ()}
        for product in products:
            for name in self._columns[product]:
                if name not in left_out:
                    self._read(product, name)
        self._expression(node.get("replace_list"), scope, local)

    def _function(self, node: Any, scope: _Scope, local: frozenset[str]) -> None:
        """A function such as `x -> x + 1`; or `value -> 'name'`, which reads a JSON value."""
        body, named = node.get("expr"), {each[0] for each in _references(node.get("lhs"))}
        used = {each[0] for each in _references(body)}
        if not named & used:
            self._expression(node.get("lhs"), scope, local)
        before, scope.hidden = scope.hidden, (*scope.hidden, *(named & used))
        self._expression(body, scope, local)
        scope.hidden = before

    def _column(self, names: list[str], scope: _Scope) -> None:
        """Finds the product that a column belongs to, in the nearest scope that has it."""
        at: _Scope | None = scope
        is_certain = True
        while at is not None:
            if names[0] in at.hidden:
                return
            if self._column_of(names, at, is_certain):
                return
            # A column of a subquery in FROM may be meant, whose columns are not known here.
            is_certain = is_certain and None not in at.sources.values()
            at = at.outer

    def _column_of(self, names: list[str], scope: _Scope, is_certain: bool) -> bool:
        """Notes a column if it is one of a scope's tables; False if it may be of an outer one."""
        for length in (3, 2, 1):
            table = ".".join(names[:length]).removeprefix("memory.")
            if len(names) > length and table in scope.sources:
                product = scope.sources[table]
                if product is not None:
                    self._read(product, names[length])
                return True
        having = [each for each in scope.products if names[0] in self._columns[each]]
        for product in having:
            if is_certain:
                self._read(product, names[0])
            else:
                self._unknown([product])
        if having:
            return True
        if len(names) == 1 and names[0] in scope.sources:  # a whole row as one value
            product = scope.sources[names[0]]
            for name in self._columns[product] if product is not None else ():
                self._read(product, name)
            return True
        return False

    def _read(self, product: str, name: str) -> None:
        read, known = self._found.get(product), self._columns[product].get(name.lower())
        if read is not None and known is not None:
            read.add(known)

    def _unknown(self, products: Sequence[str]) -> None:
        for each in products:
            self._found[each] = None


def _inside(node: Any) -> dict[str, Any]:
    """The parts of a table function, or of a list of values, that may name columns."""
    return {key: value for key, value in node.items() if key != "type"}


def _references(node: Any) -> Iterator[list[str]]:
    """The column names inside an expression."""
    if isinstance(node, list):
        for each in node:
            yield from _references(each)
    elif isinstance(node, dict):
        if node.get("class") == "COLUMN_REF":
            yield [each.lower() for each in node["column_names"]]
        for value in node.values():
            yield from _references(value)
