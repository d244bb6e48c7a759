"""`mesh dev`: Dagster's web page for this mesh."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from meshhouse.errors import MeshError
from meshhouse.repository import Repository, broken_because
from meshhouse.runs.parse import fresh_manifest, parse_domains


@click.command()
@click.option("--port", default=3000, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True)
def dev(port: int, host: str) -> None:
    """Open the mesh in Dagster (Ctrl-C ends it)."""
    from meshhouse.dagster.home import dagster_home

    repository = Repository.find()
    parse_domains(repository, repository.domains)
    for domain in repository.domains:  # parsed now, so that the page opens without waiting for dbt
        try:
            fresh_manifest(repository, domain)
        except MeshError as error:  # the page shows the error, and all other domains
            click.echo(f"mesh: {error}", err=True)
    for domain in repository.broken:
        click.echo(f"mesh: {domain.name} is broken: {broken_because(domain)}", err=True)
    os.environ["DAGSTER_HOME"] = str(dagster_home(repository))
    os.environ["MESH_ROOT"] = str(repository.root)
    # Warnings between libraries are not for users; a developer can set the variable.
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    program = str(Path(sys.executable).with_name("dagster"))
    arguments = ["dev", "-m", "orchestration.definitions", "-p", str(port), "-h", host]
    os.execv(program, [program, *arguments])  # noqa: S606 - the installed dagster, no shell
