"""The catalog of one mesh: gathering its documents and writing its site.

Belongs here: the steps of a build, and what tells that the next one is needed. Not here: the
documents (gather/), or the writer (site.py).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from meshhouse.catalog import site
from meshhouse.catalog.declared import Declarations
from meshhouse.catalog.digests import Digests
from meshhouse.catalog.documents import Mesh, ProductFacts
from meshhouse.catalog.gather import check_consumer, gather
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
        self._digests = Digests()
        self._before: dict[str, ProductFacts] = {}

    def build(self) -> site.Built:
        """Gathers all documents and writes the pages that changed.

        Raises:
            UsageError: there is no such consumer, or the folder cannot hold a site, or has that of
                another environment or consumer.
            MeshError: the ledger cannot be read, or a page cannot be made.
        """
        check_consumer(self._declarations.now(), self._consumer)
        return site.build(self._gathered, self.folder, digests=self._digests)

    def _gathered(self) -> Mesh:
        mesh = gather(self._declarations.now(), self._engine, self._consumer)
        # The digest of an equal document is known. Comparing takes a third of making a digest.
        products = tuple(
            before if (before := self._before.get(each.relation)) == each else each
            for each in mesh.products
        )
        self._before = {each.relation: each for each in products}
        return replace(mesh, products=products)

    def position(self) -> object:
        """What differs after each landing, publication and other entry of the ledger."""
        return {**self._engine.visible(), **self._engine.states()}
