"""The catalog of one mesh: gathering its documents and writing its site.

Belongs here: the steps of a build, and what tells that the next one is needed. Not here: the
documents (gather/), what one build remembers for the next (remembered/), or the writer (site.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from meshhouse.catalog import site
from meshhouse.catalog.declared import Declarations, Stamp
from meshhouse.catalog.digests import Digests
from meshhouse.catalog.documents import Mesh, ProductFacts
from meshhouse.catalog.gather import check_consumer, gathered
from meshhouse.catalog.remembered import state as states
from meshhouse.catalog.remembered.key import key_of
from meshhouse.catalog.remembered.made import state_of
from meshhouse.catalog.remembered.state import State
from meshhouse.catalog.remembered.update import updated
from meshhouse.engines import Engine
from meshhouse.repository import Repository

FOLDER = "catalog"


class Catalog:
    """Builds the site of one mesh, again and again if its process lives."""

    def __init__(
        self, repository: Repository, engine: Engine, consumer: str = "", folder: Path | None = None
    ) -> None:
        """Takes what the site is about.

        Args:
            repository: what is declared.
            engine: the target in use.
            consumer: the domain for which the catalog is made; empty for everyone.
            folder: where the site is written; by default in the folder of the environment, apart
                for each consumer, so that two views do not write each other's pages.
        """
        self._declarations = Declarations(repository.root)
        self._engine = engine
        self._consumer = consumer
        name = f"{FOLDER}-for-{consumer}" if consumer else FOLDER
        self.folder = folder or repository.workspace / name
        self._remembered = states.place(repository.workspace, consumer)
        self._digests = Digests()
        self._before: dict[str, ProductFacts] = {}
        self._documents: Sequence[ProductFacts] = ()
        self._next: State | None = None

    def build(self, now: datetime | None = None) -> site.Built:
        """Gathers documents and writes the pages that changed.

        Only domains are gathered in which something happened since the last build, if that is
        proved.

        Args:
            now: the time of the catalog; by default the time when it is gathered.

        Raises:
            UsageError: there is no such consumer, or the folder cannot hold a site, or has that of
                another environment or consumer.
            MeshError: the ledger cannot be read, or a page cannot be made.
        """
        check_consumer(Repository(self._declarations.root), self._consumer)
        self._next = None

        def gather(is_whole: bool) -> Mesh:
            return self._gathered(is_whole, now or datetime.now(UTC))

        built = site.build(gather, self.folder, digests=self._digests)
        self._remember()
        return built

    def _gathered(self, is_whole: bool, now: datetime) -> Mesh:
        repository, stamp = self._declarations.looked()
        key = key_of(repository, self._consumer, stamp, now)
        if is_whole and stamp.is_proof:
            known = states.read(self._remembered, key)
            found = known and updated(
                known, repository, self._engine, self._consumer, self.folder, self._digests, now
            )
            if found:
                self._next = found.state
                self._documents = found.mesh.products
                return found.mesh
        return self._everything(repository, stamp, key, now)

    def _everything(self, repository: Repository, stamp: Stamp, key: str, now: datetime) -> Mesh:
        earlier = self._engine.states()
        found = gathered(repository, self._engine, self._consumer, now)
        # The digest of an equal document is known. Comparing takes a third of making a digest.
        products = tuple(
            before if (before := self._before.get(each.relation)) == each else each
            for each in found.mesh.products
        )
        self._before = {each.relation: each for each in products}
        self._documents = products
        if self._declarations.keep(repository, stamp) and stamp.is_proof:
            self._next = state_of(found, key, earlier)
        return replace(found.mesh, products=products)

    def _remember(self) -> None:
        """Writes what the next build can begin with."""
        site_mark = states.site_mark(self.folder)
        if self._next is None or site_mark is None:
            return
        digests = {each.relation: self._digests.of(each) for each in self._documents}
        states.write(self._remembered, replace(self._next, site=site_mark, digests=digests))
        self._next = None

    def position(self) -> object:
        """What differs after each landing, publication and other entry of the ledger."""
        return {**self._engine.visible(), **self._engine.states()}
