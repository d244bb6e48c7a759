"""A rule of the federation, and the facts that it judges.

Belongs here: what a rule consists of. Not here: the rules (the modules beside this one), collecting
facts (facts.py), or severities and waivers (evaluation.py).

A rule is a pure function of facts. Its remedy and an example of each kind, one that passes and one
that fails, are declared with it: they are its test and its documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from meshhouse.governance.contract import Contract
from meshhouse.repository import Column, Domain, Product, RawTable
from meshhouse.repository.waivers import Waivers


@dataclass(frozen=True, order=True)
class Breach:
    """A place where a rule is not kept."""

    path: Path
    line: int
    problem: str
    """One sentence."""
    subject: str
    """What breaks the rule, for waivers: `sales.orders.amount`, `sales.orders`, `sales`."""
    remedy: str = ""
    """What to do; by default the rule's remedy."""


@dataclass(frozen=True)
class Check:
    """One check in `<product>.checks.yml`."""

    kind: str
    column: str | None
    body: Mapping[str, Any]


@dataclass(frozen=True)
class ProductFacts:
    """A product as a domain declares it."""

    product: Product
    checks: tuple[Check, ...] | None
    """Those that the team wrote; None if they cannot be read."""
    checks_path: Path
    sql: str
    """Without comments; empty if it cannot be read."""
    materialized: str | None
    """`table`, `view`, ...; None if Jinja computes it."""
    tests: int
    """dbt tests and unit tests of its model and of the models of the domain that it is made of."""

    def breach(self, problem: str, remedy: str = "") -> Breach:
        """A breach by the product as a whole; `problem` continues "product sales.orders"."""
        product = self.product
        text = f"product {product.relation} {problem}"
        return Breach(product.path, product.line, text, product.relation, remedy)

    def column_breach(self, column: Column, problem: str, remedy: str = "") -> Breach:
        """A breach by one column; `problem` continues "column `amount` of sales.orders"."""
        product = self.product
        text = f"column `{column.name}` of {product.relation} {problem}"
        subject = f"{product.relation}.{column.name}"
        return Breach(product.path, column.line, text, subject, remedy)


@dataclass(frozen=True)
class DomainFacts:
    """A domain, as far as it could be read."""

    domain: Domain
    products: tuple[ProductFacts, ...]
    waivers: Waivers
    has_readme: bool

    @property
    def name(self) -> str:
        """Name of the domain."""
        return self.domain.name

    @property
    def topics(self) -> tuple[RawTable, ...]:
        """Its topics with the tables that their events land in."""
        return self.domain.raw_tables

    def breach(self, problem: str, path: Path | None = None, line: int = 1) -> Breach:
        """A breach by the domain as a whole; `problem` continues "domain sales"."""
        where = path or self.domain.path / "dbt_project.yml"
        return Breach(where, line, f"domain {self.name} {problem}", self.name)


@dataclass(frozen=True)
class Mesh:
    """What rules may look at beside the domain that they judge."""

    domain_names: tuple[str, ...]
    today: date
    published: Mapping[str, Contract] = field(default_factory=dict)
    """Published relation -> its current contract; empty where no ledger was read."""


Options = Mapping[str, Any]
"""The parameters of a rule: those of `policies.yml` over the defaults."""


@dataclass(frozen=True)
class Rule:
    """One rule."""

    name: str
    demands: str
    """What it demands, in one sentence."""
    because: str
    """Why, in one sentence."""
    remedy: str
    check: Callable[[DomainFacts, Mesh, Options], Iterable[Breach]]
    passes: Mapping[str, str]
    """An example that keeps it: place -> text; the places are in tests/support/examples.py."""
    fails: Mapping[str, str]
    """An example that breaks it."""
    options: Options = field(default_factory=dict)
    """Its parameters, with the values that count if `policies.yml` gives none."""
    severity: str = "off"
    """What counts if `policies.yml` does not name it."""
    is_core: bool = False
    """The mesh itself needs it: it is an error in every repository."""
