"""`mesh doctor`: finds damage, and says how to repair it."""

from __future__ import annotations

from dataclasses import asdict

import click

from meshhouse.cli.output import counted, print_json, results
from meshhouse.engines import engine
from meshhouse.health import Finding, Level, examine
from meshhouse.repository import Repository


@click.command()
@click.option("--deep", is_flag=True, help="Also read every data file and every event.")
@click.option("--json", "as_json", is_flag=True, help="Print every finding as JSON.")
def doctor(deep: bool, as_json: bool) -> int:
    """Examine everything that the mesh stores; the exit code is 1 if anything is damaged."""
    repository = Repository.find()
    found = examine(repository, engine(repository).lake, deep)
    if as_json:
        print_json([asdict(each) for each in found])
    else:
        _print(found)
    return 1 if any(each.level is Level.DAMAGED for each in found) else 0


def _print(found: list[Finding]) -> None:
    out = results()
    for area in dict.fromkeys(each.area for each in found):
        own = [each for each in found if each.area == area]
        fine = [each for each in own if each.level is Level.OK]
        listed = ", ".join(f"{each.subject} {each.what}" for each in fine[:3])
        more = f", and {len(fine) - 3} more" if len(fine) > 3 else ""
        out.print(f"{area}: {listed or 'see below'}{more}", markup=False)
        for each in own:
            if each.level is not Level.OK:
                where = f" {each.file}" if each.file and each.file not in each.what else ""
                text = f"  {each.level.value}: {each.subject}:{where} {each.what.rstrip('.')}."
                out.print(f"{text} {each.remedy}".rstrip(), markup=False)
    count = sum(each.level is Level.DAMAGED for each in found)
    out.print(f"{counted(count, 'thing')} damaged" if count else "nothing is damaged")
