"""Reads the repository: the only reader of declarations.

Belongs here: finding domains, their order, and which of them can be used. Not here: the
files of one domain (domain.py), judging them (lint/), or dbt manifests (manifest.py).

Each domain is read separately, at its first use. A domain with problems is broken:
`Repository.domain` raises its first problem, and other domains keep working.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from meshhouse.errors import UsageError
from meshhouse.repository.domain import read_domain
from meshhouse.repository.environment import current_environment, stored_schema, workspace
from meshhouse.repository.model import ROOT_DOMAIN, Domain, Product, RawTable
from meshhouse.repository.sql import read_sql
from meshhouse.repository.yaml import DeclarationError, printable, read_yaml

_SIGNS_OF_A_DOMAIN = ("dbt_project.yml", "models", "dependencies.yml")


class BrokenDomain(UsageError):
    """The declarations of the requested domain cannot be used."""

    def __init__(self, domain: Domain) -> None:
        super().__init__(broken_because(domain))
        self.domain = domain


class Repository:
    """A checkout: the root domain and one domain a folder under `domains/`."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._read: dict[str, Domain] = {}

    @classmethod
    def find(cls, start: Path | None = None) -> Repository:
        """The repository around `start` (by default `MESH_ROOT` or the working directory).

        Raises:
            UsageError: no repository there.
        """
        here = (start or Path(os.environ.get("MESH_ROOT") or Path.cwd())).resolve()
        for folder in (here, *here.parents):
            if (folder / "dbt_project.yml").is_file() and (folder / "domains").is_dir():
                return cls(folder)
        raise UsageError(
            f"{here} is not inside a Meshhouse repository (a folder with dbt_project.yml and "
            "domains/). Change into one, or set MESH_ROOT."
        )

    @cached_property
    def home(self) -> Path:
        """The folder of the local lake, the event log and builds: `MESH_HOME` or `.mesh`.

        Raises:
            UsageError: it is not a folder.
        """
        home = Path(os.environ.get("MESH_HOME") or self.root / ".mesh").resolve()
        if home.exists() and not home.is_dir():
            raise UsageError(f"{home} is not a folder. Set MESH_HOME to one, or unset it.")
        return home

    @cached_property
    def environment(self) -> str:
        """The environment in use, from `MESH_ENV`; empty for production."""
        return current_environment()

    @property
    def workspace(self) -> Path:
        """The folder of the current environment's builds, locks and logs; `home` in production."""
        return workspace(self.home, self.environment)

    def build_schema(self, domain: str) -> str:
        """The stored name of the schema in which dbt builds a domain in this environment."""
        return stored_schema(self.environment, f"{domain}_build")

    @cached_property
    def domain_names(self) -> tuple[str, ...]:
        """Every domain, broken or not, the root domain last."""
        folders = sorted(
            # The root project has this name, so a folder of the same name counts as broken.
            f"domains/{folder.name}" if folder.name == ROOT_DOMAIN else folder.name
            for folder in (self.root / "domains").iterdir()
            if not folder.name.startswith(".") and _is_domain(folder)
        )
        return (*folders, ROOT_DOMAIN)

    @cached_property
    def domains(self) -> tuple[Domain, ...]:
        """Every usable domain, upstream domains first, the root domain last where possible.

        `broken` holds the other domains.
        """
        return tuple(domain for domain in self.readings if not domain.problems)

    @cached_property
    def broken(self) -> tuple[Domain, ...]:
        """Every domain with problems, as far as it could be read, upstream domains first."""
        return tuple(domain for domain in self.readings if domain.problems)

    @cached_property
    def readings(self) -> tuple[Domain, ...]:
        """Every domain as far as it could be read, upstream domains first."""
        ordered: dict[str, None] = {}

        def visit(name: str, path: tuple[str, ...]) -> None:
            if name not in ordered and name not in path:
                for other in self.reading(name).upstream:
                    visit(other, (*path, name))
                ordered[name] = None

        for name in self.domain_names:
            visit(name, ())
        return tuple(self.reading(name) for name in ordered)

    def reading(self, name: str) -> Domain:
        """One domain as far as it could be read, with its problems.

        Raises:
            UsageError: there is no domain of that name.
        """
        if name not in self.domain_names:
            known = printable(", ".join(self.domain_names))
            raise UsageError(f"There is no domain `{printable(name)}`. Domains: {known}.")
        domain = self._reading(name)
        circle = _circle(name, lambda each: self._reading(each).upstream)
        if not circle:
            return domain
        first = circle.index(min(circle))  # all domains of the circle get the same message
        shown = [*circle[first:], *circle[:first]]
        problem = DeclarationError(
            self.folder(shown[0]) / "dependencies.yml",
            1,
            "domains depend on each other in a circle: "
            f"{' -> '.join([*shown, shown[0]])}. Remove one dependency.",
        )
        return replace(domain, problems=(*domain.problems, problem))

    def _reading(self, name: str) -> Domain:
        if name not in self._read:
            self._read[name] = read_domain(self.root, name, self.folder(name), self.domain_names)
        return self._read[name]

    def domain(self, name: str) -> Domain:
        """One domain by name.

        Raises:
            UsageError: there is no domain of that name.
            BrokenDomain: its declarations cannot be used.
        """
        domain = self.reading(name)
        if domain.problems:
            raise BrokenDomain(domain)
        return domain

    def provided(self, consumer: Domain) -> list[Product]:
        """The products that a domain's models and checks may read: those of its upstream.

        Published products of a broken provider stay readable. For such a provider, the result
        holds the products that could be read from its declarations and those that the consumer
        refers to. Reading the data then shows whether they are published.
        """
        products: list[Product] = []
        for name in consumer.upstream:
            provider = self.reading(name)
            products += provider.products
            products += self.former_products(name)
            if provider.problems:
                products += _assumed(consumer, provider)
        return products

    @cached_property
    def relations_by_name(self) -> dict[tuple[str, int | None], str]:
        """`domain.model` and version -> the relation of the product; None stands for the latest."""
        found: dict[tuple[str, int | None], str] = {}
        for product in (each for domain in self.readings for each in domain.products):
            for name in filter(None, (product.plain_relation, product.renamed_from)):
                found.setdefault((name, product.version), product.relation)
                if product.is_latest:
                    found.setdefault((name, None), product.relation)
        return found

    def former_products(self, domain: str) -> list[Product]:
        """Products that had a name in a domain, under that name; none that is declared again."""
        declared = {each.model for each in self.reading(domain).products}
        return [
            product.former
            for each in self.readings
            for product in each.products
            if product.former is not None
            and product.former.domain == domain
            and product.former.model not in declared
        ]

    @cached_property
    def shared_problems(self) -> tuple[DeclarationError, ...]:
        """Problems in the files that all domains share: macros and profiles."""
        found: list[DeclarationError] = []
        for path in sorted((self.root / "macros").rglob("*.sql")):
            found += read_sql(path).problems
        profiles = [
            *(self.root / "profiles").glob("*.yml"), *(self.root / "macros").rglob("*.yml")
        ]  # fmt: skip
        for path in sorted(profiles):
            try:
                read_yaml(path)
            except DeclarationError as error:
                found.append(error)
        return tuple(found)

    def raw_tables(self, targets: Sequence[str] = ()) -> list[RawTable]:
        """The raw tables that the targets name, each once; without targets, those of all domains.

        Without targets, raw tables of broken domains are left out.

        Args:
            targets: domains and raw tables, `<domain>_raw.<table>`.

        Raises:
            UsageError: a target names no raw table.
            BrokenDomain: a target names a domain that cannot be used.
        """
        every = [raw for domain in self.domains for raw in domain.raw_tables]
        if not targets:
            return every
        found: dict[str, RawTable] = {}
        for target in targets:
            named = {raw.relation: raw for raw in every if target in (raw.domain, raw.relation)}
            if not named:
                raise self._no_raw_table(target, every)
            found |= named
        return list(found.values())

    def raw_table(self, relation: str) -> RawTable:
        """One raw table by `<domain>_raw.<table>`.

        Raises:
            UsageError: there is no raw table of that name.
            BrokenDomain: its domain cannot be used.
        """
        found = self.raw_tables([relation])
        if found[0].relation != relation:
            known = ", ".join(raw.relation for raw in found)
            raise UsageError(f"`{relation}` is a domain, not a raw table. Raw tables: {known}.")
        return found[0]

    def _no_raw_table(self, target: str, every: Sequence[RawTable]) -> UsageError:
        for domain in self.broken:
            if target == domain.name or target.startswith(f"{domain.name}_raw."):
                return BrokenDomain(domain)
        known = ", ".join(raw.relation for raw in every)
        return UsageError(
            f"`{printable(target)}` is neither a domain with topics nor a raw table. "
            f"Raw tables: {known}."
        )

    def product(self, relation: str) -> Product:
        """A product by `<domain>.<product>`; the domain may be broken.

        A product can be rolled back while its domain is broken.

        Raises:
            UsageError: no such domain or product; the message lists the known ones.
            BrokenDomain: the domain is broken and the product cannot be read.
        """
        domain_name, dot, name = relation.partition(".")
        domain = self.reading(domain_name)
        if domain.problems and domain.product(name) is None:
            raise BrokenDomain(domain)
        if not dot:
            names = ", ".join(product.relation for product in domain.products) or "none"
            raise UsageError(f"`{relation}` is a domain, not a product. Its products: {names}.")
        product = domain.product(name) or self._renamed(relation)
        if product is None:
            raise UsageError(unknown_product(domain, name))
        return product

    def _renamed(self, relation: str) -> Product | None:
        """The product of which a relation is a former name, in whatever domain it is now."""
        every = (product for domain in self.readings for product in domain.products)
        return next((each for each in every if relation in each.relations), None)

    def folder(self, name: str) -> Path:
        """The dbt project of a domain."""
        if name == ROOT_DOMAIN:
            return self.root
        return self.root / "domains" / name.removeprefix("domains/")


