"""The platform's connections to Snowflake, and its quoting of names and values.

Belongs here: settings from the environment, key-pair authentication, and a one-line message for
each of Snowflake's errors. Not here: statements of one purpose (the other modules of this room).

dbt opens its own connections from the same settings (profiles/profiles.yml).
"""

from __future__ import annotations

import json
import os
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshhouse.addresses import refuse_credentials
from meshhouse.engines.protocol import RUN_VARIABLE
from meshhouse.errors import MeshError, UsageError
from meshhouse.repository.environment import current_environment

if TYPE_CHECKING:
    import pyarrow as pa

_REQUIRED = (
    "SNOWFLAKE_ACCOUNT",
    "SNOWFLAKE_USER",
    "SNOWFLAKE_PRIVATE_KEY_FILE",
    "SNOWFLAKE_DATABASE",
)
_FIXED = 0
"""The driver's code for numbers with a precision and a scale."""
_INT64_DIGITS, _MOST_DIGITS = 18, 38
_INSTALL = "`make snowflake`"


class Crowded(MeshError):
    """Snowflake refuses a statement because too many others wait for the same lock."""


def connect(domain: str = "") -> Session:
    """Returns this process's connection for one domain.

    Its statements use the domain's warehouse, so that their cost can be attributed:
    `SNOWFLAKE_WAREHOUSE_<DOMAIN>` if that is set, else `SNOWFLAKE_WAREHOUSE`.

    Raises:
        UsageError: a setting or a package is missing, or the key cannot be read.
        MeshError: Snowflake does not answer, or refuses the login.
    """
    settings = {**_settings(), "warehouse": warehouse_of(domain)}
    return _connected(tuple(sorted(settings.items())), domain)


def private_key_file() -> Path:
    """Path of the user's private key."""
    return Path(os.environ.get("SNOWFLAKE_PRIVATE_KEY_FILE", "")).expanduser()


def warehouse_of(domain: str) -> str:
    """The warehouse for a domain's statements; empty for the Snowflake user's default."""
    shared = os.environ.get("SNOWFLAKE_WAREHOUSE", "")
    return os.environ.get(f"SNOWFLAKE_WAREHOUSE_{domain.upper()}", shared) if domain else shared


@cache
def _connected(settings: tuple[tuple[str, str], ...], domain: str) -> Session:
    return Session(dict(settings), domain)


def _settings() -> dict[str, str]:
    missing = [name for name in _REQUIRED if not os.environ.get(name)]
    if missing:
        raise UsageError(
            f"Target `snowflake` needs {', '.join(missing)} in the environment. "
            "See docs/targets/snowflake.md."
        )
    for name in ("SNOWFLAKE_ACCOUNT", "SNOWFLAKE_HOST"):
        instead = "Write the account alone, and set SNOWFLAKE_USER and SNOWFLAKE_PRIVATE_KEY_FILE."
        refuse_credentials(name, os.environ.get(name, ""), instead)
    key_file = private_key_file()
    if not key_file.is_file():
        raise UsageError(
            f"There is no private key at {key_file}. Set SNOWFLAKE_PRIVATE_KEY_FILE to the private "
            "key whose public key is set for the Snowflake user."
        )
    settings = {
        "account": os.environ["SNOWFLAKE_ACCOUNT"],
        "user": os.environ["SNOWFLAKE_USER"],
        "private_key_file": str(key_file),
        "database": os.environ["SNOWFLAKE_DATABASE"].upper(),
    }
    for name in ("role", "host", "port", "protocol"):
        if value := os.environ.get(f"SNOWFLAKE_{name.upper()}"):
            settings[name] = value
    return settings


