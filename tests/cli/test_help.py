"""The help of commands reads well on a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator

import click

from meshhouse.cli.main import cli


def groups(group: click.Group, path: str) -> Iterator[tuple[str, click.Group]]:
    """A group and all groups below it."""
    yield path, group
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from groups(command, f"{path} {name}")


def test_no_list_of_commands_cuts_a_sentence():
    for path, group in groups(cli, "mesh"):
        context = click.Context(group, info_name=path, terminal_width=80)
        listed = group.get_help(context).partition("Commands:")[2]
        assert not [line for line in listed.splitlines() if line.endswith("...")], listed
