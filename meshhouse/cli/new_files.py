"""`mesh new domain`, `mesh new product`, `mesh new reference`.

Belongs here: flags, and the questions about missing ones where there is a terminal. Not here: what
is written (scaffold/), topics (new_topic.py), or versions (new.py).
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from meshhouse.cli.output import console, escaped
from meshhouse.errors import UsageError
from meshhouse.repository import Domain, Product, Repository, display_path, printable
from meshhouse.repository.new_topic import KEY_AS_SENT
from meshhouse.scaffold.columns import columns_of_product
from meshhouse.scaffold.domain import Owner, check_domain_name, new_domain
from meshhouse.scaffold.product import (
    Source,
    check_product_name,
    new_product,
    readable,
    source_of,
)
from meshhouse.scaffold.reference import new_reference
from meshhouse.scaffold.write import editing, write_changes, write_new


@click.command()
@click.argument("name")
@click.option("--owner", metavar="NAME", help="Who answers for it; by default a team of its name.")
@click.option("--email", metavar="ADDRESS", help="The owner's e-mail address.")
@click.option("--contact", metavar="TEXT", help="Where else to ask, such as a channel.")
@click.option("--about", metavar="TEXT", help="What it is about, for its README.")
def domain(
    name: str, owner: str | None, email: str | None, contact: str | None, about: str | None
) -> None:
    """Write a new domain: its dbt project, its owner and its README."""
    repository = Repository.find()
    check_domain_name(repository, name)
    team = f"{name.replace('_', ' ').capitalize()} team"
    if email is None:
        email = _asked(f"E-mail address of {owner or team}", None, "--email")
    person = Owner(owner or team, email, contact or "")
    files = new_domain(repository, name, person, about or "")
    write_new(files)
    _say(files, ())
    _next(
        f"mesh new topic {name}.TABLE --from FILE.jsonl     declares events, from samples",
        f"mesh new reference {name} --to DOMAIN.PRODUCT     reads another domain's product",
    )


@click.command(short_help="Write a product: SQL with all columns of its source, declaration.")
@click.argument("name", metavar="DOMAIN.NAME")
@click.option(
    "--from",
    "origin",
    metavar="SOURCE",
    help="A product, a raw table or its topic, or a model of the domain.",
)
@click.option("--grain", metavar="COLUMN[,COLUMN]", help="The columns that identify a row.")
@click.option("--description", metavar="TEXT", help="What the product is.")
def product(name: str, origin: str | None, grain: str | None, description: str | None) -> None:
    """Write a new product: SQL with all columns of its source, and its declaration.

    From another domain's product, the reference to it is written as well.
    """
    repository = Repository.find()
    found, model = _named(repository, name)
    check_product_name(found, model)
    if origin is None:
        known = ", ".join(readable(repository, found))
        origin = _asked(f"What it is made from ({known or 'nothing yet'})", None, "--from")
    source = source_of(repository, found, origin)
    columns = _grain(source, grain)
    with editing(repository) as current:
        found = current.domain(found.name)
        if source.new or source.changed:  # made from files that another call may have changed
            source = source_of(current, found, origin)
        files = {**source.new, **new_product(found, model, source, columns, description or "")}
        write_changes(current, found.name, files, source.changed)
    _say(files, source.changed)
    sql = next(path for path in files if path.name == f"{model}.sql")
    _next(
        f"Edit {display_path(sql)}: leave out columns, compute others.",
        "mesh check",
        f"mesh run {found.name}",
    )


@click.command(short_help="Let a domain read a product of another domain.")
@click.argument("consumer", metavar="DOMAIN")
@click.option("--to", "relation", metavar="DOMAIN.PRODUCT", help="The product to read.")
def reference(consumer: str, relation: str | None) -> None:
    """Let a domain read another domain's product: dependencies.yml, and a staging model."""
    repository = Repository.find()
    reader = repository.domain(consumer)
    if relation is None:
        others = [
            each.relation
            for other in repository.domains
            if other.name != reader.name
            for each in other.products
        ]
        relation = _asked(f"Which product ({', '.join(others) or 'none yet'})", None, "--to")
    with editing(repository) as current:
        reader, read = current.domain(consumer), _product(current, relation)
        columns = [each.name for each in columns_of_product(current, read)]
        made = new_reference(current, reader, read, columns)
        write_changes(current, reader.name, made.new, made.changed)
    _say(made.new, made.changed)
    _next(
        f"Read it with ref('{made.model}'); remove the columns that {reader.name} does not need.",
        f"mesh new product {reader.name}.NAME --from {made.model}",
    )


def _named(repository: Repository, name: str) -> tuple[Domain, str]:
    domain_name, dot, model = name.partition(".")
    if not dot or not model:
        raise UsageError(
            f"`{printable(name)}` is not a product. Write DOMAIN.NAME, such as sales.orders."
        )
    return repository.domain(domain_name), model


def _product(repository: Repository, relation: str) -> Product:
    if "." not in relation:
        raise UsageError(
            f"`{printable(relation)}` is not a product. Write DOMAIN.PRODUCT, such as sales.orders."
        )
    return repository.product(relation)


def _grain(source: Source, grain: str | None) -> Sequence[str]:
    if grain is None:
        if source.grain and set(source.grain) <= {each.name for each in source.columns}:
            return source.grain
        known = ", ".join(each.name for each in source.columns)
        keys = [each.name for each in source.columns if each.description == KEY_AS_SENT]
        key = keys[0] if len(keys) == 1 else None
        grain = _asked(f"The columns that identify a row (of {known})", key, "--grain")
    columns = [each.strip() for each in grain.split(",") if each.strip()]
    if not columns or len(set(columns)) < len(columns):
        raise UsageError(
            "--grain names no column, or one twice. Write COLUMN[,COLUMN], such as order_id."
        )
    return columns


def _asked(question: str, default: str | None, option: str) -> str:
    """An answer from the terminal.

    Raises:
        UsageError: there is no terminal.
    """
    if not sys.stdin.isatty():
        example = f", such as {option} {shlex.quote(default)}" if default else ""
        raise UsageError(
            f"{option} is missing, and there is no terminal to ask. Give {option}{example}."
        )
    return str(click.prompt(escaped(question), default=default, err=True))


def _say(new: Iterable[Path], changed: Iterable[Path]) -> None:
    out = console()
    for path in new:
        out.print(f"wrote    {escaped(display_path(path))}", markup=False)
    for path in changed:
        out.print(f"changed  {escaped(display_path(path))}", markup=False)


def _next(*steps: str) -> None:
    out = console()
    for at, step in enumerate(steps, start=1):
        out.print(f"{at}. {escaped(step)}", markup=False)
