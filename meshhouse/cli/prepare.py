"""`mesh prepare`: everything that dbt makes of the declarations, ahead of time."""

from __future__ import annotations

import click

from meshhouse.cli.output import counted, escaped
from meshhouse.errors import MeshError
from meshhouse.repository import Repository, broken_because
from meshhouse.runs.parse import fresh_manifest, parse_domains


@click.command()
def prepare() -> int:
    """Parse every domain now, as part of an image or a package.

    A prepared checkout loads without dbt, even if it is read-only.
    """
    repository = Repository.find()
    failed = parse_all(repository)
    click.echo(f"{counted(len(repository.domain_names) - failed, 'domain')} prepared.")
    return 1 if failed else 0


def parse_all(repository: Repository) -> int:
    """Parses every domain that needs it and says which cannot be used; returns how many."""
    failed = 0
    parse_domains(repository, repository.domains)
    for domain in repository.domains:
        try:
            fresh_manifest(repository, domain)
        except MeshError as error:
            failed += 1
            click.echo(f"mesh: {escaped(str(error))}", err=True)
    for domain in repository.broken:
        failed += 1
        because = escaped(broken_because(domain))
        click.echo(f"mesh: {escaped(domain.name)} is broken: {because}", err=True)
    return failed
