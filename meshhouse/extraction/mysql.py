"""A table of MySQL or MariaDB.

Belongs here: the connection, the SQL that reads the table, and values as JSON. Not here: which rows
are new (new_rows.py).

The server sends every value as text, and numbers keep that text. PyMySQL's own conversions are off:
they would make floats of numbers and leave some dates as text.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

import numpy as np

from meshhouse.addresses import check_files
from meshhouse.errors import MeshError
from meshhouse.extraction.cursor import Cursor
from meshhouse.extraction.table import Aside, Row, TableColumn, Wanted
from meshhouse.repository.datatype import DataType
from meshhouse.repository.model import SourceTable

if TYPE_CHECKING:
    from pymysql.connections import Connection

_EXAMPLE = "mysql://user:password@host:3306/database"
_CONNECT_SECONDS, _SECONDS_TO_SEND = 10, 3_600
_SESSION = (
    "set session time_zone = '+00:00'", "set session sql_mode = ''",
    # The server would drop a reader that waits for a slow topic.
    f"set session net_write_timeout = {_SECONDS_TO_SEND}", "set session lock_wait_timeout = 60",
    "set session transaction isolation level repeatable read",
    "start transaction with consistent snapshot, read only",
)  # fmt: skip
_INTEGERS = ("tinyint", "smallint", "mediumint", "int", "bigint")
_CURSORS = {"datetime": "timestamp", "timestamp": "timestamptz", "date": "date"} | dict.fromkeys(
    _INTEGERS, "integer"
)
_WITH_ZEROS = ("timestamp", "date")
"""Kinds of cursor that may have a zero as day or month; MySQL's own `timestamp` cannot."""
_TIMES = {"datetime": False, "timestamp": True}
_BINARY = (
    "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "geometry", "point",
    "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection",
    "geomcollection", "vector",
)  # fmt: skip
_REASONS = {
    1044: "its user is refused by the database", 1045: "MySQL refuses the user or the password",
    1049: "its database does not exist", 2003: "nothing answers at its host and port",
    1251: "the server asks for a password in a form that PyMySQL does not know",
    1040: "the server has too many connections",
}  # fmt: skip
_FORMS = {"date": "%%Y-%%m-%%d"}
_FORM_OF_TIMES = "%%Y-%%m-%%d %%H:%%i:%%s.%%f"


@contextmanager
def opened(source: SourceTable) -> Iterator[MysqlTable]:
    """A table of MySQL, in a transaction that cannot write.

    Raises:
        MeshError: MySQL refuses something; without credentials and values.
    """
    import pymysql  # optional, and only for meshes that use MySQL

    arguments = _arguments(source.connection)
    try:
        connection = pymysql.connect(
            **arguments, connect_timeout=_CONNECT_SECONDS, charset="utf8mb4",
            conv=dict(pymysql.converters.encoders), cursorclass=pymysql.cursors.SSCursor,
            program_name="meshhouse",
        )  # fmt: skip
    except (pymysql.Error, OSError, RuntimeError) as error:
        reason = _REASONS.get(
            _code(error),
            "the connection cannot be used (its text is not shown, as it may hold a password)",
        )
        raise MeshError(f"cannot connect to MySQL with {source.connection}: {reason}.") from None
    with closing(connection):
        try:
            with connection.cursor() as statement:
                for each in _SESSION:
                    statement.execute(each)
            yield MysqlTable(connection, source)
        except pymysql.Error as error:
            raise MeshError(f"MySQL refused: {_said(error)}.") from None