class Session:
    """One connection to Snowflake. Threads can share it; a lock lets one of them work at a time."""

    def __init__(self, settings: Mapping[str, str], domain: str) -> None:
        """See `connect`."""
        self.database = settings["database"]
        self.warehouse = settings.get("warehouse", "")
        self._domain = domain
        self._tag: dict[str, str] = {}
        self._turn = threading.RLock()
        self._in_transaction = False
        self._lost = False
        """Whether the connection is unusable: it was closed, or a rollback on it failed."""
        self._settings = dict(settings)
        self.connection = _open(settings)
        """The driver's connection, for libraries that need one."""

    def name(self, *parts: str) -> str:
        """A quoted name in this database: `name('sales', 'orders')`.

        It is in upper case, because Snowflake stores unquoted names so.
        """
        return ".".join(quote(part) for part in (self.database, *parts))

    def relation(self, relation: str) -> str:
        """The quoted name of `schema.table` in this database."""
        return self.name(*relation.split("."))

    def tag(self, **about: str) -> None:
        """Tags the next statements in Snowflake's query history.

        Args:
            about: what the statements are for, such as the product; database, environment, domain
                and run are added. Several meshes can share an account, and thus a history.
        """
        tag = {
            "database": self.database,
            "environment": current_environment(),
            "domain": self._domain,
            "run": os.environ.get(RUN_VARIABLE, ""),
            **about,
        }
        tag = {key: value for key, value in tag.items() if value}
        if tag != self._tag:
            self.execute(_tagging(tag))
            self._tag = tag

    def execute(self, statement: str, *values: object) -> Any:
        """Runs one statement, with `?` for each value, and returns the cursor.

        A session that Snowflake has ended is replaced, unless it was in a transaction.

        Raises:
            MeshError: Snowflake refuses the statement; its message is put into one line.
        """
        from snowflake.connector.errors import Error

        with self._turn, explained():
            if not self._lost:
                try:
                    return self.connection.cursor().execute(statement, values or None)
                except Error as error:
                    # Snowflake reports this before it runs anything, so a second try is safe.
                    self._lost = error.errno in _ENDED
                    if not self._lost:
                        raise
            if self._in_transaction:
                raise MeshError("The connection to Snowflake was lost. Run the same command again.")
            self._open_again()
            return self.connection.cursor().execute(statement, values or None)

    def _open_again(self) -> None:
        self.connection = _open(self._settings)
        self._lost = False
        if self._tag:
            self.connection.cursor().execute(_tagging(self._tag))

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """All rows of a query.

        Raises:
            MeshError: Snowflake refuses the query, or its rows do not arrive.
        """
        with self._turn, explained():
            return self.execute(statement, *values).fetchall()

    def arrow(self, statement: str) -> Iterator[pa.Table]:
        """Yields a query's result as one or more Arrow tables of the same schema.

        Raises:
            MeshError: Snowflake refuses the query, rows do not arrive, or a number is too large.
        """
        cursor = self.execute(statement)
        schema = None
        with explained():
            for piece in cursor.fetch_arrow_batches(force_microsecond_precision=True):
                schema = schema or _schema(piece, cursor.description)
                yield _cast(piece, schema)
            if schema is None:
                empty = cursor.fetch_arrow_all(force_return_table=True)
                yield _cast(empty, _schema(empty, cursor.description))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commits all statements of the block together, or none of them.

        Use only DML inside: any other statement ends the transaction in Snowflake.
        """
        with self._turn:
            self.execute("begin")
            self._in_transaction = True
            try:
                yield
                self.execute("commit")
            except BaseException:
                self._roll_back()
                raise
            finally:
                self._in_transaction = False

    def _roll_back(self) -> None:
        try:
            self.execute("rollback")
        except BaseException:  # noqa: BLE001 - what failed before is raised
            # The next statement on this connection could commit half of the work. Closing it
            # makes Snowflake roll back.
            self._lost = True
            with suppress(Exception):
                self.connection.close()


def quote(identifier: str) -> str:
    """A quoted identifier in upper case, whatever characters it holds."""
    return '"' + identifier.upper().replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string literal. Not `sql.literal`: Snowflake reads backslashes as escapes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _tagging(tag: Mapping[str, str]) -> str:
    return f"alter session set query_tag = {literal(json.dumps(tag))}"


def _open(settings: Mapping[str, str]) -> Any:
    try:
        with warnings.catch_warnings():
            # The driver's bundled copy of requests warns that installed packages are too new.
            warnings.simplefilter("ignore")
            from snowflake import connector
            from snowflake.connector.errors import Error
    except ImportError as error:
        raise UsageError(
            f"Target `snowflake` needs packages that are not installed: run {_INSTALL}."
        ) from error
    passphrase = os.environ.get("SNOWFLAKE_PRIVATE_KEY_PASSPHRASE")
    options: dict[str, Any] = {key: value for key, value in settings.items() if value}
    if passphrase:
        options["private_key_file_pwd"] = passphrase
    try:
        return connector.connect(
            **options,
            authenticator="SNOWFLAKE_JWT",
            paramstyle="qmark",
            application="Meshhouse",
            login_timeout=60,
            # Snowflake's default, stated because an account or a user can change it.
            autocommit=True,
            # No network timeout: the driver would also cancel statements that take longer.
            arrow_number_to_decimal=True,
            session_parameters={
                "TIMEZONE": "UTC",
                "TIMESTAMP_INPUT_FORMAT": "AUTO",
                "TIMESTAMP_TYPE_MAPPING": "TIMESTAMP_NTZ",
                "LOCK_TIMEOUT": 1800,
                "CLIENT_TELEMETRY_ENABLED": False,
            },
            client_session_keep_alive=True,
        )
    except (Error, OSError, TypeError, ValueError) as error:
        # The driver's errors never contain the key itself.
        where = settings.get("host") or settings["account"]
        raise MeshError(
            f"Snowflake ({where}) refused the login of {settings['user']}: {_line(error)}. Check "
            "SNOWFLAKE_ACCOUNT, SNOWFLAKE_USER, SNOWFLAKE_PRIVATE_KEY_FILE and (for an encrypted "
            "key) SNOWFLAKE_PRIVATE_KEY_PASSPHRASE, and whether the public key is set for the user."
        ) from error


def _schema(piece: pa.Table, description: Sequence[Any]) -> pa.Schema:
    """One schema for all pieces of a result: the driver narrows the integers of each piece."""
    import pyarrow as pa

    fields = [
        field.with_type(_number(column.precision, column.scale))
        if column.type_code == _FIXED
        else field
        for field, column in zip(piece.schema, description, strict=True)
    ]
    return pa.schema([field.with_nullable(True).remove_metadata() for field in fields])


def _number(precision: int, scale: int) -> pa.DataType:
    import pyarrow as pa

    # A `bigint`, or an integer without a declared precision, has 38 digits in Snowflake.
    if scale == 0 and (precision <= _INT64_DIGITS or precision == _MOST_DIGITS):
        return pa.int64()
    return pa.decimal128(precision, scale)


def _cast(piece: pa.Table, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    try:
        return piece.cast(schema)
    except pa.ArrowInvalid as error:
        raise MeshError(
            f"A number in Snowflake's result is too large: {_line(error)}. Cast its column to "
            "`number(37, 0)` in the query."
        ) from error


@contextmanager
def explained() -> Iterator[None]:
    """Turns the driver's errors, also while rows are fetched, into a one-line message.

    Raises:
        MeshError: the driver failed; the message contains Snowflake's own.
    """
    from snowflake.connector.errors import Error

    try:
        yield
    except Error as error:
        kind = Crowded if error.errno == _CROWDED else MeshError
        raise kind(_explained(error)) from error


def _explained(error: Exception) -> str:
    message = _line(error)
    number = getattr(error, "errno", None)
    if number in _NO_WAREHOUSE:
        return (
            f"Snowflake has no running warehouse for this statement: {message}. Set "
            "SNOWFLAKE_WAREHOUSE to one with auto-resume, or resume it: "
            "`alter warehouse <name> resume`."
        )
    return f"Snowflake refused a statement: {message}."


_ENDED = (390111, 390112, 390114, 250002)
"""Error codes: session does not exist; session expired; token expired; connection closed."""
_CROWDED = 625
_NO_WAREHOUSE = (606, 90073, 90064)
"""Error codes: no active warehouse; suspended by a resource monitor; cannot be resumed."""


def _line(error: Exception) -> str:
    message = getattr(error, "raw_msg", None) or getattr(error, "msg", None) or str(error)
    return " ".join(str(message).split()).rstrip(".")
