"""The rules that `mesh check` applies, and the order in which it does.

Belongs here: rules about domains, references and products. Does not: which keys YAML may
have (keys.py), or which columns SQL makes (columns.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from meshhouse.checks.collisions import colliding_checks
from meshhouse.checks.columns import selected_columns
from meshhouse.checks.features import feature_findings
from meshhouse.checks.finding import Finding
from meshhouse.checks.formats import format_findings
from meshhouse.checks.hidden import hidden_findings
from meshhouse.checks.keys import unknown_keys
from meshhouse.engines.dialects import dialect_in_use
from meshhouse.references import unresolved
from meshhouse.repository import DeclarationError, Domain, Product, Repository
from meshhouse.repository.read import without_comments
from meshhouse.repository.types import parse_type
from meshhouse.repository.yaml import Located, read_yaml

_IGNORED_CHECKS = ("*.checks.yml", "**/*.checks.yml")


def check(repository: Repository) -> list[Finding]:
    """Every finding in a repository, sorted by place. Needs no data and no dbt."""
    findings: list[Finding] = []

    def unusable(error: DeclarationError) -> None:
        findings.append(Finding(error.path, error.line, error.problem, ""))

    tolerant = Repository(repository.root, on_error=unusable)
    try:
        domains = tolerant.domains
    except DeclarationError as error:  # a circle between domains has no order to go by
        unusable(error)
        return sorted(set(findings))
    for domain in domains:
        findings += check_domain(tolerant, domain)
        # A run builds such a model each time, so no run needs to refuse it.
        findings += hidden_findings(domain)
    return sorted(set(findings))


def check_domain(repository: Repository, domain: Domain) -> list[Finding]:
    """Every finding in one domain whose declarations can be read, sorted by place."""
    findings: list[Finding] = []
    for rule in (_dbtignore, _references, _increments, _raw_types, _formats, _keys):
        findings += rule(repository, domain)
    for product in domain.products:
        findings += _product(domain, product)
    findings += feature_findings(repository, domain)
    return sorted(set(findings))


def _dbtignore(repository: Repository, domain: Domain) -> Iterator[Finding]:
    path = domain.path / ".dbtignore"
    if not any(product.checks_path.exists() for product in domain.products):
        return
    lines = path.read_text().split() if path.exists() else []
    if not any(line in _IGNORED_CHECKS for line in lines):
        yield Finding(
            path,
            1,
            "dbt would read the checks files as its own YAML and fail.",
            f"Add the line `{_IGNORED_CHECKS[0]}`.",
        )


def _references(repository: Repository, domain: Domain) -> Iterator[Finding]:
    staging = domain.path / "models" / "staging"
    for reference in domain.references:
        problem = unresolved(repository, domain, reference)
        if problem:
            yield Finding(reference.path, reference.line, problem, "")
        elif reference.domain != domain.name and staging not in reference.path.parents:
            name = f"stg_{reference.domain}__{reference.product}"
            yield Finding(
                reference.path,
                reference.line,
                f"{reference.domain}.{reference.product} is read outside models/staging/.",
                f"Read it in models/staging/{name}.sql and use ref('{name}') here.",
            )


_INCREMENT = re.compile(r"landed_since_last_build\s*\(")
_OWN_MODEL = re.compile(r"""\bref\(\s*['"](\w+)['"]\s*\)""")


def _increments(repository: Repository, domain: Domain) -> Iterator[Finding]:
    """A product that is built anew keeps the landing times of its rows, whatever it corrects."""
    others = {each.path.stem: each for each in domain.references if each.domain != domain.name}
    for path in sorted((domain.path / "models").rglob("*.sql")):
        text = without_comments(path)
        increment = _INCREMENT.search(text)
        if increment is None:
            continue
        for name in [path.stem, *_OWN_MODEL.findall(text)]:
            if name in others:
                product = f"{others[name].domain}.{others[name].product}"
                yield Finding(
                    path,
                    text.count("\n", 0, increment.start()) + 1,
                    f"landed_since_last_build() misses corrections of {product}, another "
                    "domain's product: its rows land once, however often it is built.",
                    "Read it whole, with materialized='table'.",
                )


def _raw_types(repository: Repository, domain: Domain) -> Iterator[Finding]:
    for raw in domain.raw_tables:
        for column in raw.columns:
            problem = _bad_type(column.data_type)
            if problem:
                yield Finding(
                    raw.path,
                    column.line,
                    f"column `{column.name}` of {raw.relation}: {problem}",
                    "",
                )


def _formats(repository: Repository, domain: Domain) -> Iterator[Finding]:
    for raw in domain.raw_tables:
        yield from format_findings(raw)


def _bad_type(text: str) -> str | None:
    if not text:
        return "no data_type is given."
    try:
        parse_type(text)
    except ValueError as error:
        return str(error)
    return None


def _keys(repository: Repository, domain: Domain) -> Iterator[Finding]:
    files = [*domain.yaml_files, domain.path / "dependencies.yml"]
    files += [product.checks_path for product in domain.products]
    for path in files:
        if path.exists():
            try:
                content = read_yaml(path)
            except DeclarationError as error:
                yield Finding(error.path, error.line, error.problem, "")
                continue
            yield from unknown_keys(path, content)


def _product(domain: Domain, product: Product) -> Iterator[Finding]:
    yield from _declaration(domain, product)
    yield from _columns(product)
    if product.checks_path.exists():
        try:
            written = read_yaml(product.checks_path)
        except DeclarationError:
            return  # reported with the keys
        yield from _checks(product, written)
        yield from colliding_checks(product, written)
    else:
        yield Finding(
            product.path,
            product.line,
            f"product {product.relation} has no checks.",
            f"Write {product.checks_path.name} beside its SQL; verify its grain there.",
        )


_Requirement = tuple[Callable[[Domain, Product], bool], str, str]
_REQUIREMENTS: tuple[_Requirement, ...] = (
    (
        lambda domain, product: bool(domain.owners.get(product.group or "", {}).get("email")),
        "has no owner",
        "Set config.group to a group of this domain whose owner has a name and an e-mail address.",
    ),
    (
        lambda domain, product: product.contract,
        "has no contract",
        "Set config.contract.enforced to true.",
    ),
    (
        lambda domain, product: bool(product.grain),
        "states no grain",
        "Set config.meta.grain to the columns that identify a row.",
    ),
    (
        lambda domain, product: bool(product.description),
        "has no description",
        'Say what it holds and end with the grain: "One row per ...".',
    ),
    (
        lambda domain, product: product.sql_path.exists(),
        "has no SQL",
        "Write the model beside its YAML, with the same name.",
    ),
)


def _declaration(domain: Domain, product: Product) -> Iterator[Finding]:
    for holds, problem, remedy in _REQUIREMENTS:
        if not holds(domain, product):
            yield Finding(
                product.path, product.line, f"product {product.relation} {problem}.", remedy
            )
    names = {column.name for column in product.columns}
    for column in product.grain:
        if column not in names:
            yield Finding(
                product.path,
                product.line,
                f"the grain of {product.relation} names `{column}`, which is no column of it.",
                "Name columns of the contract.",
            )
    for each in product.columns:
        problem = _bad_type(each.data_type)
        if problem:
            yield Finding(
                product.path,
                each.line,
                f"column `{each.name}` of {product.relation}: {problem}",
                "",
            )


def _columns(product: Product) -> Iterator[Finding]:
    if not product.sql_path.exists():
        return
    selected, problem = selected_columns(product.sql_path, dialect_in_use().sqlglot)
    if problem:
        yield Finding(product.sql_path, 1, problem, "List the columns of the product.")
    if selected is None:
        return
    declared = {column.name.lower(): column for column in product.columns}
    for name in selected:
        if name not in declared:
            yield Finding(
                product.path,
                product.line,
                f"{product.sql_path.name} selects `{name}`, which the contract of "
                f"{product.relation} lacks.",
                "Add it to the columns, or drop it from the SQL.",
            )
    for name, column in declared.items():
        if name not in selected:
            yield Finding(
                product.path,
                column.line,
                f"the contract of {product.relation} has `{name}`, which "
                f"{product.sql_path.name} does not select.",
                "Select it, or drop it from the contract.",
            )


def _checks(product: Product, written: Located) -> Iterator[Finding]:
    names = {column.name for column in product.columns}
    path = product.checks_path
    unique: list[tuple[str, ...]] = []
    for column in written.get("columns") or []:
        name = str(column.get("name"))
        if name not in names:
            yield Finding(
                path,
                column.line,
                f"checks `{name}`, which is no column of {product.relation}.",
                "Name a column of the contract.",
            )
        unique += [(name,) for each in column.get("checks") or [] if "duplicate" in each]
    for each in written.get("checks") or []:
        if "duplicate" not in each:
            continue
        columns = tuple(str(name) for name in (each["duplicate"] or {}).get("columns") or ())
        unique.append(columns)
        for name in _missing(columns, names):
            yield Finding(
                path,
                each.line_of("duplicate"),
                f"checks `{name}`, which is no column of {product.relation}.",
                "Name a column of the contract.",
            )
    if product.grain and set(product.grain) not in [set(columns) for columns in unique]:
        yield Finding(
            path,
            1,
            f"nothing verifies the grain of {product.relation} ({', '.join(product.grain)}).",
            "Add a `duplicate` check of exactly these columns.",
        )


def _missing(columns: Iterable[str], names: set[str]) -> list[str]:
    return [column for column in columns if column not in names]
