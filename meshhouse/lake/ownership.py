"""Who may write which table: the last check before a table changes.

Belongs here: which schemas a domain owns, which names a table may have, and which folders belong
to a lake. Not here: checks of declarations (repository/, lint/), which run earlier.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from meshhouse.errors import MeshError, UsageError
from meshhouse.lake.object_store import is_remote
from meshhouse.lake.storage import PATH_PROPERTIES, plain_path

LEDGER = "meshhouse"
"""The ledger's schema, and the name of the only writer to it."""

_NAME = re.compile(r"(?!\.)[^/\\\x00-\x1f\x7f.]{1,255}")
_OWN_REMOTE_FOLDER = re.compile(r"/[^/]+/[^/]+-[0-9a-f]{32}(/|$)")


def check_name(relation: str) -> None:
    """Refuses a relation that is not `schema.table`, or whose folder could be outside the lake.

    Raises:
        UsageError: the relation cannot name a table.
    """
    parts = relation.split(".")
    if len(parts) != 2 or not all(_NAME.fullmatch(part) for part in parts):
        raise UsageError(
            f"{relation!r} cannot name a table. Write `schema.table`; neither part may be empty "
            "or hold a dot, a slash, a backslash or a control character."
        )


def owns_schema(domain: str, relation: str) -> bool:
    """Whether a table belongs to a domain; `relation` is production's name of the table."""
    return relation.partition(".")[0] in (
        domain,
        f"{domain}_raw",
        f"{domain}_build",
        f"{domain}_retired",
    )


def check_writer(writer: str | None, relation: str) -> None:
    """Refuses a writer that does not own a table.

    Args:
        writer: a domain, or `LEDGER`; None if no domain writes.
        relation: the table.

    Raises:
        UsageError: the table belongs to another domain or to the ledger.
    """
    check_name(relation)
    is_ledger = relation.partition(".")[0] == LEDGER
    if is_ledger != (writer == LEDGER) and (is_ledger or writer is not None):
        raise UsageError(
            f"{relation} was not written: schema `{LEDGER}` is the ledger's, which only the mesh "
            "itself writes. Use another schema."
        )
    if writer not in (None, LEDGER) and not owns_schema(str(writer), relation):
        raise UsageError(
            f"{relation} was not written: domain `{writer}` owns the schemas {writer}, "
            f"{writer}_raw and {writer}_build only. Declare the table in one of these."
        )


def check_recorded(relations: Iterable[str], domains: Iterable[str | None]) -> None:
    """Refuses changes without an entry of the ledger for their domain.

    Args:
        relations: the tables that change.
        domains: the domains that the entries name; empty if the commit has no entries.

    Raises:
        UsageError: a table does not belong to any domain of the entries.
    """
    named = sorted({each for each in domains if each})
    for relation in relations:
        owner = next((each for each in named if owns_schema(each, relation)), None)
        check_writer(owner or (named[0] if named else None), relation)


def is_inside(location: str, folders: Iterable[Path]) -> bool:
    """Whether a local location is in one of the folders, after links and `..` are resolved."""
    path = Path(plain_path(location)).resolve()
    return any(path.is_relative_to(folder) for folder in folders)


def check_folders(
    relation: str, location: str, properties: Mapping[str, str], folders: Iterable[Path]
) -> None:
    """Refuses a table whose present or future files are outside its lake.

    Raises:
        MeshError: a folder of the table is outside the lake.
    """
    folders = list(folders)
    places = [location, *(properties[key] for key in PATH_PROPERTIES if key in properties)]
    for place in places:
        owned = _OWN_REMOTE_FOLDER.search(place) if is_remote(place) else is_inside(place, folders)
        if not owned:
            raise MeshError(
                f"{relation} has its files in {place}, which is not in this lake "
                f"({folders[0]}). Nothing was changed. `mesh doctor` shows what is damaged; "
                "restore the table from a backup."
            )
