"""What a plan of one domain is made from: code, pinned inputs and the ledger.

Belongs here: finding out what `plan` decides from, and what follows for the build. Not here: the
decision itself (plan.py), building (run.py), or which domains a run is about (selection.py).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from meshhouse.engines import Engine
from meshhouse.errors import MeshError
from meshhouse.governance.deprecation import is_over
from meshhouse.lake.states import REWRITTEN
from meshhouse.repository import Domain, Product, Repository
from meshhouse.repository.manifest import Manifest, checked_relations
from meshhouse.repository.references import resolve
from meshhouse.runs.code_notes import CodeNotes
from meshhouse.runs.history import (
    History,
    effective_publications,
    past_checks,
    past_publications,
    production_fails,
)
from meshhouse.runs.parse import fresh_manifest
from meshhouse.runs.plan import TO_COME, Basis, Decision, Facts, Verdict, companions, plan


def with_companions(
    repository: Repository, manifest: Manifest, domain: Domain, names: Collection[str]
) -> list[Product]:
    """Products, and those of the same domain that run with them; see `plan.companions`."""
    found = companions(_reads(repository, manifest, domain), names)
    return [product for product in domain.products if product.name in found]


def pins_of(
    engine: Engine, domain: Domain, history: History, files: Path | None = None
) -> dict[str, str]:
    """What a build of the domain reads: in an environment, what production has read."""
    # A fix is tried on the very data that it is for.
    late = production_fails(engine.ledger, domain.name)
    return engine.pin(domain, {} if late else history.read_by_production(), files)


class DomainPlan:
    """What a run of a domain is about to do, and why."""

    def __init__(
        self,
        repository: Repository,
        engine: Engine,
        domain: Domain,
        names: Collection[str] | None,
        force: bool,
        to_come: Collection[str] = (),
        files: Path | None = None,
    ) -> None:
        """Decides for the products called `names`, and for those that come with them.

        Args:
            repository: where the domain is declared.
            engine: the target in use.
            domain: which one.
            names: of the products in question; None for all.
            force: build these, whatever the ledger says.
            to_come: relations that will have got another snapshot before the domain is built.
                A plan with any serves as a forecast only.
            files: the folder for metadata files that pins need; see `Engine.pin`.

        Raises:
            MeshError: the domain does not parse, or an input is missing.
        """
        visible = engine.visible()
        resolve(repository, domain, {*visible, *to_come})
        self.manifest = fresh_manifest(repository, domain)
        self._engine = engine
        self._domain = domain
        self._to_come = frozenset(to_come)
        self._files = files
        self._history = past_publications(engine.ledger, domain.name)
        self._notes = CodeNotes(repository, domain.name)
        self.pins = self._pins(visible)
        reads = _reads(repository, self.manifest, domain)
        asked = [product.name for product in domain.products] if names is None else names
        together = companions(reads, asked)
        covered = [product for product in domain.products if product.name in together]
        reasons = {product.name: self._withheld(product) for product in covered}
        self.withheld = {name: reason for name, reason in reasons.items() if reason}
        """Name -> why this run leaves the product out."""
        facts = [
            self._facts(product, product.name in asked, force)
            for product in covered
            if product.name not in self.withheld
        ]
        self.bases = {f"{domain.name}.{each.name}": each.basis for each in facts}
        own = {*engine.states(), *to_come}
        self.verdicts: Mapping[str, Verdict] = plan(facts, reads, own)
        """Name of each product -> what the run does about it, and why."""

    def by_decision(self, decision: Decision) -> list[Product]:
        """The products about which the run does this, in the order of their declarations."""
        return [
            product
            for product in self._domain.products
            if product.name in self.verdicts and self.verdicts[product.name].decision is decision
        ]

    @property
    def to_build(self) -> list[Product]:
        """What must be built, audited and published."""
        return self.by_decision(Decision.BUILD)

    @property
    def covered(self) -> list[str]:
        """Names of the products that the run is about, those that it leaves out included."""
        return [*self.verdicts, *self.withheld]

    def lines(self) -> list[str]:
        """The plan for people: one line a product, with the reasons."""
        return [
            f"{verdict.decision.value} {self._domain.name}.{name}: {verdict}"
            for name, verdict in self.verdicts.items()
        ]

    def grounds(self, models: Collection[str]) -> dict[str, str]:
        """Name of each product among models -> what its build stands on, see `BuildState`."""
        return {
            product.name: self._ground(product)
            for product in self._domain.products
            if product.relation in self.bases and self.manifest.model_id(product) in models
        }

    def standing_checks(self) -> dict[str, list[dict[str, Any]]]:
        """Product -> the checks that what consumers see of it has passed; of unchanged ones."""
        unchanged = self.by_decision(Decision.UNCHANGED)
        if not unchanged:
            return {}
        checks = past_checks(self._engine.ledger, self._domain.name)
        return {
            product.name: checks[effective_publications(self._history.of(product))[-1]["audit_id"]]
            for product in unchanged
        }

    def standing_changes(self) -> dict[str, list[dict[str, Any]]]:
        """Product -> what its current publication changed for consumers; of unchanged ones."""
        return {
            product.name: effective_publications(self._history.of(product))[-1].get("changes") or []
            for product in self.by_decision(Decision.UNCHANGED)
        }

    def code_parts(self) -> dict[str, dict[str, str]]:
        """Code version -> its parts, of what is built; see `Manifest.code_parts`."""
        return {
            self.bases[product.relation].code_version: self.manifest.code_parts(product)
            for product in self.to_build
        }

    def _withheld(self, product: Product) -> str:
        """Why runs skip a product: it is retired, or see `Manifest.withheld`."""
        history = self._history.of(product)
        if history and history[-1]["kind"] == "retire" and is_over(product):
            return "retired"
        return self.manifest.withheld(product)

    def _pins(self, visible: Collection[str]) -> dict[str, str]:
        missing = {raw.relation for raw in self._domain.raw_tables} - set(visible)
        if missing and missing <= self._to_come:
            # An engine pins nothing for a domain with a raw table that was never landed.
            return self._engine.pin(replace(self._domain, raw_tables=tuple(
                raw for raw in self._domain.raw_tables if raw.relation not in missing
            )), files=self._files)  # fmt: skip
        return pins_of(self._engine, self._domain, self._history, self._files)

    def _facts(self, product: Product, is_asked_for: bool, force: bool) -> Facts:
        basis = Basis(
            self.manifest.code_version(product),
            self._input_snapshots(product),
            self.manifest.unprovable(product),
        )
        facts = Facts(
            name=product.name,
            basis=basis,
            history=self._history.of(product),
            is_inherited=not self._history.is_own(product),
            is_asked_for=is_asked_for,
            is_forced=is_asked_for and force,
        )
        standing = facts.standing
        if standing is None or standing["code_version"] == basis.code_version:
            return facts
        then = self._notes.parts_of(standing["code_version"])
        now = self.manifest.code_parts(product)
        changed = tuple(sorted(each for each in {*then, *now} if then.get(each) != now.get(each)))
        return replace(facts, changed_code=changed if then else ())

    def _input_snapshots(self, product: Product) -> dict[str, int | None]:
        found: dict[str, int | None] = {}
        for relation in self.manifest.relations_read(product):
            if relation in self._to_come:
                found[relation] = TO_COME
            elif relation in self.pins:
                found[relation] = self._engine.state_id(self.pins[relation])
            else:
                provider = relation.partition(".")[0]
                raise MeshError(
                    f"{product.relation} reads {relation}, which was never published. "
                    f"Run `mesh run {provider}` first."
                )
        return found

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


def _reads(repository: Repository, manifest: Manifest, domain: Domain) -> dict[str, set[str]]:
    """Product -> products of the same domain that its SQL, tests or checks read."""
    # As if the domain were its own upstream: the check files name its products like others'.
    own = replace(domain, raw_tables=(), upstream=(domain.name,))
    models = {manifest.model_id(product): product.name for product in domain.products}
    found = {}
    for product in domain.products:
        built = manifest.built_with([manifest.model_id(product)])
        checked = checked_relations(repository, own, product)
        found[product.name] = {
            *(name for model, name in models.items() if model in built),
            *(relation.partition(".")[2] for relation in checked),
        } - {product.name}
    return found
