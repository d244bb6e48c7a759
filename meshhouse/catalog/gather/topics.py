"""Documents of topics and of the raw tables that they land in.

Belongs here: joining declarations, the state of raw tables, and rejected events. Not here: how any
of them is read (landing/).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from meshhouse.catalog.documents import ColumnFacts, ColumnUse, ProductFacts, TopicFacts
from meshhouse.catalog.gather.columns import as_mapping, class_of
from meshhouse.catalog.gather.known import Sources
from meshhouse.engines import Engine
from meshhouse.landing.rejected import summaries
from meshhouse.landing.store import RawState, lands_itself
from meshhouse.repository import Column, RawTable, Repository

_UNKNOWN = "reason not recorded here"


def topics_of(sources: Sources, products: Sequence[ProductFacts]) -> Iterator[TopicFacts]:
    """The document of each declared raw table.

    Args:
        sources: what was read.
        products: documents of all products.
    """
    tables = [raw for domain in sources.repository.readings for raw in domain.raw_tables]
    states = {raw.relation: _state(sources.engine, raw) for raw in tables}
    rejected = _rejected(sources.engine, [raw for raw in tables if states[raw.relation].state])
    readers = _readers(products)
    built: dict[tuple[str, str], list[str]] = {}
    for each in products:
        for topic in each.topics:
            built.setdefault((each.domain, topic.lower()), []).append(each.relation)
    for raw in tables:
        state = states[raw.relation]
        yield TopicFacts(
            domain=raw.domain,
            table=raw.name,
            topic=raw.topic,
            format=raw.format,
            description=raw.description,
            columns=tuple(_column(raw, each, readers) for each in raw.columns),
            rows=state.total_rows if state.state else None,
            landed_at=state.landed_at,
            rejected=rejected.get(raw.relation, ()),
            products=tuple(built.get((raw.domain, raw.relation.lower()), ())),
        )


def topics_again(
    documents: Sequence[TopicFacts], repository: Repository, engine: Engine
) -> Iterator[TopicFacts]:
    """Documents of topics with what is in their raw tables now.

    Args:
        documents: as they were made from the same declarations and contracts.
        repository: what is declared.
        engine: the target in use.
    """
    domains = sorted({each.domain for each in documents} & {*repository.domain_names})
    tables = {
        (raw.domain, raw.name): raw
        for name in domains
        for raw in repository.reading(name).raw_tables
    }
    states = {key: _state(engine, raw) for key, raw in tables.items()}
    rejected = _rejected(engine, [raw for key, raw in tables.items() if states[key].state])
    for each in documents:
        key = each.domain, each.table
        yield replace(
            each,
            rows=states[key].total_rows if states[key].state else None,
            landed_at=states[key].landed_at,
            rejected=rejected.get(tables[key].relation, ()),
        )


def _state(engine: Engine, raw: RawTable) -> RawState:
    """The raw table that the environment reads: its own, or production's."""
    store = engine.store
    owner = store if lands_itself(store, raw) else store.in_environment("")
    return owner.writer(raw).read()


def _rejected(
    engine: Engine, tables: Sequence[RawTable]
) -> Mapping[str, tuple[tuple[str, int], ...]]:
    """Relation -> reasons with numbers of events, the quoted values left out."""
    lake, store = engine.lake, engine.store
    if lake is not None:
        return {each.raw.relation: each.reasons for each in summaries(lake, tables)}
    counts = {raw.relation: store.rejected_share(raw)[0] for raw in tables}
    return {name: ((_UNKNOWN, count),) if count else () for name, count in counts.items()}


def _readers(products: Sequence[ProductFacts]) -> dict[str, list[tuple[str, str]]]:
    """Field of a topic, in lower case -> the products and their columns that come of it."""
    found: dict[str, list[tuple[str, str]]] = {}
    for product in products:
        for column in product.columns:
            for root in column.roots:
                found.setdefault(root.lower(), []).append((product.relation, column.name))
    return found


def _column(
    raw: RawTable, column: Column, readers: Mapping[str, list[tuple[str, str]]]
) -> ColumnFacts:
    facts = as_mapping(column)
    into: dict[str, list[str]] = {}
    for product, name in readers.get(f"{raw.relation}.{facts['name']}".lower(), ()):
        into.setdefault(product, []).append(name)
    return ColumnFacts(
        name=facts["name"],
        type=facts["type"],
        description=facts["description"] or "",
        required=facts["required"],
        classification=class_of(facts),
        unit=facts["unit"] or "",
        readers=tuple(
            ColumnUse(product, ("select",), tuple(sorted(names)))
            for product, names in sorted(into.items())
        ),
    )
