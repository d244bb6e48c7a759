"""`mesh demo`: a whole mesh on real retail data, and a list of commands to try next."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import click

from meshhouse.cli.output import console, print_json
from meshhouse.cli.replay import parse_until, replay_events
from meshhouse.cli.run import execute
from meshhouse.repository import Repository

_NEXT = """
Where to look next
  {mesh} status
      every product: rows, score, freshness
  {mesh} sql "select * from mesh.customer_360 limit 5"
      what consumers read
  {mesh} history sales.orders
      every publication and its inputs
  make dev
      the mesh in Dagster, on port 3000
  domains/sales/
      how a domain is made

The retail data is the Complete Journey of 84.51°; chats and tickets are synthetic.
"""


@click.command()
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Replay all 20.9 million promotions, not those of two weeks.",
)
@click.option("--until", metavar="DATE", help="Only events to the end of this day (New York).")
@click.option("--quiet", is_flag=True, help="Print errors only.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def demo(everything: bool, until: str | None, quiet: bool, as_json: bool) -> int:
    """Real events to audited products: replay, land, build, audit, publish."""
    repository, day = Repository.find(), parse_until(until)
    shown_on = console(quiet or as_json)
    started = time.monotonic()
    shown_on.print("replaying the retail data into the event log, one topic after another")
    weeks = None if everything else 2
    written = replay_events(repository, day, weeks, (), shown_on)
    events = sum(each["written"] for each in written)
    seconds = time.monotonic() - started
    shown_on.print(
        f"[green]replayed[/]  {events:,} events into {len(written)} topics in {seconds:.1f} s"
        if events
        else f"[dim]replayed  nothing new in {len(written)} topics[/]"
    )
    summary, ok = execute(repository, (), downstream=False, quiet=quiet or as_json, force=False)
    if as_json:
        print_json({"replayed": written, **summary})
    elif ok:
        shown_on.print(_NEXT.format(mesh=_program()), markup=False)
    return 0 if ok else 1


def _program() -> str:
    """The command for `mesh` in this shell: its name, or its path if it is not on PATH."""
    if shutil.which("mesh"):
        return "mesh"
    path = Path(sys.executable).with_name("mesh")
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
