"""`mesh import`: make an existing dbt project a domain of this mesh."""

from __future__ import annotations

import re
from pathlib import Path

import click

from meshhouse.cli.output import console, escaped, print_json
from meshhouse.errors import UsageError
from meshhouse.repository import Repository, display_path, names, printable

_OWNER = re.compile(r"\s*(?P<name>[^<>]+?)\s*<(?P<email>[^<>\s]+@[^<>\s]+)>\s*")


@click.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--as", "domain", metavar="DOMAIN", help="Name of the domain, if not the project's.")
@click.option("--owner", metavar="'NAME <ADDRESS>'", help="The team that owns the domain.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def import_(path: Path, domain: str | None, owner: str | None, as_json: bool) -> None:
    """Make the dbt project in the folder PATH a domain.

    The project is copied and stays as it is. Sources become topics, or seeds that models read;
    models for others become products. Nothing is overwritten, and a failed import leaves nothing.
    """
    # Importing dbt takes a second, which `mesh import --help` should not cost.
    from meshhouse.runs.import_project import import_project

    repository = Repository.find()
    say = (lambda line: None) if as_json else _say
    say(f"reading {display_path(path)}")
    done = import_project(repository, path, domain, _owner(owner), say)
    if as_json:
        print_json(
            {
                "domain": done.domain,
                "products": [each.model.name for each in done.products],
                "topics": [f"{done.domain}.{each}" for each in done.topics],
                "seeds": {source: sorted(seeds) for source, seeds in done.seeds.items()},
                "casts": done.casts,
                "decisions": done.decisions,
            }
        )
        return
    _say(f"wrote   {display_path(done.folder)}")
    for source, seeds in done.seeds.items():
        _say(f"source  {source}: models read the seeds {', '.join(seeds)}")
    for topic in done.topics:
        _say(f"topic   {done.domain}.{topic}")
    for product in done.products:
        cast = ", with casts" if product.model.name in done.casts else ""
        line = f"product {done.domain}.{product.model.name}: one row per {', '.join(product.grain)}"
        _say(f"{line}{cast}")
    if done.decisions:
        _say("To decide:")
    for at, decision in enumerate(done.decisions, start=1):
        _say(f"{at:>2}. {decision}")
    _say("Next:")
    for topic in done.topics:
        _say(f"    mesh topic create {done.domain}.{topic}")
    _say("    mesh check")
    _say(f"    mesh run {done.domain}")


def _say(line: str) -> None:
    """Prints a line that may have names and messages of the project, safe for a terminal."""
    console().print(escaped(line), markup=False)


def _owner(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    found = _OWNER.fullmatch(text)
    if found is None:
        raise UsageError(
            "`--owner` must be a name and an address: 'Sales team <sales@example.com>'."
        )
    if not names.EMAIL.fullmatch(found["email"]):
        raise UsageError(
            f"`--owner`: `{printable(found['email'])}` is not an e-mail address, such as "
            "sales@example.com."
        )
    return found["name"], found["email"]
