"""`mesh dev`: Dagster's web page for this mesh."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import click

from meshhouse.cli.output import escaped
from meshhouse.cli.prepare import parse_all
from meshhouse.errors import UsageError
from meshhouse.locks import hold_until_the_end
from meshhouse.repository import Repository


@click.command()
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=3000,
    show_default=True,
    help="Port of the page.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; 0.0.0.0 lets other machines in.",
)
@click.option(
    "--locations",
    type=click.Choice(["one", "per-domain"]),
    default="one",
    show_default=True,
    help="Load all domains in one process, or each domain in a separate one.",
)
def dev(port: int, host: str, locations: str) -> None:
    """Open the mesh in Dagster (Ctrl-C ends it)."""
    _refuse_a_second_one(host, port)
    repository = Repository.find()
    # Dagster goes on without its page where the port is taken, and a second daemon on the same
    # record would start everything twice. The program that replaces this one keeps the lock.
    if holder := hold_until_the_end(repository.workspace / "locks" / "dev"):
        raise UsageError(
            f"`mesh dev` already runs for this mesh, in process {holder}. Use its page, or stop it."
        )
    from meshhouse.dagster.home import dagster_home, unused_home
    from meshhouse.dagster.instance import check_instance
    from meshhouse.dagster.locations import workspace_file
    from meshhouse.dagster.origin import MODULE
    from meshhouse.dagster.project import project_of

    if unused := unused_home(repository):
        click.echo(f"mesh: {escaped(unused)}", err=True)
    check_instance(repository)
    parse_all(repository)  # now, so that the page opens without waiting for dbt
    os.environ["DAGSTER_HOME"] = str(dagster_home(repository))
    os.environ["MESH_ROOT"] = str(repository.root)
    # Warnings between libraries are not for users; a developer can set the variable.
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    program = str(Path(sys.executable).with_name("dagster"))
    project_of(repository)  # before Dagster, whose message is a page of traceback
    arguments = ["dev", "-m", MODULE, "-d", str(repository.root), "-p", str(port), "-h", host]
    if locations == "per-domain":
        arguments[1:5] = ["-w", str(workspace_file(repository))]
    # A script's `mesh dev &` starts with Ctrl-C ignored. Dagster does on SIGTERM what it does on
    # Ctrl-C, and stops its page and its daemon by the latter, so nothing but SIGKILL would end it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execv(program, [program, *arguments])  # noqa: S606 - the installed dagster, no shell


def _refuse_a_second_one(host: str, port: int) -> None:
    """Raises UsageError where another program listens."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
    except OSError as error:
        raise UsageError(
            f"Port {port} of {host} cannot be used: {error.strerror}. Another `mesh dev` may run "
            "there: use its page, or choose another port with --port."
        ) from error
