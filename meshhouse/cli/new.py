"""`mesh new`: write files of the repository that follow a pattern.

Belongs here: the group, and `mesh new version`. Not here: topics (new_topic.py), or domains,
products and references (new_files.py).
"""

from __future__ import annotations

import click

from meshhouse.cli.new_files import domain, product, reference
from meshhouse.cli.new_topic import topic
from meshhouse.cli.output import console
from meshhouse.engines import engine
from meshhouse.errors import UsageError
from meshhouse.governance.policies import notice_days
from meshhouse.repository import Repository, display_path
from meshhouse.repository.new_version import new_version
from meshhouse.scaffold.write import editing, write_changes


@click.group()
def new() -> None:
    """Write files of the repository that follow a pattern."""


for each in (domain, topic, product, reference):
    new.add_command(each)


@new.command(short_help="Write the next version of a product.")
@click.argument("product", metavar="DOMAIN.PRODUCT")
def version(product: str) -> None:
    """Write the next version of a product: its SQL, checks and declaration.

    The latest version stays the same, so no reader is moved.
    """
    repository = Repository.find()
    found = repository.product(product)
    domain = repository.domain(found.domain)
    ledger = engine(repository).ledger
    heads = [head.get(found.relation) for head in (
        ledger.heads(found.domain, documents=False),
        ledger.production.heads(found.domain, documents=False) if ledger.production else {},
    )]  # fmt: skip
    if not any(head is not None and head.is_published for head in heads):
        raise UsageError(
            f"{found.relation} was never published, so nobody depends on it: change it in place. "
            "A new version is for what consumers read."
        )
    with editing(repository) as current:
        made = new_version(current.domain(domain.name), current.product(product))
        changed = {path: made.files[path] for path in made.changed}
        absent = {path: text for path, text in made.files.items() if path not in changed}
        write_changes(current, domain.name, absent, changed)
    out = console()
    for path in made.files:
        did = "changed" if path in made.changed else "wrote"
        out.print(f"{did:<8} {display_path(path)}", markup=False)
    number, name = made.number, f"{found.domain}.{found.model}"
    sql = next(path for path in made.files if path.suffix == ".sql")
    steps = [
        f"Change {display_path(sql)}, and the columns of `v: {number}` in "
        f"{display_path(found.path)}.",
        f"`mesh check`, then `mesh run {found.domain}`: it publishes {name}_v{number} beside "
        f"{name}_v{found.version}. {name} still shows version {found.latest_version}.",
        f"When consumers should move: give `v: {found.version}` a `deprecation_date` at least "
        f"{notice_days(repository)} days ahead. `mesh check` then asks its readers to read "
        f"`v={number}`.",
        f"When they have moved: set `latest_version: {number}`. It also moves every reader that "
        "names no version.",
    ]
    for at, step in enumerate(steps, start=1):
        out.print(f"{at}. {step}", markup=False)
