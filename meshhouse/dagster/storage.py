"""Dagster's event log in SQLite, with its connections kept open.

Belongs here: what makes a run in this process cheap to record. Not here: another place
or format; the web page reads the same files with Dagster's own storage.

For every event Dagster opens a database, compiles its statements and waits for the disk. That
takes 20 to 40 ms, and a run of all domains has about 400 events.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sql import (
    ALEMBIC_SCRIPTS_LOCATION,
    Config,
    ScriptDirectory,
    create_engine,
)
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import StaticPool

_LOCKED_FOR_SECONDS = 60
_plain_scripts = ScriptDirectory.from_config


def _scripts(config: Config) -> ScriptDirectory:
    """Alembic's scripts, Dagster's read once a process.

    Dagster compares the version of each database with its 80 scripts. To load them for each of five
    databases took 5 % of a small run.
    """
    if config.get_main_option("script_location") == ALEMBIC_SCRIPTS_LOCATION:
        return _dagsters_scripts()
    return _plain_scripts(config)


@cache
def _dagsters_scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", ALEMBIC_SCRIPTS_LOCATION)
    return _plain_scripts(config)


ScriptDirectory.from_config = _scripts  # type: ignore[method-assign]


class CannotRecord(BaseException):
    """An event cannot be written; the message is the database's.

    No `Exception`: Dagster would print one on the terminal, in its own words, and go on to
    the next event. Like Ctrl-C, this ends the run.
    """


class OpenEventLog(SqliteEventLogStorage):
    """Dagster's SQLite event log; each of its files is opened once a process."""

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        self._engines: dict[str, Engine] = {}
        self._tables: set[str] = set()
        super().__init__(base_dir, inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        try:
            with self._db_lock, self._engine(shard).begin() as connection:
                yield connection
        except OperationalError as error:
            raise CannotRecord(str(error.orig)) from error

    def _engine(self, shard: str) -> Engine:
        engine = self._engines.get(shard)
        if engine is None:
            engine = create_engine(
                self.conn_string_for_shard(shard),
                poolclass=StaticPool,
                connect_args={"timeout": _LOCKED_FOR_SECONDS, "check_same_thread": False},
            )
            event.listen(engine, "connect", _wait_for_no_disk)
            self._initdb(engine)
            self._engines[shard] = engine
        return engine

    def has_table(self, table_name: str) -> bool:
        """Whether the index has a table.

        Dagster asks for each event of a check, and makes a connection to find out, which took 5 %
        of a run. A table that exists stays.
        """
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def dispose(self) -> None:
        """Closes the files."""
        super().dispose()
        for engine in self._engines.values():
            engine.dispose()
        self._engines.clear()


class OpenSqliteStorage(DagsterSqliteStorage):
    """Dagster's default storage, in the same files, with its event log kept open."""

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        super().__init__(base_dir, inst_data)
        self._event_log_storage = OpenEventLog(str(Path(base_dir) / "history" / "runs"))

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "OpenSqliteStorage":
        """Called by Dagster with what the instance's settings say."""
        return cls.from_local(inst_data=inst_data, **config_value)


def _wait_for_no_disk(connection: Any, record: object) -> None:
    """A power cut may cost the last events of a run's log, never the log or the data."""
    connection.execute("pragma synchronous = normal")
