"""What a build that gathered everything remembers.

Belongs here: making the state. Not here: its file (state.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from meshhouse.catalog.gather import Gathered
from meshhouse.catalog.gather.operations import publications_by_day, sizes_of, waits_of
from meshhouse.catalog.remembered.reads import digest_of_reads, rows_of
from meshhouse.catalog.remembered.since import known_states, marks_of
from meshhouse.catalog.remembered.state import (
    State,
    bad_domains,
    light,
    marks_of_files,
)


def state_of(found: Gathered, key: str, before: Mapping[str, str]) -> State | None:
    """What the next build can begin with; None if something happened while this one gathered.

    Args:
        found: the documents, and what they were made from.
        key: see key.py.
        before: all tables with their states, read before the documents.
    """
    mesh, sources, operations = found.mesh, found.sources, found.operations
    files = marks_of_files(sources.files)
    marks = marks_of(sources.engine.ledger)
    if files is None or sources.engine.states() != before:
        return None
    return State(
        key=key,
        site=("", 0, 0),
        marks=marks,
        shown=known_states(before),
        files=files,
        reads=digest_of_reads(operations.kept, mesh.built_at),
        rows=rows_of(operations.kept, mesh.built_at),
        hashes={each.relation: each.head.contract_hash or "" for each in sources.products},
        digests={},
        bad=bad_domains(mesh.products),
        entries={each.relation: len(each.publications) for each in mesh.products},
        products=light(mesh.products),
        domains=mesh.domains,
        topics=mesh.topics,
        traced=sorted(mesh.trace_digests),
        operations=mesh.operations,
        policies=mesh.policies,
        broken=dict(found.broken),
        days=dict(publications_by_day(mesh.products, mesh.built_at)),
        waits=sorted(waits_of(mesh.products, operations.landings)),
        tally=operations.tally,
        sizes=sizes_of(sources.products),
        storage=mesh.storage,
    )
