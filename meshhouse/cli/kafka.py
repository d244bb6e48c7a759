"""`mesh kafka`: a Kafka broker for development, without Docker."""

from __future__ import annotations

import click
from rich.progress import Progress

from meshhouse.cli.output import console, print_json
from meshhouse.events.kafka.broker import DEFAULT_PORT, Broker
from meshhouse.repository import Repository


@click.group()
def kafka() -> None:
    """Start or stop a Kafka broker for this mesh, or print its status."""


@kafka.command()
@click.option("--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True,
              help="Port for clients; 0 takes a free one.")  # fmt: skip
@click.option("--quiet", is_flag=True, help="Print errors only.")
def start(port: int, quiet: bool) -> None:
    """Start the broker; the first start downloads Kafka (43 MB)."""
    broker = Broker(Repository.find().home)
    out = console(quiet)
    with Progress(console=out, transient=True, disable=not out.is_terminal) as bar:
        task = bar.add_task("fetching Kafka", visible=False)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=done < total)

        started = broker.start(port, progress)
    status = broker.status()
    out.print(f"Kafka {'runs' if started else 'already runs'} on {status.bootstrap_servers}.")
    out.print("To use it in this shell:", highlight=False)
    out.print(f"  export KAFKA_BOOTSTRAP_SERVERS={status.bootstrap_servers}", highlight=False)


@kafka.command()
@click.option("--quiet", is_flag=True, help="Print errors only.")
def stop(quiet: bool) -> None:
    """Stop the broker; its topics are kept."""
    stopped = Broker(Repository.find().home).stop()
    console(quiet).print("Kafka stopped." if stopped else "Kafka is not running.")


@kafka.command(short_help="Print whether the broker runs, and its address.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def status(as_json: bool) -> None:
    """Print whether the broker runs, and its address; the exit code is 1 if it does not run."""
    found = Broker(Repository.find().home).status()
    if as_json:
        print_json(
            {
                "running": found.running,
                "bootstrap_servers": found.bootstrap_servers if found.running else None,
                "pid": found.pid,
                "log": str(found.log),
            }
        )
    elif found.running:
        console().print(
            f"Kafka runs on {found.bootstrap_servers} (process {found.pid}); log: {found.log}",
            highlight=False,
        )
    else:
        console().print("Kafka is not running. Start it with `mesh kafka start`.")
    if not found.running:
        raise SystemExit(1)
