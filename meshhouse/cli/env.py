"""`mesh env`: lists and drops environments."""

from __future__ import annotations

import sys

import click

from meshhouse.cli.output import console, counted, print_json, results, size, table
from meshhouse.engines import engine
from meshhouse.errors import UsageError
from meshhouse.maintenance.environments import drop as drop_environment
from meshhouse.maintenance.environments import environments, known_environment
from meshhouse.repository import Repository


@click.group(invoke_without_command=True)
@click.pass_context
def env(context: click.Context) -> None:
    """List or drop environments; with MESH_ENV=NAME, any command works in an environment."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@env.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_(as_json: bool) -> None:
    """List environments, and the products that each has published itself."""
    repository = Repository.find()
    found = environments(repository, engine(repository))
    if as_json:
        print_json(
            [
                {
                    "name": each.name,
                    "products": each.products,
                    "newest_publication": each.newest,
                    "rows": each.rows,
                    "bytes": each.bytes,
                    "in_use": each.name == repository.environment,
                }
                for each in found
            ]
        )
        return
    if found:
        results().print(
            table(
                ["", "environment", "products", "newest", "rows", "size"],
                [
                    (
                        "*" if each.name == repository.environment else "",
                        each.name,
                        ", ".join(each.products) or None,
                        each.newest,
                        each.rows,
                        size(each.bytes),
                    )
                    for each in found
                ],
                right=["rows", "size"],
            )
        )
    else:
        console().print("There is only production. `MESH_ENV=NAME mesh run` makes an environment.")


@env.command()
@click.argument("name", metavar="NAME")
@click.option("--yes", is_flag=True, help="Do not ask.")
def drop(name: str, yes: bool) -> None:
    """Remove an environment: its tables, files, builds and history. Production stays."""
    repository = Repository.find()
    chosen = engine(repository)
    name = known_environment(repository, chosen, name)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(
                f"This would remove the environment {name} and all its data; add --yes."
            )
        count = next(each for each in environments(repository, chosen) if each.name == name)
        products = counted(len(count.products), "published product")
        if not click.confirm(f"Remove the environment {name} with {products} for good?", err=True):
            console().print("Nothing was removed.")
            return
    drop_environment(repository, chosen, name)
    console().print(f"The environment {name} was removed; production is unchanged")
