"""`mesh init`: writes a new mesh."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from meshhouse.cli.output import console, escaped
from meshhouse.errors import UsageError
from meshhouse.modes import keep_private
from meshhouse.scaffold.mesh import SAMPLE_FILE, SAMPLE_KEY, SAMPLE_TOPIC, new_mesh, send_samples
from meshhouse.scaffold.write import write_new


@click.command()
@click.argument("folder", type=click.Path(file_okay=False))
def init(folder: str) -> None:
    """Write a new mesh into FOLDER, with an example domain that works.

    The folder may hold other files, such as those of a new Git repository; none is overwritten.
    """
    if not folder.strip():
        raise UsageError("FOLDER is empty. Name a folder, such as `mesh init mymesh`.")
    _write(Path(folder))


def _write(folder: Path) -> None:
    files = new_mesh(folder)
    write_new(files)
    keep_private(folder / ".mesh")
    events = send_samples(folder)
    out = console()
    out.print(f"wrote    {len(files)} files into {escaped(str(folder))}", markup=False)
    if events:
        out.print(f"sent     {events} sample events to the topic {SAMPLE_TOPIC}")
    steps = [
        "mesh run",
        'mesh sql "select * from shop.drink_sales"',
        "mesh dev",
    ]
    if not events:
        send = f"mesh topic produce {SAMPLE_TOPIC} {SAMPLE_FILE} --key {SAMPLE_KEY}"
        steps = [f"mesh topic create {SAMPLE_TOPIC}", send, *steps]
    if folder.resolve() != Path.cwd():
        steps = [f"cd {escaped(shlex.quote(str(folder)))}", *steps]
    out.print("Next:")
    for step in steps:
        out.print(f"  {step}", markup=False)
