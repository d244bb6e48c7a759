"""The SQL that a run of a product executes: models, snapshots and tests of dbt.

Belongs here: choosing and naming the SQL of one product among that of its domain. Not here:
rendering it (lint/sql/rendering.py), checks of Soda, or what it reads (governance/).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from meshhouse.governance.describe import Model
from meshhouse.governance.reading import Query
from meshhouse.lint.sql.rendering import PLAIN_TESTS, FirstBuild
from meshhouse.repository import Domain, Product
from meshhouse.repository.manifest import Manifest

_SNAPSHOT_COLUMNS = (
    "dbt_scd_id", "dbt_updated_at", "dbt_valid_from", "dbt_valid_to", "dbt_is_deleted",
)  # fmt: skip


@dataclass(frozen=True)
class Executed:
    """The SQL of one product; see `Sources` in governance/describe.py."""

    models: list[Model]
    others: list[Model]
    around: list[Model]
    tests: list[Query]


class ExecutedSql:
    """What runs of one domain execute."""

    def __init__(self, domain: Domain, manifest: Manifest, compiled: Iterable[FirstBuild]) -> None:
        """Takes a domain, its fresh manifest, and all its SQL."""
        self._domain = domain
        self._manifest = manifest
        found = {each.unique_id: each for each in compiled}
        self._first = {key: each for key, each in found.items() if each.materialized != "test"}
        self._test_sql = {key: each.sql for key, each in found.items() if key not in self._first}
        self._products = {manifest.model_id(each): each for each in domain.products}

    @cached_property
    def names(self) -> dict[str, str]:
        """Relation as rendered -> its name in production: environments build into own schemas."""
        return {
            each.relation: f"{self._domain.build_schema}.{each.relation.partition('.')[2]}"
            for each in self._first.values()
            if "." in each.relation and each.materialized != "snapshot"
        }

    def of(self, product: Product) -> Executed:
        """What a run of one product executes."""
        ancestors = self._manifest.ancestors(product)
        built = self._manifest.made_of_or_tested_with(product)
        mentioned = [
            identifier
            for identifier, each in self._products.items()
            if _mentions(product, each.relations)
        ]
        known = self._manifest.built_with([self._manifest.model_id(product), *mentioned])
        models = [
            each for each in map(self._first.get, ancestors)
            if each is not None and each.materialized != "snapshot"
        ]  # fmt: skip
        listed = {each.unique_id for each in models}
        return Executed(
            models=[self._model(each, product) for each in models],
            others=list(self._models(sorted({*built, *ancestors} - listed), product)),
            around=list(self._models(sorted(known - built - {*ancestors}), product)),
            tests=list(self._tests(product)),
        )

    def _models(self, identifiers: Iterable[str], product: Product) -> Iterator[Model]:
        for identifier in identifiers:
            first = self._first.get(identifier)
            if first is not None:
                yield self._model(first, product)
            elif (opaque := self._opaque(identifier)) is not None:
                yield opaque

    def _model(self, found: FirstBuild, product: Product) -> Model:
        identifier, sql = found.unique_id, found.sql
        name = found.name if found.version is None else (
            product.model if identifier == self._manifest.model_id(product)
            else f"{found.name}_v{found.version}"
        )  # fmt: skip
        if found.materialized == "snapshot":
            added = ", ".join(f"null as {each}" for each in _SNAPSHOT_COLUMNS)
            sql = f"select *, {added} from ({sql}) as snapshotted"
        published = self._products.get(identifier)
        return Model(
            name=name,
            relation=self.names.get(found.relation, found.relation),
            sql=sql,
            materialized=found.materialized,
            unpinned=self._manifest.unpinned_references(identifier),
            published=tuple(each.lower() for each in published.relations) if published else (),
            later_sql=found.later_sql,
        )

    def _opaque(self, identifier: str) -> Model | None:
        """A model in Python: what it does with the relations that it reads is unknown."""
        node = self._manifest.nodes.get(identifier)
        is_own = node is not None and node["package_name"] == self._domain.name
        if node is None or not is_own or node["resource_type"] != "model":
            return None
        relation = f"{node['schema']}.{node['alias']}".lower()
        return Model(
            name=str(node["name"]),
            relation=self.names.get(relation, relation),
            sql=self._unreadable(identifier),
            materialized="table",
            unpinned=self._manifest.unpinned_references(identifier),
        )

    def _unreadable(self, identifier: str) -> str:
        """A text that is not a query and names what a node reads, so that lineage is unknown."""
        return f"not readable: {' '.join(map(self._relation, self._manifest.parents(identifier)))}"

    def _relation(self, identifier: str) -> str:
        first = self._first.get(identifier)
        if first is not None:
            return self.names.get(first.relation, first.relation)
        node = self._manifest.node(identifier)
        return f"{node['schema']}.{node.get('alias') or node['name']}".lower()

    def _tests(self, product: Product) -> Iterator[Query]:
        for identifier in self._manifest.tests_run_with(product):
            node = self._manifest.nodes[identifier]
            about = node.get("test_metadata") or {}
            is_plain = about.get("name") in PLAIN_TESTS and not about.get("namespace")
            if is_plain and not node["config"].get("where"):
                continue
            sql = self._test_sql.get(identifier) or self._unreadable(identifier)
            unpinned = self._manifest.unpinned_references(identifier)
            name = str(node["name"])
            yield Query(self._tested(identifier, product), sql, name, unpinned)

    def _tested(self, test: str, product: Product) -> str:
        """`domain.model` whose test it is; for a singular test, the first model that it reads."""
        node = self._manifest.nodes[test]
        attached = node.get("attached_node")
        for each in [attached] if attached else node["depends_on"]["nodes"]:
            first = self._first.get(each)
            if first is not None:
                return f"{self._domain.name}.{self._model(first, product).name}"
        return f"{self._domain.name}.{product.model}"


def _mentions(product: Product, relations: Iterable[str]) -> bool:
    """Whether the checks of a product name one of these relations."""
    if not product.checks_path.exists():
        return False
    text = product.checks_path.read_text()
    return any(re.search(rf"(?<![\w.]){re.escape(each)}(?!\w)", text, re.IGNORECASE)
               for each in relations)  # fmt: skip
