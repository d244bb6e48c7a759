"""Lists the environments beside production, and drops one.

Belongs here: summaries of environments, and dropping one. Not here: how an engine stores
them (engines/), or their names (repository/environment.py).
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from meshhouse.engines import Engine
from meshhouse.errors import MeshError, UsageError
from meshhouse.lake.ledger_readers import LOCK
from meshhouse.locks import lock_if_free
from meshhouse.repository import Repository
from meshhouse.repository.environment import PRODUCTION, environment_name, workspace
from meshhouse.runs.history import effective_publications, past_publications


@dataclass(frozen=True)
class Environment:
    """A summary of the publications in one environment."""

    name: str
    products: tuple[str, ...]
    """`domain.product` of the products published in it; others are read from production."""
    newest: datetime | None
    """Time of the newest publication."""
    rows: int
    bytes: int


def environments(repository: Repository, engine: Engine) -> list[Environment]:
    """Every environment that is not empty, by name, without production."""
    return [_summed_up(engine, name) for name in _names(repository, engine)]


def drop(repository: Repository, engine: Engine, name: str) -> None:
    """Removes everything of an environment: tables, files, builds, ledgers and locks.

    Consumers lose all tables at once. If the removal of files is interrupted after that,
    dropping the environment again finishes it.

    Raises:
        UsageError: the environment is production, or is empty.
        MeshError: a process is using the environment, or a file cannot be removed.
    """
    name = known_environment(repository, engine, name)
    own = workspace(repository.home, name)
    with ExitStack() as held:
        # Lock all domains, also those that never ran here: a run could start meanwhile.
        locks = own / "locks"
        runs = {locks / f"{domain}.run" for domain in repository.domain_names}
        # An open connection does not keep an environment: its reader loses the tables.
        files = {each for each in locks.rglob("*") if each.is_file()}
        for path in sorted({*runs, *files} - {locks / LOCK}):
            holder = held.enter_context(lock_if_free(path))
            if holder:
                raise MeshError(
                    f"Process {holder} is using the environment {name} ({path.stem}). "
                    "Nothing was dropped. Stop the process or wait for it, then run this again."
                )
        try:
            engine.drop(name)
            for domain in repository.domain_names:
                remove(workspace(repository.folder(domain) / "target", name))
            remove(own)  # last: while this folder exists, the environment can be dropped again
        except OSError as error:
            what = f"{error.strerror}: {error.filename}" if error.filename else error
            raise MeshError(
                f"The environment {name} was dropped only in part: {what}. "
                "If another process is using it, wait for its end. Then drop it again."
            ) from error


def known_environment(repository: Repository, engine: Engine, name: str) -> str:
    """The normalised name of an environment that is not empty.

    Raises:
        UsageError: the name is production's, or the environment is empty.
    """
    if name.strip().lower() in ("", PRODUCTION):
        raise UsageError("Production cannot be dropped. Name another environment.")
    wanted = environment_name(name, "NAME")
    known = _names(repository, engine)
    if wanted not in known:
        listing = f"Environments: {', '.join(known)}." if known else "There is none."
        raise UsageError(f"There is no environment `{wanted}`. {listing}")
    return wanted


def remove(folder: Path) -> None:
    """Removes a folder and its content, if it exists."""
    if folder.exists():
        shutil.rmtree(folder)


def _names(repository: Repository, engine: Engine) -> list[str]:
    folders = (repository.home / "environments").glob("*")
    return sorted({*engine.environments(), *(each.name for each in folders)})


def _summed_up(engine: Engine, name: str) -> Environment:
    history = past_publications(engine.ledger_of(name))
    standing = {product: effective_publications(each) for product, each in history.own.items()}
    shown = {product: each[-1] for product, each in standing.items() if each}
    newest = max(shown.values(), key=lambda entry: entry["number"], default=None)
    return Environment(
        name=name,
        products=tuple(sorted(shown)),
        newest=newest["finished_at"] if newest else None,
        rows=sum(entry["rows"] for entry in shown.values()),
        bytes=sum(entry["bytes"] for entry in shown.values()),
    )
