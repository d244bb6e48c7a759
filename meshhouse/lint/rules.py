"""The rules of `mesh check`, and their order.

Belongs here: rules about domains, references and products. Not here: problems that make
declarations unusable (repository/), or reading the columns of a model's SQL (columns.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from meshhouse.audit import read_checks
from meshhouse.governance.contract import Contract
from meshhouse.lint.collisions import colliding_checks, unknown_weights
from meshhouse.lint.columns import selected_columns
from meshhouse.lint.deprecation import deprecation_findings
from meshhouse.lint.features import feature_findings
from meshhouse.lint.finding import Finding
from meshhouse.lint.formats import format_findings
from meshhouse.lint.hidden import hidden_findings
from meshhouse.lint.policies import DomainPolicies
from meshhouse.lint.renames import former_name_findings, rename_findings
from meshhouse.lint.sinks import sink_findings
from meshhouse.lint.sql.dialects import dialect_in_use
from meshhouse.lint.waivers import unusable_waivers, waiver_findings
from meshhouse.repository import DeclarationError, Domain, Product, Repository
from meshhouse.repository.references import unresolved
from meshhouse.repository.shapes import mapping, mappings
from meshhouse.repository.sql import without_comments
from meshhouse.repository.yaml import Located

_MOST_NAMED = 20


def check(
    repository: Repository,
    published: Callable[[Repository], Mapping[str, Contract]] = lambda repository: {},
) -> list[Finding]:
    """Every finding in a repository, sorted by file and line. Needs neither data nor dbt.

    Args:
        repository: what is checked; its files are read again.
        published: gives published relation -> its current contract, for policies that look at it.
    """
    fresh = Repository(repository.root)
    findings = {Finding(each.path, each.line, each.problem, "") for each in fresh.shared_problems}
    policies = DomainPolicies(fresh, published(fresh))
    findings.update(policies.in_file())
    for domain in fresh.readings:
        findings.update(check_domain(fresh, domain, policies))
        if not domain.problems:
            # Not among `refused`: a run can build such a model, it just builds it every time.
            findings.update(hidden_findings(fresh, domain))
    return sorted(findings)


def check_domain(
    repository: Repository, domain: Domain, policies: DomainPolicies | None = None
) -> list[Finding]:
    """Every finding in one domain, broken or not, sorted by file and line."""
    policies = policies or DomainPolicies(repository)
    findings = set(refused(repository, domain, policies))
    findings.update(policies.others(domain))
    findings.update(
        Finding(each.path, each.line, each.problem, each.remedy) for each in domain.unknown_keys
    )
    today = datetime.now(UTC).date()
    findings.update(waiver_findings(repository, domain, today))
    findings.update(deprecation_findings(repository, domain, today))
    findings.update(former_name_findings(repository, domain))
    findings.update(_orphans(domain))
    # Not among `refused`: a sink must not stop a publication, so it refuses its delivery itself.
    findings.update(sink_findings(repository, domain))
    unusable = {each.path for each in domain.problems}
    for product in domain.products:
        if not unusable & {product.path, product.sql_path}:
            findings.update(_columns(product))
    return sorted(findings)


def refused(
    repository: Repository, domain: Domain, policies: DomainPolicies | None = None
) -> list[Finding]:
    """The findings in one domain that stop a run from publishing it, sorted by file and line.

    These are mistakes that would affect consumers. Not among them:

    - style, and checks files without a product (the model may simply no longer be public);
    - the columns that a product selects. Without dbt they are a guess, and dbt itself compares
      the built columns with the contract that every product must have.
    """
    findings = {Finding(each.path, each.line, each.problem, "") for each in domain.problems}
    findings.update(
        Finding(each.path, each.line, each.problem, each.remedy)
        for each in domain.unknown_keys
        if not each.is_style
    )
    findings.update(unusable_waivers(domain))
    unusable = {each.path for each in domain.problems}
    for rule in (_references, _increments, _formats, rename_findings):
        findings.update(rule(repository, domain))
    for product in domain.products:
        # A product that was only partly read would give false findings.
        if product.path not in unusable:
            findings.update(_product(domain, product, unusable))
    if not domain.problems:
        findings.update(feature_findings(repository, domain))
    findings.update((policies or DomainPolicies(repository)).errors(domain))
    return sorted(findings)


def _references(repository: Repository, domain: Domain) -> Iterator[Finding]:
    for reference in domain.references:
        problem = unresolved(repository, domain, reference)
        if problem:
            yield Finding(reference.path, reference.line, problem, "")


_INCREMENT = re.compile(r"landed_since_last_build\s*\(")
_OWN_MODEL = re.compile(r"""\bref\(\s*['"](\w+)['"]\s*\)""")


def _increments(repository: Repository, domain: Domain) -> Iterator[Finding]:
    """Finds landed_since_last_build() on another domain's product.

    A rebuilt product keeps the landing times of its rows, so corrected rows do not look new.
    """
    others = {each.path.stem: each for each in domain.references if each.domain != domain.name}
    for path in sorted((domain.path / "models").rglob("*.sql")):
        try:
            text = without_comments(path)
        except DeclarationError:
            continue  # one of the domain's problems
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
                    "domain's product: a rebuild corrects rows but keeps their landing times.",
                    "Read all its rows, with materialized='table'.",
                )


