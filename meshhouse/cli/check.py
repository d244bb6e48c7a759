"""`mesh check`: checks of declarations and SQL, in seconds and without data."""

from __future__ import annotations

import time
from itertools import groupby

import click

from meshhouse.cli.output import console, escaped, excerpt, print_json, width
from meshhouse.errors import MeshError, UsageError
from meshhouse.governance.contract import Contract
from meshhouse.lint import Finding, target_findings
from meshhouse.lint import check as find
from meshhouse.lint.explain import explain as explained
from meshhouse.repository import Repository, display_path
from meshhouse.repository.policies import read_policies
from meshhouse.runs.published_check import published_findings

_WIDEST_NAME = 32
"""Characters of the column of names in `--explain`; a longer name pushes its text to the right."""


@click.command()
@click.option(
    "--target",
    help="Check, too, that every model runs on this target, or on `all`: local, spark, snowflake.",
)
@click.option("--explain", metavar="PRODUCT", help="List each check of a product and its origin.")
@click.option("--quiet", is_flag=True, help="Print findings only.")
@click.option("--json", "as_json", is_flag=True, help="Print findings as JSON.")
def check(target: str | None, explain: str | None, quiet: bool, as_json: bool) -> int:
    """Check every declaration: owners, contracts, grains, references, columns, checks, policies.

    Where something is published, also check what changed of it: a change that a run would refuse
    is a finding. `mesh diff` shows all changes.

    With --target, also check the SQL of every model as it would be sent to that target: its
    syntax, and that the target has each function and type. Needs no database.

    With --explain, only list what verifies one product, such as `sales.orders`: checks that follow
    from its contract, written checks, dbt tests, promises, policies and defaults of the platform.
    """
    started = time.monotonic()
    repository = Repository.find()
    if explain is not None:
        if target is not None or quiet:
            raise UsageError("--explain lists checks and finds nothing: leave out the others.")
        return _explain(repository, explain, as_json)
    findings = find(repository, _published)
    refused, notices = published_findings(repository, findings)
    findings = sorted({*findings, *refused})
    if target is not None:
        findings = sorted({*findings, *_on_targets(repository, target)})
    if as_json:
        print_json(
            [
                {
                    "file": display_path(each.path),
                    "line": each.line,
                    "problem": each.problem,
                    "remedy": each.remedy,
                    "rule": each.rule or None,
                    "severity": "warn" if each.is_warning else "error",
                }
                for each in findings
            ]
        )
    else:
        for each in findings:
            click.echo(str(each))
        count = len(repository.domain_names)
        errors = sum(not each.is_warning for each in findings)
        found = f"{errors} finding{'' if errors == 1 else 's'}"
        if warnings := len(findings) - errors:
            found += f" and {warnings} warning{'' if warnings == 1 else 's'}"
        console(quiet).print(f"{found} in {count} domains in {time.monotonic() - started:.1f} s")
    for notice in notices:
        click.echo(f"mesh: {escaped(notice)}", err=True)
    return 1 if any(not each.is_warning for each in findings) else 0


def _explain(repository: Repository, relation: str, as_json: bool) -> int:
    product = repository.product(relation)
    found = explained(repository, product)
    if as_json:
        print_json(
            [
                {
                    "check": each.check,
                    "from": each.origin,
                    "file": display_path(each.path) if each.path else None,
                    "line": each.line,
                    "says": each.says,
                }
                for each in found
            ]
        )
        return 0
    limit = (width() or 80) - 1
    click.echo(f"{product.relation}: {len(found)} checks")
    for (origin, path), group in groupby(found, key=lambda each: (each.origin, each.path)):
        click.echo(f"\n{origin}" + (f", {display_path(path)}" if path else ""))
        listed = list(group)
        wide = min(_WIDEST_NAME, max(len(each.check) for each in listed))
        for each in listed:
            line = f"{each.line or '':>4}  {each.check:<{wide}}  {each.says}"
            click.echo(excerpt(line, limit))
    return 0


def _published(repository: Repository) -> dict[str, Contract]:
    """The published contracts, if a policy may need them: for a deprecation or an own rule."""
    deprecates = any(
        product.deprecation_date for domain in repository.readings for product in domain.products
    )
    if not deprecates and not read_policies(repository.root).own:
        return {}
    # Imported here because engines load DuckDB, which takes 0.3 s.
    from meshhouse.engines import engine

    try:
        ledger = engine(repository).ledger
        heads = (ledger.production or ledger).heads()
    except (MeshError, ImportError) as error:
        console().print(f"Without what is published: {error}", markup=False)
        return {}
    return {
        relation: Contract.from_text(head.contract)
        for relation, head in heads.items()
        if head.contract
    }


def _on_targets(repository: Repository, target: str) -> list[Finding]:
    # Imported here because these modules import dbt, which takes seconds.
    from meshhouse.lint.sql.dialects import dialect, every_dialect
    from meshhouse.lint.sql.targets import check_targets

    dialects = every_dialect() if target == "all" else [dialect(target)]
    features = [
        finding
        for each in dialects
        for domain in repository.domains
        for finding in target_findings(domain, each.target)
    ]
    return [*check_targets(repository, dialects), *features]
