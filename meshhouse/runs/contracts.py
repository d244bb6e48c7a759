"""The contracts of a domain's products as they are declared now, and the published ones.

Belongs here: collecting what a contract is made from: declarations, checks. Not here: the SQL of
models and tests (executed.py), the document itself (governance/describe.py), or judging a change of
it (gate.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from meshhouse.audit import ROWS_AGAINST_PREVIOUS, soda_contract
from meshhouse.governance.contract import Contract
from meshhouse.governance.describe import Sources, describe
from meshhouse.lint.sql.dialects import contract_dialect, dialect_in_use
from meshhouse.lint.sql.rendering import first_builds
from meshhouse.repository import Domain, Product, Repository
from meshhouse.repository.declared_tests import column_facts, data_tests, unit_tests
from meshhouse.repository.manifest import Manifest
from meshhouse.runs.executed import ExecutedSql


class DeclaredContracts:
    """The contracts of one domain; needs no warehouse."""

    def __init__(self, repository: Repository, domain: Domain, manifest: Manifest) -> None:
        """Takes a domain and its fresh manifest."""
        self._repository = repository
        self._domain = domain
        self._manifest = manifest

    def of(self, product: Product, storage: Mapping[str, Any] | None = None) -> Contract:
        """The contract of one product.

        Args:
            product: one of the domain's products.
            storage: facts about the table that holds the candidate.

        Raises:
            DbtFailed: a model of the domain does not render.
        """
        facts = column_facts(self._manifest, product)
        executed = self._executed.of(product)
        sources = Sources(
            domain=self._domain,
            target=dialect_in_use().target,
            dialect=contract_dialect().sqlglot,
            models=executed.models,
            executed=executed.others,
            around=executed.around,
            test_queries=executed.tests,
            code=self._manifest.code_of_rows(product),
            hooks=self._manifest.hooks_of(product),
            upstream=self._repository.provided(self._domain),
            seeds=self._manifest.seeds_of(product),
            names=self._executed.names,
            soda=soda_contract(product),
            implied=frozenset({ROWS_AGAINST_PREVIOUS}),
            tests=list(data_tests(self._manifest, product)),
            unit_tests=unit_tests(self._manifest, product),
            column_meta=facts.meta,
            unique=facts.unique,
            config=self._manifest.nodes[self._manifest.model_id(product)]["config"],
            storage=storage or {},
        )
        return describe(self._manifest.described(product), sources)

    @cached_property
    def _executed(self) -> ExecutedSql:
        compiled = first_builds(self._repository, self._domain.name)
        return ExecutedSql(self._domain, self._manifest, compiled)
