"""Brings the documents of the build before up to date with what happened since.

Belongs here: which domains changed, their documents, and when it must not be tried. Not here: the
proof of what changed (since.py), or gathering everything (gather/).

Documents of a changed domain are made from the ledger as a full build makes them, except for what
contracts and declarations of other domains decide: that is taken from the document of before.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from meshhouse.catalog import paths
from meshhouse.catalog.digests import Digests
from meshhouse.catalog.documents import Mesh, ProductFacts, TopicFacts, adapter
from meshhouse.catalog.gather.domains import domain_again
from meshhouse.catalog.gather.known import Known, Sources, sources_of
from meshhouse.catalog.gather.operations import (
    cost_facts,
    first_day,
    operations_facts,
    publications_by_day,
    recorded_reads,
    sizes_of,
    waits_of,
)
from meshhouse.catalog.gather.products import product_of
from meshhouse.catalog.gather.topics import topics_again
from meshhouse.catalog.graph import Graph, nearby
from meshhouse.catalog.remembered.reads import digest_of_reads, new_reads, rows_of, with_reads
from meshhouse.catalog.remembered.since import Since, known_states, since
from meshhouse.catalog.remembered.state import (
    State,
    bad_domains,
    light,
    mark,
    marks_of_files,
    site_mark,
)
from meshhouse.engines import Engine
from meshhouse.governance.objectives import FRESHNESS
from meshhouse.lake.object_store import is_remote
from meshhouse.repository import Repository
from meshhouse.usage import Cost
from meshhouse.usage.reads import Read
from meshhouse.usage.usage import builds

_MOST_DOMAINS = 30
"""Domains from which gathering everything is as fast."""
_KINDS = frozenset({"publish", "rollback"})
"""Kinds of entries that change no name and no reader."""
_RAW = "_raw"


@dataclass(frozen=True)
class Updated:
    """The documents of now, and what the next build needs."""

    mesh: Mesh
    state: State
    """All but `site` and `digests`, which only the writer of pages knows."""


class _NotProved(Exception):
    """Everything must be gathered."""


def updated(
    state: State,
    repository: Repository,
    engine: Engine,
    consumer: str,
    folder: Path,
    digests: Digests,
    now: datetime,
) -> Updated | None:
    """The documents of now; None if everything must be gathered.

    Args:
        state: what the build before remembered, with the key of now.
        repository: what is declared.
        engine: the target in use.
        consumer: the domain for which the catalog is made.
        folder: the site.
        digests: of documents; those of products that did not change are given to it.
        now: the time of the catalog.
    """
    try:
        return _Update(state, repository, engine, consumer, folder, digests, now).run()
    except _NotProved:
        return None


class _Update:
    def __init__(
        self,
        state: State,
        repository: Repository,
        engine: Engine,
        consumer: str,
        folder: Path,
        digests: Digests,
        now: datetime,
    ) -> None:
        self._state, self._repository, self._engine = state, repository, engine
        self._consumer, self._folder, self._digests, self._now = consumer, folder, digests, now
        self._before = {each.relation: each for each in state.products}

    def run(self) -> Updated:
        state, lake = self._state, self._engine.lake
        # Files in an object store are looked at with a request each, which takes longer.
        if repository_is_special(self._repository) or lake is None or is_remote(lake.location):
            raise _NotProved
        if site_mark(self._folder) != state.site:
            raise _NotProved
        kept = recorded_reads(self._repository, self._now)
        recorded = new_reads(kept, self._now, state.rows)
        if recorded is None or digest_of_reads(kept, self._now) != state.reads:
            raise _NotProved
        found = since(state, self._engine)
        if found is None or not self._is_plain(found):
            raise _NotProved
        states = self._engine.states()
        gathered = self._gathered_domains(found)
        recorded = self._named(recorded)
        built = self._read_domains(found, recorded)
        if len(gathered | built) > _MOST_DOMAINS or not gathered <= self._names():
            raise _NotProved
        self._check_files(gathered)
        sources = sources_of(self._repository, self._engine, self._now, self._consumer, gathered)
        self._check_same(sources, gathered)
        made = self._made(found, sources, gathered, built, recorded)
        sources.comparisons.remember()
        # What happens meanwhile may be in some documents and not in others.
        if self._engine.states() != states or known_states(states) != found.shown:
            raise _NotProved
        return replace(made, state=replace(made.state, rows=rows_of(kept, self._now)))

    def _made(
        self,
        found: Since,
        sources: Sources,
        gathered: set[str],
        built: set[str],
        recorded: Sequence[Read],
    ) -> Updated:
        state = self._state
        whole = self._whole(gathered | built)
        reads = [*self._builds(found, sources, gathered | built), *recorded]
        state.tally.add(
            [each.product for each in sources.products],
            [each for each in found.entries["runs"] if each["finished_at"] >= first_day(self._now)],
            [each for each in reads if each.count],
        )
        own = sizes_of(sources.products)
        sizes = {
            **{name: size for name, size in state.sizes.items()
               if name.partition(".")[0] not in gathered},
            **own,
        }  # fmt: skip
        costs = state.tally.costs(sizes, first_day(self._now))
        new = {
            each.relation: self._product(each, sources, whole[each.relation])
            for each in sources.products
        }
        for relation, old in whole.items():
            document = with_reads(new.get(relation, old), old, reads)
            if relation in new and document.use is not None:
                cost = cost_facts(costs.products.get(relation, Cost()), costs)
                document = replace(document, cost=cost)
            new[relation] = document
        products = [new.get(each.relation, each) for each in state.products]
        waits = self._waits(found, whole, new, gathered)
        days = Counter(state.days)
        days.subtract(publications_by_day(whole.values(), self._now))
        days.update(publications_by_day(new.values(), self._now))
        topics = self._topics(found)
        owned: dict[str, list[ProductFacts]] = {}
        for each in products:
            owned.setdefault(each.domain, []).append(each)
        domains = tuple(
            domain_again(each, owned.get(each.name, ())) if each.name in gathered else each
            for each in state.domains
        )
        mesh = Mesh(
            built_at=self._now,
            domains=domains,
            products=tuple(products),
            topics=topics,
            trace_digests=dict.fromkeys(state.traced, ""),
            consumer=self._consumer,
            operations=operations_facts(products, days, waits, costs, self._now),
            policies=state.policies,
            storage=state.storage,
        )
        listed = self._listed(mesh, gathered | built | _of_topics(topics, state.topics))
        near = self._whole(listed - gathered - built)
        every = tuple(near.get(each.relation, each) for each in products)
        entries = {
            **state.entries,
            **{name: len(each.publications) for name, each in new.items()},
        }
        mesh = replace(
            mesh, products=every, listed=frozenset(listed), entries=sum(entries.values())
        )
        for each in every:
            if each.relation not in new:
                self._digests.know(each, state.digests[each.relation])
        files = marks_of_files(sources.files)
        if files is None:
            raise _NotProved
        after = replace(
            state,
            marks=found.marks,
            shown=found.shown,
            files={
                **{name: each for name, each in state.files.items()
                   if name.partition(".")[0] not in gathered},
                **files,
            },
            bad=bad_domains(products),
            entries=entries,
            products=light(products),
            domains=domains,
            topics=topics,
            operations=mesh.operations,
            days={day: count for day, count in days.items() if count},
            waits=waits,
            sizes=sizes,
        )  # fmt: skip
        return Updated(mesh, after)

    def _names(self) -> set[str]:
        return {each.name for each in self._state.domains}

    def _is_plain(self, found: Since) -> bool:
        """Whether new entries are of the usual kinds, and not of the future."""
        publications = found.entries["publications"]
        every = [each for entries in found.entries.values() for each in entries]
        # With another contract in between, pages about changes come and go.
        hashes = self._state.hashes
        is_same = all(
            each["contract_hash"] in (None, hashes.get(f"{each['domain']}.{each['product']}"))
            for each in publications
        )
        return (
            is_same
            and all(each["kind"] in _KINDS for each in publications)
            and all(each["finished_at"] <= self._now for each in every)
        )

    def _gathered_domains(self, found: Since) -> set[str]:
        """Domains whose documents of products may have changed."""
        named = {
            str(each["domain"])
            for name in ("publications", "audits", "runs", "objectives", "landings")
            for each in found.entries[name]
        }
        schemas = {name.partition(".")[0].removesuffix(_RAW) for name in found.changed}
        return named | schemas | {*self._state.bad} | self._became_late()

    def _became_late(self) -> set[str]:
        """Domains with a product whose refresh is overdue now."""
        found = set()
        for each in self._state.products:
            hours, refreshed = each.refreshed_within_hours, each.refreshed_at
            is_due = each.state == "fresh" and hours is not None and refreshed is not None
            if is_due and self._now - refreshed > timedelta(hours=hours):
                found.add(each.domain)
            for promise in each.promises:
                if promise.objective != FRESHNESS or promise.at is None:
                    continue
                # When the measured time began is not recorded, but it was not before this.
                left = promise.target - (promise.measured or 0.0)
                if self._now - promise.at > timedelta(hours=left):
                    found.add(each.domain)
        return found

    def _named(self, reads: Sequence[Read]) -> list[Read]:
        """Recorded reads with the relations of their products, which a query may name otherwise."""
        domains = {each.lower(): each for each in self._names()}
        names = {each.lower(): each for each in self._before}
        for schema in {each.product.lower().partition(".")[0] for each in reads}:
            if (domain := domains.get(schema)) and domain in self._repository.domain_names:
                for product in self._repository.reading(domain).products:
                    names.update({each.lower(): product.relation for each in product.relations})
        found = []
        for each in reads:
            name = each.product.lower()
            if name not in names and name.partition(".")[0] in domains:
                raise _NotProved
            found.append(replace(each, product=names.get(name, each.product)))
        return found

    def _read_domains(self, found: Since, recorded: Sequence[Read]) -> set[str]:
        """Domains whose products new publications were built from, or readers have read."""
        read = {
            name.partition(".")[0]
            for each in found.entries["publications"]
            for name in each.get("input_snapshots") or ()
        }
        read |= {each.product.partition(".")[0] for each in recorded}
        return read & self._names()

    def _check_files(self, gathered: set[str]) -> None:
        """Checks that no file of a table was lost or changed."""
        for relation, marks in self._state.files.items():
            if relation.partition(".")[0] not in gathered and any(
                mark(path) != (path, size, at) for path, size, at in marks
            ):
                raise _NotProved

    def _check_same(self, sources: Sources, gathered: set[str]) -> None:
        """Checks that there are the same products with the same contracts."""
        known = {each.relation: each.head.contract_hash or "" for each in sources.products}
        before = {
            name: each
            for name, each in self._state.hashes.items()
            if name.partition(".")[0] in gathered
        }
        if known != before:
            raise _NotProved

    def _whole(self, domains: Iterable[str]) -> dict[str, ProductFacts]:
        """The whole documents of domains, from the files of the site."""
        wanted = {*domains}
        found = {}
        for relation, each in self._before.items():
            if each.domain in wanted:
                found[relation] = self._read(relation)
        return found

    def _read(self, relation: str) -> ProductFacts:
        try:
            content = (self._folder / paths.product(relation, "json")).read_bytes()
            found: ProductFacts = adapter(ProductFacts).validate_json(content)
        except (OSError, ValueError) as error:
            raise _NotProved from error
        if self._digests.of(found) != self._state.digests[relation]:
            raise _NotProved
        return found

    def _product(self, known: Known, sources: Sources, before: ProductFacts) -> ProductFacts:
        made = product_of(known, sources, self._state.broken)
        readers = {each.name: each.readers for each in before.columns}
        return replace(
            made,
            columns=tuple(
                replace(each, readers=readers.get(each.name, ())) for each in made.columns
            ),
            readers=before.readers,
            versions=before.versions,
            inputs=before.inputs,
            yours=before.yours,
            use=before.use,
            cost=made.cost,
        )

    def _builds(self, found: Since, sources: Sources, domains: set[str]) -> list[Read]:
        """Reads of products by the runs behind new publications."""
        new = {id(each): each for each in found.entries["publications"]}.values()
        runs = {each["run_id"] for each in new}
        numbers = {int(each["number"]) for each in new}
        for each in sources.products:
            for entry in each.history:
                # Of a run whose other publications were counted before, the read counts once.
                if entry["run_id"] in runs and int(entry["number"]) not in numbers:
                    raise _NotProved
        products = [
            product
            for name in sorted(domains & {*self._repository.domain_names})
            for product in self._repository.reading(name).products
        ]
        heads = {each.relation: each.head for each in sources.products}
        return builds(new, heads, products)

    def _waits(
        self,
        found: Since,
        whole: Mapping[str, ProductFacts],
        new: Mapping[str, ProductFacts],
        gathered: set[str],
    ) -> list[float]:
        """The waits of all products, sorted."""
        landings: list[Mapping[str, Any]] = []
        for domain in sorted(gathered):
            landings += self._engine.ledger.entries("landings", domain, first_day(self._now))
        mark_of = self._state.marks["landings"][0]
        old = [each for each in landings if each["number"] <= mark_of]
        names = [name for name, each in whole.items() if each.domain in gathered]
        waits = [*self._state.waits]
        for gone in waits_of([whole[name] for name in names], old):
            place = bisect_left(waits, gone)
            if place == len(waits) or waits[place] != gone:
                raise _NotProved
            del waits[place]
        for came in waits_of([new[name] for name in names], landings):
            insort(waits, came)
        return waits

    def _topics(self, found: Since) -> tuple[TopicFacts, ...]:
        """Documents of topics; those of a domain are made again if one of its tables changed."""
        raw = {
            name.partition(".")[0].removesuffix(_RAW)
            for name in found.changed
            if name.partition(".")[0].endswith(_RAW)
        }
        again = [each for each in self._state.topics if each.domain in raw]
        made = iter(topics_again(again, self._repository, self._engine))
        return tuple(next(made) if each.domain in raw else each for each in self._state.topics)

    def _listed(self, mesh: Mesh, changed: set[str]) -> set[str]:
        """Domains with a page that shows something of changed ones."""
        graph = Graph.of(mesh)
        names = [each.relation for each in mesh.products if each.domain in changed]
        return (
            changed
            | {graph.nodes[key].domain for key in nearby(graph, names) if key in graph.nodes}
            & self._names()
        )


def _of_topics(new: Sequence[TopicFacts], old: Sequence[TopicFacts]) -> set[str]:
    return {each.domain for each, before in zip(new, old, strict=True) if each != before}


def repository_is_special(repository: Repository) -> bool:
    """Whether two ledgers decide: an environment's, and production's behind it."""
    return bool(repository.environment)
