"""What a run of one domain is about to do, from code, pinned inputs and the ledger.

Belongs here: a manifest that is fresh, which products are built and which stay as they
are, and what their builds stand on. Not here: doing it (runs.py), or which domains a run is
about (planning.py).
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from meshhouse import dbt
from meshhouse.engines import Engine
from meshhouse.errors import MeshError
from meshhouse.lake.states import REWRITTEN
from meshhouse.ledger import Ledger
from meshhouse.locks import lock
from meshhouse.repository import Domain, Product, Repository
from meshhouse.repository.manifest import (
    Manifest,
    checked_relations,
    is_fresh,
    manifest_path,
    mark_fresh,
)
from meshhouse.repository.project import project_fingerprint
from meshhouse.repository.references import resolve
from meshhouse.runs.history import History, past_checks, past_publications, production_fails
from meshhouse.runs.publication import Basis, Decision, standing_publications


def fresh_manifest(repository: Repository, domain: Domain) -> Manifest:
    """The domain's manifest; dbt parses the project only if something of it changed.

    Raises:
        MeshError: the project does not parse.
    """
    if not is_fresh(repository, domain):
        for problem in repository.shared_problems:
            raise problem  # every domain is built with these files
        with lock(repository.workspace / "locks" / f"{domain.name}.parse"):
            if not is_fresh(repository, domain):
                fingerprint = project_fingerprint(repository, domain)
                manifest_path(repository, domain.name).unlink(missing_ok=True)
                try:
                    dbt.parse(repository, domain.name)
                except dbt.DbtFailed as error:
                    # dbt itself names neither line nor remedy.
                    refuse_findings(repository, domain, said=str(error))
                    raise
                mark_fresh(repository, domain, fingerprint)
    return Manifest(repository, domain)


def refuse_findings(
    repository: Repository, domain: Domain, manifest: Manifest | None = None, said: str = ""
) -> None:
    """See `meshhouse.lint.refusal`, which loads a parser of SQL: only for who builds."""
    from meshhouse.lint import refusal

    refusal.refuse_findings(repository, domain, manifest, said)


def with_companions(
    repository: Repository, manifest: Manifest, domain: Domain, names: Collection[str]
) -> list[Product]:
    """Products, and those of the same domain that their SQL, tests or checks read, and so on.

    A candidate is checked against what is published beside it: one that was built from newer
    events than its neighbours would be rejected for that alone.

    Args:
        repository: where the domain is declared.
        manifest: the domain's.
        domain: whose products they are.
        names: of the products to start from.
    """
    # As if the domain were its own upstream: the check files name its products like others'.
    own = replace(domain, raw_tables=(), upstream=(domain.name,))
    found: set[str] = set()
    waiting = set(names)
    while waiting:
        found |= waiting
        read: set[str] = set()
        for product in domain.products:
            if product.name in waiting:
                read.update(checked_relations(repository, own, product))
                built = manifest.built_with([manifest.model_id(product)])
                read.update(
                    each.relation for each in domain.products if manifest.model_id(each) in built
                )
        waiting = {relation.partition(".")[2] for relation in read} - found
    return [product for product in domain.products if product.name in found]


def pins_of(engine: Engine, ledger: Ledger, domain: Domain, history: History) -> dict[str, str]:
    """What a build of the domain reads: in an environment, what production has read."""
    # A fix is tried on the very data that it is for.
    late = production_fails(ledger, domain.name)
    return engine.pin(domain, {} if late else history.read_by_production())


class DomainPlan:
    """What a run of a domain is about to do, and why."""

    def __init__(
        self,
        repository: Repository,
        engine: Engine,
        domain: Domain,
        names: Collection[str] | None,
        force: bool,
    ) -> None:
        """Decides for the products called `names`, and for those that come with them.

        Args:
            repository: where the domain is declared.
            engine: the target in use.
            domain: which one.
            names: of the products in question; None for all.
            force: build these, whatever the ledger says.

        Raises:
            MeshError: the domain does not parse, or an input is missing.
        """
        resolve(repository, domain, engine.visible())
        self.manifest = fresh_manifest(repository, domain)
        self._engine = engine
        self._ledger = engine.ledger
        self._domain = domain
        self._history = past_publications(self._ledger, domain.name)
        self.pins = pins_of(engine, self._ledger, domain, self._history)
        self.bases: dict[str, Basis] = {}
        self.by_decision: dict[Decision, list[Product]] = {each: [] for each in Decision}
        asked = [product.name for product in domain.products] if names is None else names
        together = with_companions(repository, self.manifest, domain, asked)
        reasons = {product.name: self.manifest.withheld(product) for product in together}
        self.withheld = {name: reason for name, reason in reasons.items() if reason}
        """Name -> why this run leaves the product out."""
        self._decide([each for each in together if each.name not in self.withheld], repository,
                     asked if force else ())  # fmt: skip

    def _decide(
        self, products: Collection[Product], repository: Repository, forced: Collection[str]
    ) -> None:
        own, changed = self._engine.pointers(), []
        for product in products:
            basis = Basis(
                self.manifest.code_version(product),
                self._input_snapshots(product),
                self.manifest.unprovable(product),
            )
            self.bases[product.relation] = basis
            if self._history.has_changed(product, basis, own, product.name in forced):
                changed.append(product.name)
        # What is built must stand beside what it reads, which production may be late with.
        rebuilt = with_companions(repository, self.manifest, self._domain, changed)
        for product in products:
            basis = self.bases[product.relation]
            decision = self._history.decide(product, basis, product.name in forced)
            if decision is Decision.BUILD and product not in rebuilt:
                decision = Decision.UNCHANGED
            self.by_decision[decision].append(product)

    @property
    def to_build(self) -> list[Product]:
        """What must be built, audited and published."""
        return self.by_decision[Decision.BUILD]

    @property
    def covered(self) -> list[str]:
        """Names of the products that the run is about, those that it leaves out included."""
        decided = [each.name for products in self.by_decision.values() for each in products]
        return [*decided, *self.withheld]

    def grounds(self, models: Collection[str]) -> dict[str, str]:
        """Name of each product among models -> what its build stands on, see `BuildState`."""
        return {
            product.name: self._ground(product)
            for product in self._domain.products
            if product.relation in self.bases and self.manifest.model_id(product) in models
        }

    def standing_checks(self) -> dict[str, list[dict[str, Any]]]:
        """Product -> the checks that what consumers see of it has passed; of unchanged ones."""
        unchanged = self.by_decision[Decision.UNCHANGED]
        if not unchanged:
            return {}
        checks = past_checks(self._ledger, self._domain.name)
        return {
            product.name: checks[standing_publications(self._history.of(product))[-1]["audit_id"]]
            for product in unchanged
        }

    def _input_snapshots(self, product: Product) -> dict[str, int | None]:
        relations = self.manifest.relations_read(product)
        for relation in relations:
            if relation not in self.pins:
                provider = relation.partition(".")[0]
                raise MeshError(
                    f"{product.relation} reads {relation}, which was never published. "
                    f"Run `mesh run {provider}` first."
                )
        return {relation: self._engine.state_id(self.pins[relation]) for relation in relations}

    def _ground(self, product: Product) -> str:
        basis = self.bases[product.relation]
        raw = {raw.relation for raw in self._domain.raw_tables} & set(basis.input_snapshots)
        rewritten = {
            relation: self._engine.properties(relation, self.pins[relation]).get(REWRITTEN)
            for relation in sorted(raw)
        }
        # A publication replaces all rows of a product, those of earlier ones included.
        replaced = {each: basis.input_snapshots[each] for each in self.manifest.added_up(product)}
        return f"{basis.code_version} {json.dumps([rewritten, replaced], sort_keys=True)}"
