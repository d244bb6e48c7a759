"""A catalog service: Iceberg's REST protocol.

Belongs here: reading metadata locations from a service, changing many tables with one request,
and messages for the service's errors. Not here: staging states (catalog.py), or the difference
between two states (changes.py).

A service is configured as a pyiceberg catalog called `mesh`: its address is in
`PYICEBERG_CATALOG__MESH__URI`, other properties are in similar variables or in `.pyiceberg.yaml`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from meshhouse.errors import MeshError, UsageError
from meshhouse.lake import object_store, storage
from meshhouse.ledger import Staged

if TYPE_CHECKING:
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table
    from pyiceberg.table.metadata import TableMetadata

NAME = "mesh"
URI = "PYICEBERG_CATALOG__MESH__URI"
_CREDENTIALS = "PYICEBERG_CATALOG__MESH__CREDENTIAL or __TOKEN"
_PREFIX = "PYICEBERG_"
_ATTEMPTS = 5
_LOOKS = 10
_THREADS = 8
_SECONDS = (10, 60)
"""Limits for connecting, and for an answer."""


class ServiceFailed(MeshError):
    """The catalog service is unreachable or refuses."""


def is_configured() -> bool:
    """Whether the mesh's catalog is a service and not a file.

    Raises:
        UsageError: the variable does not hold an address.
    """
    address = os.environ.get(URI)
    if not address:
        return False
    if urlsplit(address).scheme not in ("http", "https") or not urlsplit(address).hostname:
        raise UsageError(f"{URI} is not an address of a REST catalog. Write `https://host/path`.")
    return True


def service() -> CatalogService | None:
    """The configured service; None if the mesh's catalog is a file.

    Raises:
        UsageError: the variable does not hold an address.
        ServiceFailed: the service is unreachable or refuses.
    """
    if not is_configured():
        return None
    known = {name: text for name, text in os.environ.items() if name.startswith(_PREFIX)}
    return _connected(tuple(sorted(known.items())))


@lru_cache(maxsize=4)
def _connected(variables: tuple[tuple[str, str], ...]) -> CatalogService:
    from pyiceberg.utils.config import Config

    properties = Config().get_catalog_config(NAME) or {}
    return CatalogService({str(name): text for name, text in properties.items()})


class CatalogService:
    """The tables of one catalog of a service."""

    def __init__(self, properties: Mapping[str, Any]) -> None:
        """Connects, and reads the settings that the service prescribes.

        Raises:
            ServiceFailed: the service is unreachable or refuses.
        """
        parts = urlsplit(str(properties["uri"]))
        port = f":{parts.port}" if parts.port else ""
        self.address = f"{parts.scheme}://{parts.hostname}{port}"
        """For messages: without credentials and path."""
        self._unconfirmed: set[str] = set()
        with self._explained():
            self._catalog = _impatient_catalog(properties)

    def states(self) -> dict[str, str]:
        """`schema.table` -> metadata location, consistent within each schema.

        The protocol reads one table at a time. So a schema is read until two reads in a row agree:
        then all its tables were in this state at the same time, between the two reads.
        """
        with self._explained(), ThreadPoolExecutor(_THREADS) as pool:
            schemas = [each[0] for each in self._catalog.list_namespaces() if len(each) == 1]
            found: dict[str, str] = {}
            for tables in pool.map(self._schema, schemas):
                found.update(tables)
        return found

    def _schema(self, schema: str) -> dict[str, str]:
        before = None
        for _ in range(_LOOKS):
            tables = {}
            for identifier in self._catalog.list_tables((schema,)):
                table = self._load(".".join(identifier))
                if table is not None:
                    tables[".".join(identifier)] = table.metadata_location
            if tables == before:
                return tables
            before = tables
        return before or {}

    def state(self, relation: str) -> str | None:
        """The metadata location of a table; None if there is no such table."""
        with self._explained():
            table = self._load(relation)
        return table.metadata_location if table is not None else None

    def _load(self, relation: str) -> Table | None:
        from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError

        try:
            return self._catalog.load_table(tuple(relation.split(".")))
        except (NoSuchTableError, NoSuchNamespaceError):
            return None

    def new_table(
        self, relation: str, schema: Schema, properties: Mapping[str, str], location: str | None
    ) -> TableMetadata:
        """The first metadata of a table that is not visible yet.

        Args:
            relation: `schema.table`.
            schema: the table's columns.
            properties: the table's properties.
            location: the table's folder; by default, the service chooses one.
        """
        from meshhouse.lake.pyiceberg_private import metadata_before

        identifier = tuple(relation.split("."))
        with self._explained():
            self._make_namespace(identifier[0])
            made = self._catalog.create_table_transaction(
                identifier, schema, location=location, properties=dict(properties)
            )
        return metadata_before(made)

    def _make_namespace(self, schema: str) -> None:
        from pyiceberg.exceptions import NamespaceAlreadyExistsError

        if (schema,) in self._catalog.list_namespaces():
            return
        try:
            self._catalog.create_namespace((schema,))
        except NamespaceAlreadyExistsError:
            return  # another process created it meanwhile

    def forget(self, is_meant: Callable[[str], bool]) -> None:
        """Removes the tables of the schemas that `is_meant` accepts; files stay.

        One table after another: the protocol cannot drop several at once.
        """
        relations = [each for each in self.states() if is_meant(each.partition(".")[0])]
        with self._explained():
            for relation in relations:
                self._catalog.drop_table(tuple(relation.split(".")))
            for schema in sorted({relation.partition(".")[0] for relation in relations}):
                self._catalog.drop_namespace((schema,))

    def forget_tables(self, relations: Collection[str]) -> None:
        """Removes tables, one after another; files stay."""
        with self._explained():
            for relation in relations:
                self._catalog.drop_table(tuple(relation.split(".")))

    def move(self, changes: Sequence[Staged]) -> list[Staged]:
        """Makes all changes visible with one request, or none of them.

        Returns:
            The changes whose table another writer changed first; if any, nothing became visible.

        Raises:
            ServiceFailed: the service is unreachable, refuses, or gave no clear answer.
        """
        from meshhouse.lake.changes import requirements, updates

        named = [each for each in changes if each.renamed_to is not None]
        self._check_can_rename(named)
        for _ in range(_ATTEMPTS):
            lost = [each for each in changes if self.state(each.relation) != each.base]
            if lost:
                return lost
            requests = []
            for change in changes:
                base = _metadata(change.base) if change.base else None
                changed = updates(base, _metadata(change.state))
                # A table that does not change must not change meanwhile either.
                if changed or base is not None:
                    schema, _, table = change.relation.partition(".")
                    identifier = {"namespace": [schema], "name": table}
                    requests.append({"identifier": identifier, "updates": changed,
                                     "requirements": requirements(base)})  # fmt: skip
            if not requests or self._commit({"table-changes": requests}, changes):
                self._rename(named)
                return []
        return list(changes)

    def _check_can_rename(self, changes: Sequence[Staged]) -> None:
        from meshhouse.lake.pyiceberg_private import can_rename

        names = [each.relation for each in changes if each.renamed_to]
        if names and not can_rename(self._catalog):
            raise ServiceFailed(
                f"The catalog service at {self.address} cannot rename tables, so {names[0]} cannot "
                "be retired or come back. Nothing was changed. Use a service that can."
            )

    def _rename(self, changes: Sequence[Staged]) -> None:
        """Gives tables other names or takes names away, one by one: a transaction cannot.

        If the service fails meanwhile, `runs.retirement.complete` does the rest later.
        """
        from pyiceberg.exceptions import NoSuchTableError, TableAlreadyExistsError

        with self._explained():
            for change in changes:
                old, new = change.relation.split("."), str(change.renamed_to).split(".")
                try:
                    if not change.renamed_to:
                        self._catalog.drop_table(tuple(old))
                        continue
                    self._make_namespace(new[0])
                    self._catalog.rename_table(tuple(old), tuple(new))
                except NoSuchTableError:
                    continue  # another process did it
                except TableAlreadyExistsError as error:
                    raise ServiceFailed(
                        f"{change.relation} keeps its name: there is a table {'.'.join(new)} "
                        f"already. Remove that from the service at {self.address}, then run the "
                        "same command again."
                    ) from error

    def _commit(self, request: dict[str, Any], changes: Sequence[Staged]) -> bool:
        """Whether the service applied a request; False if another writer changed a table first."""
        import requests

        from meshhouse.lake.pyiceberg_private import session_of

        unclear = f"The catalog service at {self.address} gave no clear answer"
        try:
            address = self._catalog.url("transactions/commit")
            answer = session_of(self._catalog).post(address, json=request)
        except requests.exceptions.ConnectionError as error:
            if isinstance(error, requests.exceptions.ConnectTimeout) or "refused" in str(error):
                raise ServiceFailed(self._away()) from error
            return self._done_after_all(changes, unclear)
        except requests.exceptions.RequestException:
            return self._done_after_all(changes, unclear)
        if answer.ok:
            return True
        if answer.status_code == 409:
            return False
        if answer.status_code >= 500:
            return self._done_after_all(changes, f"{unclear} ({answer.status_code})")
        if answer.status_code in (401, 403, 419):
            raise ServiceFailed(self._refuses())
        if answer.status_code in (404, 405, 501) and "NoSuch" not in answer.text:
            raise ServiceFailed(
                f"The catalog service at {self.address} cannot change several tables at once "
                "(`transactions/commit`), which publications need. Nothing was changed. Use a "
                "service that can, such as Nessie, Polaris or Lakekeeper."
            )
        raise ServiceFailed(
            f"The catalog service at {self.address} refused the change "
            f"({answer.status_code}: {_reason(answer)}). Nothing was changed."
        )

    def _done_after_all(self, changes: Sequence[Staged], unclear: str) -> bool:
        """Whether a request without a clear answer was applied, by the tables' snapshots."""
        self._unconfirmed.update(each.state for each in changes)
        with self._explained():
            tables = {each.relation: self._load(each.relation) for each in changes}
        now = {
            relation: table.metadata.current_snapshot_id if table else None
            for relation, table in tables.items()
        }
        if all(now[each.relation] == each.snapshot_id for each in changes):
            return True
        raise ServiceFailed(
            f"{unclear}. The change may be done or not. Check "
            "the service, then run the same command again."
        )

    def shows(self, change: Staged) -> bool:
        """Whether readers see a staged state, or may still see it after an unclear answer."""
        if change.state in self._unconfirmed:
            return True
        with self._explained():
            table = self._load(change.relation)
        return table is not None and any(
            each.snapshot_id == change.snapshot_id for each in table.metadata.snapshots
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns a service's errors into a message of one line without secrets."""
        import requests
        from pydantic import ValidationError
        from pyiceberg.exceptions import (
            AuthorizationExpiredError,
            ForbiddenError,
            OAuthError,
            RESTError,
            UnauthorizedError,
        )

        try:
            yield
        except requests.exceptions.RequestException as error:
            raise ServiceFailed(self._away()) from error
        except (
            AuthorizationExpiredError,
            ForbiddenError,
            OAuthError,
            UnauthorizedError,
        ) as error:
            raise ServiceFailed(self._refuses()) from error
        except (RESTError, ValidationError) as error:
            raise ServiceFailed(
                f"The catalog service at {self.address} failed ({type(error).__name__}). Check "
                f"{URI} and the service's log; then run the same command again."
            ) from error

    def _away(self) -> str:
        return (
            f"The catalog service at {self.address} does not answer. Check the network and "
            f"{URI}; then run the same command again."
        )

    def _refuses(self) -> str:
        return (
            f"The catalog service at {self.address} refuses access. Check {_CREDENTIALS} and "
            "the permissions of that user; then run the same command again."
        )


def _impatient_catalog(properties: Mapping[str, Any]) -> Any:
    """A pyiceberg REST catalog with timeouts; pyiceberg sets none."""
    from requests.adapters import HTTPAdapter

    from meshhouse.lake.pyiceberg_private import rest_catalog

    class Impatient(HTTPAdapter):
        def send(self, request: Any, **options: Any) -> Any:
            return super().send(request, **{**options, "timeout": _SECONDS})

    def prepare(session: Any) -> None:
        session.mount("http://", Impatient())
        session.mount("https://", Impatient())

    return rest_catalog(NAME, properties, prepare)


def _metadata(location: str) -> TableMetadata:
    from pyiceberg.serializers import FromInputFile

    with object_store.explained():
        return FromInputFile.table_metadata(storage.file_io(location).new_input(location))


def _reason(answer: Any) -> str:
    try:
        text = str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return "it gave no reason"
    return " ".join(text.split())[:300].rstrip(".")