class MysqlTable:
    """See `Table`."""

    def __init__(self, connection: Connection, source: SourceTable) -> None:
        self._connection = connection
        self._schema, _, self._table = source.name.partition(".")
        self._name = f"{_quoted(self._schema)}.{_quoted(self._table)}"
        self._types: dict[str, str] = {}

    def columns(self) -> Mapping[str, TableColumn]:
        """See `Table`."""
        rows = self._all(
            "select column_name, column_type, is_nullable from information_schema.columns "
            "where table_schema = %s and table_name = %s order by ordinal_position",
            (self._schema, self._table),
        )
        found = {}
        for name, kind, can_be_null in rows:
            self._types[name] = kind.lower()
            plain = _plain(kind)
            found[name] = TableColumn(
                kind, _CURSORS.get(plain), _TIMES.get(plain), can_be_null != "NO"
            )
        return found

    def now(self) -> datetime:
        """See `Table`."""
        [(found,)] = self._all("select cast(utc_timestamp(6) as char)")
        return datetime.fromisoformat(found)

    def aside(self, cursor: Cursor, latest: int) -> Aside:
        """See `Table`."""
        column = _quoted(cursor.column)
        has_zeros = cursor.kind in _WITH_ZEROS
        partial = f" or {_partial(cursor)}" if has_zeros else ""
        exact = f" and not {_partial(cursor)}" if has_zeros else ""
        bounds = [cursor.text(n) for n in (latest, cursor.highest, cursor.lowest, latest)]
        [(future, all_of_them)] = self._all(
            f"select sum({column} > {_bound(cursor)} and {column} <= {_bound(cursor)}{exact}), "
            f"count(*) from {self._name} where {column} is null or {column} < {_bound(cursor)} "
            f"or {column} > {_bound(cursor)}{partial}",
            bounds,
        )
        return Aside(int(all_of_them) - int(future or 0), int(future or 0))

    def rows(self, wanted: Wanted, since: int, latest: int) -> Generator[Row]:
        """See `Table`."""
        selected = [self._value(name) for name in wanted.columns]
        converters = [
            (f"{json.dumps(name, ensure_ascii=False)}:", _converter(self._types[name], kind))
            for name, kind in wanted.columns.items()
        ]
        selected.append(f"cast({_quoted(wanted.key)} as char)" if wanted.key else "null")
        place, condition, bounds = "null", "", []
        if wanted.cursor is not None:
            cursor = wanted.cursor
            column = _quoted(cursor.column)
            form = _FORMS.get(cursor.kind, _FORM_OF_TIMES)
            place = (
                f"cast({column} as char)" if cursor.kind == "integer"
                else f"date_format({column}, '{form}')"
            )  # fmt: skip
            exact = f"and not {_partial(cursor)} " if cursor.kind in _WITH_ZEROS else ""
            condition = (
                f"where {column} >= {_bound(cursor)} and {column} <= {_bound(cursor)} "
                f"{exact}order by {column}"
            )
            bounds = [cursor.text(since), cursor.text(latest)]
        sql = f"select {', '.join(selected)}, {place} from {self._name} {condition}"
        read, is_read = self._connection.cursor(), False
        try:
            read.execute(sql if bounds else sql.replace("%%", "%"), bounds or None)
            for *values, key, at in read:  # one by one, so memory is bounded
                members = (
                    name + ("null" if value is None else convert(value))
                    for (name, convert), value in zip(converters, values, strict=True)
                )
                yield Row(("{" + ",".join(members) + "}").encode(), key, at)
            is_read = True
        finally:
            if not is_read:
                self._abandon()
            read.close()

    def _abandon(self) -> None:
        """Ends the connection with rows unread; PyMySQL would read millions of them to the end."""
        result, self._connection._result = self._connection._result, None
        if result is not None:
            result.unbuffered_active = False
        self._connection._force_close()

    def _value(self, name: str) -> str:
        # MySQL shortens the text of a FLOAT to six digits, but not that of a DOUBLE.
        column = _quoted(name)
        return f"{column} + 0e0" if _plain(self._types[name]) == "float" else column

    def _all(self, sql: str, arguments: Any = None) -> list[tuple]:
        with self._connection.cursor() as statement:
            statement.execute(sql, arguments)
            return list(statement.fetchall())


