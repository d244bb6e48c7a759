"""Events that wait in topics, for figures of operations.

Belongs here: asking the topics, and what an unreachable cluster means. Not here: what counts as
waiting (landing/lag.py). A build of the site does not ask, because it must not need a broker.
"""

from __future__ import annotations

from dataclasses import replace

from meshhouse.catalog.documents import Mesh
from meshhouse.engines import Engine
from meshhouse.errors import MeshError
from meshhouse.events import open_source
from meshhouse.landing.lag import lag
from meshhouse.repository import Repository


def with_lags(mesh: Mesh, repository: Repository, engine: Engine) -> tuple[Mesh, str]:
    """The documents with the lag of each topic, and why lags are unknown; empty if they are known.

    Args:
        mesh: the documents.
        repository: what is declared.
        engine: the target in use.
    """
    tables = {
        (raw.domain, raw.name): raw for domain in repository.readings for raw in domain.raw_tables
    }
    lags: dict[tuple[str, str], int | None] = {}
    try:
        source = open_source(repository.root, repository.home)
        held = set(source.topics())
        for key, raw in tables.items():
            if raw.topic in held:
                lags[key] = lag(engine.store, raw, source.describe(raw.topic)).events
    except MeshError as error:
        return mesh, str(error)
    topics = tuple(replace(each, lag=lags.get((each.domain, each.table))) for each in mesh.topics)
    return replace(mesh, topics=topics), ""
