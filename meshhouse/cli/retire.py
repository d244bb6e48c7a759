"""`mesh retire`: hide a product from consumers, and bring it back."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from meshhouse.cli.output import console
from meshhouse.engines import engine
from meshhouse.governance.policies import notice_days
from meshhouse.locks import lock
from meshhouse.repository import Repository
from meshhouse.runs.retirement import retire as hide
from meshhouse.runs.retirement import unretire


@click.command()
@click.argument("product", metavar="DOMAIN.PRODUCT[.vN]")
@click.option("--undo", is_flag=True, help="Bring a retired product back.")
def retire(product: str, undo: bool) -> None:
    """Hide a product from consumers, if no other domain reads it.

    It must be removed from the declarations, or be past its `deprecation_date`. Its files are kept
    for the notice period, in which `--undo` brings it back.
    """
    repository = Repository.find()
    chosen = engine(repository)
    out = console()
    domain = product.partition(".")[0]
    today = datetime.now(UTC).date()
    waiting = f"{domain}: waiting for a run of it"
    with lock(repository.workspace / "locks" / f"{domain}.run", lambda holder: out.print(waiting)):
        if undo:
            names = unretire(repository, chosen, product, today)
            out.print(f"Consumers find {', '.join(names)} again.")
            return
        done = hide(repository, chosen, product, today)
    out.print(
        f"Retired {done.relation}: consumers no longer find it. `mesh retire --undo "
        f"{done.relation}` brings it back, for {notice_days(repository)} days at least."
    )