def _arguments(variable: str) -> dict[str, Any]:
    """The connection that a variable holds.

    Raises:
        MeshError: it is not set, or not a URL of MySQL. The message never repeats it.
    """
    secret = os.environ.get(variable, "").strip()
    if not secret:
        raise MeshError(
            f"the environment variable {variable} is not set. Set it to the connection of MySQL, "
            f"such as {_EXAMPLE}."
        )
    try:
        url = urlsplit(secret)
        pairs = parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(url.query))
        options, port = dict(pairs), url.port
    except ValueError:
        url, options, port = urlsplit(""), {}, None
    is_known = options.keys() <= {"ssl_ca"} and all(options.values())
    if url.scheme not in ("mysql", "mariadb") or not url.hostname or not is_known:
        raise MeshError(
            f"{variable} is not a connection of MySQL. Write {_EXAMPLE}, with `%40` for an @ in "
            "the password, and `?ssl_ca=FILE` to check the server's certificate."
        )
    check_files(variable, options, ("ssl_ca",))
    found = {
        "host": url.hostname, "port": port or 3306, "user": unquote(url.username or ""),
        "password": unquote(url.password or ""), "database": unquote(url.path[1:]) or None,
    }  # fmt: skip
    if "ssl_ca" in options:
        found |= {
            "ssl_ca": options["ssl_ca"], "ssl_verify_cert": True, "ssl_verify_identity": True
        }  # fmt: skip
    return found


def _converter(stored: str, kind: DataType) -> Callable[[Any], str]:
    """How a value's text becomes JSON."""
    plain = _plain(stored)
    if plain == "bit":
        is_flag = kind.kind == "boolean" and stored == "bit(1)"
        return lambda value: (
            _flag(str(int.from_bytes(value))) if is_flag else str(int.from_bytes(value))
        )
    if plain in (*_INTEGERS, "year"):
        return _flag if kind.kind == "boolean" else lambda value: str(int(value))
    if plain == "decimal":
        return (lambda value: format(Decimal(value), "f")) if "zerofill" in stored else str
    if plain == "float":
        # The shortest text of 32 bits: 0.1, not 0.10000000149011612.
        return lambda value: str(np.float32(value))
    if plain == "double":
        return (lambda value: str(float(value))) if "zerofill" in stored else str
    if plain in _BINARY:
        return lambda value: json.dumps(value.hex())
    if plain == "timestamp":
        return lambda value: json.dumps(f"{value}+00:00")
    if kind.is_nested:
        return _document
    return lambda value: json.dumps(value, ensure_ascii=False)


def _flag(value: str) -> str:
    """MySQL's booleans are integers; other numbers stay numbers, which landing rejects."""
    return {"0": "false", "1": "true"}.get(value, value)


def _document(value: str) -> str:
    """JSON as it is; a text that is not JSON stays a text, which landing rejects."""
    try:
        json.loads(value, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return json.dumps(value, ensure_ascii=False)
    return value


def _refuse(text: str) -> None:
    raise ValueError(text)


def _plain(stored: str) -> str:
    """A type without its length and its marks."""
    found = re.match(r"[a-z]+", stored.lower())
    return found[0] if found else stored


def _bound(cursor: Cursor) -> str:
    """The parameter for a value of a cursor."""
    kind = {"integer": "signed", "date": "date"}.get(cursor.kind, "datetime(6)")
    return f"cast(%s as {kind})"


def _partial(cursor: Cursor) -> str:
    """Whether a date such as `2017-03-00` has a zero, which MySQL allows in some modes."""
    column = _quoted(cursor.column)
    return f"(month({column}) = 0 or dayofmonth({column}) = 0)"


def _quoted(name: str) -> str:
    """A quoted name in a statement with parameters."""
    return "`" + name.replace("`", "``").replace("%", "%%") + "`"


def _code(error: BaseException) -> int:
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0


def _said(error: Any) -> str:
    """What MySQL says, without the values of a row."""
    code = _code(error)
    if code in (1142, 1143, 1146, 1227, 1356):  # privileges and missing tables
        return " ".join(str(error.args[1]).split()).rstrip(".")
    return "the connection broke" if code in (0, 2006, 2013) else f"error {code}"
