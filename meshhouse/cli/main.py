"""`mesh`: the list of commands, and the handling of errors.

Belongs here: the commands, each loaded when it is called; one line for each failure; exit codes.
Not here: the work of a command (the other modules of this room).
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import click

from meshhouse import garbage
from meshhouse.cli import interrupts
from meshhouse.cli.output import escaped
from meshhouse.errors import MeshError, UsageError
from meshhouse.extras import missing

_COMMANDS = {
    "adopt": ("backup", "Use a lake whose folder was moved to another place."),
    "backup": ("backup", "Copy the mesh to a folder or an object store."),
    "catalog": ("catalog", "Show the catalog in the browser, or write it as a site."),
    "check": ("check", "Check every declaration, without data, in seconds."),
    "demo": ("demo", "Turn real retail events into audited products."),
    "confirm": ("waive", "Confirm that a silent change of a product is meant."),
    "dev": ("dev", "Open the mesh in Dagster."),
    "diff": ("diff", "Show what changed, whom it hits, and the ways out."),
    "doctor": ("doctor", "Find damage, and say how to repair it."),
    "env": ("env", "List or drop environments."),
    "extract": ("extract", "Send new files, rows and records to topics."),
    "history": ("publications", "List the publications of a product."),
    "import": ("importing", "Make an existing dbt project a domain."),
    "new": ("new", "Write the files of a domain, topic, product, reference or version."),
    "init": ("init", "Write a new mesh, with an example domain that works."),
    "kafka": ("kafka", "Run a Kafka broker for this mesh, without Docker."),
    "land": ("land", "Land the events that wait in topics."),
    "rejected": ("rejected", "Show, replay or discard rejected events."),
    "maintain": ("maintain", "Merge small files, remove old snapshots and unused files."),
    "notices": ("notices", "Show what is wrong, and tell owners and consumers."),
    "metrics": ("metrics", "Print figures for Prometheus, or serve them."),
    "prepare": ("prepare", "Parse every domain, as part of an image."),
    "replay": ("replay", "Write the demo's retail data into topics."),
    "restore": ("backup", "Restore a mesh from a backup."),
    "retire": ("retire", "Hide a product from consumers, or bring it back."),
    "rollback": ("publications", "Publish a product's previous publication again."),
    "run": ("run", "Land, build, audit and publish."),
    "show": ("show", "Show what a product is, and how to read it."),
    "sinks": ("sinks", "Show what sinks have received, or deliver what they lack."),
    "sql": ("sql", "Run a query over published products."),
    "status": ("status", "Show each product: version, rows, score, freshness."),
    "tail": ("tail", "Ship a growing log file to a topic, line by line."),
    "topic": ("topic", "Create, fill, show and read topics."),
    "usage": ("usage", "Show who reads products, which are unused, what they cost."),
    "waive": ("waive", "Allow one refused change of a product until a date."),
}
"""Command -> the module of this package that defines it, and its line in `mesh --help`."""


class _Commands(click.Group):
    """Loads the module of a command only when it is called, so that `mesh --help` is fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _ = _COMMANDS[cmd_name]
        # `import` is a word of Python, so its function has another name.
        function = "import_" if cmd_name == "import" else cmd_name
        return getattr(importlib.import_module(f"meshhouse.cli.{module}"), function)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in sorted(_COMMANDS.items())])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            close = difflib.get_close_matches(args[0], _COMMANDS, n=1)
            hint = f" Did you mean `mesh {close[0]}`?" if close else " See `mesh --help`."
            raise UsageError(f"There is no command `{args[0]}`.{hint}") from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="meshhouse", prog_name="mesh")
@click.option("--debug", is_flag=True, help="Show the whole traceback of a failure.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """A data mesh: domains land events, build with dbt, and publish audited products."""
    ctx.obj = {"debug": debug}
    if ctx.invoked_subcommand:
        _keep_private()


def _keep_private() -> None:
    """Gives new files of a command the same permissions as the mesh's folder."""
    from meshhouse.modes import keep_private
    from meshhouse.repository import Repository

    with suppress(UsageError):  # not in a mesh: the command itself reports it
        keep_private(Repository.find().home)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of `mesh`."""
    garbage.look_seldom()
    code = run(cli, sys.argv[1:] if arguments is None else arguments)
    garbage.look_no_more()
    sys.exit(code)


def run(command: click.Command, arguments: list[str]) -> int:
    """Runs a command; the exit code is 0, 1 for a failure, 2 for misuse, 130 after Ctrl-C."""
    debug = "--debug" in arguments
    # --debug is an option of `mesh` itself, but is accepted anywhere.
    arguments = [
        *(["--debug"] if debug else []),
        *(each for each in arguments if each != "--debug"),
    ]
    interrupts.watch()
    try:
        return _exit_code(lambda: _invoke(command, arguments))
    except BrokenPipeError:  # the reading program has closed the pipe, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (KeyboardInterrupt, click.Abort):
        return _interrupted()
    except Exception as error:
        if interrupts.arrived():
            return _interrupted()
        if isinstance(error, click.exceptions.NoArgsIsHelpError):
            click.echo(error.format_message(), err=True)
            return 2
        if isinstance(error, click.ClickException):
            _say(f"{error.format_message()} See `mesh --help`.")
            return 2
        if debug:
            raise
        explained, code = explain(error)
        _say(explained)
        return code


def _invoke(command: click.Command, arguments: list[str]) -> Any:
    """Replaces `command.main`, which would print an empty line after Ctrl-C."""
    if "_MESH_COMPLETE" in os.environ:
        return command.main(arguments, "mesh", standalone_mode=False)
    try:
        with command.make_context("mesh", arguments) as context:
            return command.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code


def _interrupted() -> int:
    if sys.stderr.isatty():
        click.echo(err=True)  # ends the line on which the terminal printed ^C
    _say("Interrupted. Nothing is half done: run the same command again to continue.")
    return 130


def explain(error: BaseException) -> tuple[str, int]:
    """Returns one line about a failure, and its exit code."""
    if isinstance(error, MeshError):
        return str(error), error.exit_code
    if not_installed := missing(error):
        return not_installed, UsageError.exit_code
    cause = getattr(error, "orig", None) or error  # SQLAlchemy wraps the database's error
    text = " ".join(str(cause).split())
    if isinstance(cause, OSError) or type(cause).__module__.startswith(("sqlite3", "_duckdb")):
        return f"{text.rstrip('.')}. Correct this and run the same command again.", 1
    return f"{type(error).__name__}: {text} (`--debug` shows where this happened.)", 1


def _exit_code(call: Callable[[], Any]) -> int:
    result = call()
    return result if isinstance(result, int) else 0


def _say(line: str) -> None:
    click.echo("\n".join(map(escaped, f"mesh: {line}".split("\n"))), err=True)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
