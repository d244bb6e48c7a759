"""What environments hold beside production, and how they go away again.

Belongs here: summing up environments, and dropping one. Does not: how an engine stores
them (engines/), or what they are called (repository/environment.py).
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from meshhouse.engines import Engine
from meshhouse.errors import MeshError, UsageError
from meshhouse.locks import lock_if_free
from meshhouse.repository import Repository
from meshhouse.repository.environment import PRODUCTION, environment_name, workspace
from meshhouse.runs.history import past_publications, standing_publications


@dataclass(frozen=True)
class Environment:
    """What was published in one environment."""

    name: str
    products: tuple[str, ...]
    """`domain.product` of those that it shows instead of production's."""
    newest: datetime | None
    """When the newest of them was published."""
    rows: int
    bytes: int


def environments(repository: Repository, engine: Engine) -> list[Environment]:
    """Every environment that holds something, by name; production is none of them."""
    return [_summed_up(engine, name) for name in _names(repository, engine)]


def drop(repository: Repository, engine: Engine, name: str) -> None:
    """Removes all that an environment has: tables, files, builds, ledgers and locks.

    Consumers lose all of it at one moment. What is stopped after that is finished by
    dropping it once more.

    Raises:
        UsageError: it is production, or holds nothing.
        MeshError: somebody is at work in it, or a file cannot be removed.
    """
    name = known_environment(repository, engine, name)
    own = workspace(repository.home, name)
    with ExitStack() as held:
        # Also of domains that were never run in it: they could begin meanwhile.
        runs = {own / "locks" / f"{domain}.run" for domain in repository.domain_names}
        for path in sorted({*runs, *(own / "locks").glob("*")}):
            holder = held.enter_context(lock_if_free(path))
            if holder:
                raise MeshError(
                    f"Process {holder} is at work in the environment {name} ({path.stem}). "
                    "Nothing was dropped. Stop it or wait for its end, then run this again."
                )
        try:
            engine.drop(name)
            for domain in repository.domain_names:
                remove(workspace(repository.folder(domain) / "target", name))
            remove(own)  # last: as long as it is there, the environment can be dropped again
        except OSError as error:
            what = f"{error.strerror}: {error.filename}" if error.filename else error
            raise MeshError(
                f"The environment {name} is not dropped as a whole: {what}. "
                "If somebody has begun to work in it, wait for its end; then drop it once more."
            ) from error


def known_environment(repository: Repository, engine: Engine, name: str) -> str:
    """The name of an environment that holds something.

    Raises:
        UsageError: it is production's, or holds nothing.
    """
    if name.strip().lower() in ("", PRODUCTION):
        raise UsageError("Production is no environment that can be dropped.")
    wanted = environment_name(name, "NAME")
    known = _names(repository, engine)
    if wanted not in known:
        listing = f"Environments: {', '.join(known)}." if known else "There is none."
        raise UsageError(f"There is no environment `{wanted}`. {listing}")
    return wanted


def remove(folder: Path) -> None:
    """Removes a folder with all that is in it, if it is there."""
    if folder.exists():
        shutil.rmtree(folder)


def _names(repository: Repository, engine: Engine) -> list[str]:
    folders = (repository.home / "environments").glob("*")
    return sorted({*engine.environments(), *(each.name for each in folders)})


def _summed_up(engine: Engine, name: str) -> Environment:
    history = past_publications(engine.ledger_of(name))
    shown = {product: standing_publications(each)[-1] for product, each in history.own.items()}
    newest = max(shown.values(), key=lambda entry: entry["number"], default=None)
    return Environment(
        name=name,
        products=tuple(sorted(shown)),
        newest=newest["finished_at"] if newest else None,
        rows=sum(entry["rows"] for entry in shown.values()),
        bytes=sum(entry["bytes"] for entry in shown.values()),
    )