def broken_because(domain: Domain) -> str:
    """Why a domain cannot be used: its first problem with file and line."""
    more = len(domain.problems) - 1
    if not more:
        return str(domain.problems[0])
    return f"{domain.problems[0]} ({more} more: `mesh check` lists them.)"


def _is_domain(folder: Path) -> bool:
    # After a domain is removed, its folder may remain with files that dbt wrote.
    return folder.is_dir() and any(
        (folder / name).exists() or (folder / name).is_symlink() for name in _SIGNS_OF_A_DOMAIN
    )


def _circle(name: str, upstream: Callable[[str], tuple[str, ...]]) -> list[str]:
    """The path from a domain back to itself; empty if there is none."""
    seen: set[str] = set()

    def search(at: str, path: list[str]) -> list[str]:
        for other in upstream(at):
            if other == name:
                return path
            if other not in seen:
                seen.add(other)
                if found := search(other, [*path, other]):
                    return found
        return []

    return search(name, [name])


def _assumed(consumer: Domain, provider: Domain) -> Iterator[Product]:
    """Products of a broken provider that a consumer refers to but that cannot be read."""
    known = {product.model for product in provider.products}
    named = {
        each.product
        for each in consumer.references
        # Only the declaration says which version has the name without a number.
        if each.domain == provider.name and each.version is None
    }
    mention = re.compile(rf"(?<![\w.]){re.escape(provider.name)}\.([a-z][a-z0-9_]*)")
    for product in consumer.products:
        if product.checks_path.is_file():
            named.update(mention.findall(product.checks_path.read_text(errors="replace")))
    for name in sorted(named - known - {product.name for product in provider.products}):
        product = undeclared(f"{provider.name}.{name}")
        folder = provider.path / "models"
        yield replace(
            product, path=provider.path / "dbt_project.yml", sql_path=folder / f"{name}.sql"
        )


def undeclared(relation: str) -> Product:
    """What is known of a product from its relation alone."""
    domain, _, name = relation.partition(".")
    return Product(
        domain=domain,
        model=name,
        version=1,
        is_latest=True,
        columns=(),
        description="",
        group=None,
        contract=False,
        grain=(),
        promises={},
        path=Path(),
        line=1,
        sql_path=Path(),
    )


def unknown_product(domain: Domain, name: str) -> str:
    """The message for a product that the domain does not publish."""
    import difflib

    names = sorted(product.name for product in domain.products)
    published = f"{domain.name} publishes: {', '.join(names) or 'nothing'}."
    if name in domain.private_models:
        owner = domain.owner()
        contact = f"{owner.get('name', domain.name)} <{owner.get('email', 'no address')}>"
        return (
            f"`{name}` is a private model of {domain.name}, not a product; ask its owner "
            f"({contact}) to publish it. {published}"
        )
    message = f"{domain.name} publishes no product `{name}`. {published}"
    close = difflib.get_close_matches(name, names, n=1)
    return f"{message} Did you mean ref('{domain.name}', '{close[0]}')?" if close else message