def _formats(repository: Repository, domain: Domain) -> Iterator[Finding]:
    for raw in domain.raw_tables:
        yield from format_findings(raw)


def _orphans(domain: Domain) -> Iterator[Finding]:
    """Checks files that belong to no product, so that no run reads them."""
    known = {product.checks_path for product in domain.products}
    models = domain.path / "models"
    for path in sorted([*models.rglob("*.checks.yml"), *models.rglob("*.checks.yaml")]):
        # In a broken domain, the product may be declared in a file that cannot be read.
        if path not in known and not domain.problems:
            yield Finding(
                path,
                1,
                "these checks belong to no product, so nothing runs them.",
                "Name the file after the SQL of a product (<product>.checks.yml) and put it "
                "beside that SQL, or remove it.",
            )


def _product(domain: Domain, product: Product, unusable: Collection[Path]) -> Iterator[Finding]:
    yield from _declaration(domain, product)
    if product.checks_path in unusable:
        return
    written = read_checks(product)
    yield from _checks(product, written)
    yield from colliding_checks(product, written)
    yield from unknown_weights(product, written)


_Requirement = tuple[Callable[[Domain, Product], bool], str, str]
_REQUIREMENTS: tuple[_Requirement, ...] = (
    (
        lambda domain, product: bool(product.columns),
        "has no columns",
        "List its columns with their types: they are its contract.",
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
                f"the grain of {product.relation} names `{column}`, which is not one of its "
                "columns.",
                "Name columns of the contract.",
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
    lacking = [name for name in dict.fromkeys(selected) if name not in declared]
    for name, more in _first(lacking):
        yield Finding(
            product.path,
            product.line,
            f"{product.sql_path.name} selects `{name}`{more}, which the contract of "
            f"{product.relation} lacks.",
            "Add it to the columns, or drop it from the SQL.",
        )
    there = set(selected)
    for name, more in _first([name for name in declared if name not in there]):
        yield Finding(
            product.path,
            declared[name].line,
            f"the contract of {product.relation} has `{name}`{more}, which "
            f"{product.sql_path.name} does not select.",
            "Select it, or drop it from the contract.",
        )


def _first(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each name with an empty text; of more than 20 names, the first and " and N more"."""
    if len(names) <= _MOST_NAMED:
        yield from ((name, "") for name in names)
    else:
        yield names[0], f" and {len(names) - 1:,} more"


def _checks(product: Product, written: Located) -> Iterator[Finding]:
    names = {column.name for column in product.columns}
    path = product.checks_path
    if "filter" in written:
        yield Finding(
            path,
            written.line_of("filter"),
            "this `filter` would leave rows out of every check, also of those that the declaration "
            f"of {product.relation} implies.",
            "Write `filter` in each check that it is meant for.",
        )
    lines: dict[str, int] = {}
    for column in mappings(written.get("columns")):
        name = str(column.get("name"))
        if name in lines:
            yield Finding(
                path,
                column.line,
                f"`{name}` has an entry in line {lines[name]} already.",
                "Write all checks of a column in one entry.",
            )
        lines.setdefault(name, column.line)
        if name not in names:
            yield Finding(
                path,
                column.line,
                f"checks `{name}`, which is not a column of {product.relation}.",
                "Name a column of the contract.",
            )
    for each in mappings(written.get("checks")):
        if "duplicate" not in each:
            continue
        columns = tuple(str(name) for name in mapping(each["duplicate"]).get("columns") or ())
        for name in _missing(columns, names):
            yield Finding(
                path,
                each.line_of("duplicate"),
                f"checks `{name}`, which is not a column of {product.relation}.",
                "Name a column of the contract.",
            )


def _missing(columns: Iterable[str], names: set[str]) -> list[str]:
    return [column for column in columns if column not in names]
