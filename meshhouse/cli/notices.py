"""`mesh notices`: what is wrong, which messages were sent, and sending what is due."""

from __future__ import annotations

from typing import Any

import click

from meshhouse.cli.output import console, counted, escaped, print_json, print_texts
from meshhouse.engines import engine
from meshhouse.notices import Look, OpenCause, Queued, drop, look, outbox_of, send_test
from meshhouse.repository import Repository

_SHOWN = 20
"""Sent messages that are listed."""


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_context
def notices(context: click.Context, as_json: bool) -> None:
    """Show what is wrong, and which messages wait or were sent."""
    if context.invoked_subcommand:
        return
    outbox = outbox_of(Repository.find())
    open_causes, waiting, sent = outbox.open_causes(), outbox.waiting(), outbox.sent(_SHOWN)
    if as_json:
        print_json({
            "open": [_cause(each) for each in open_causes],
            "waiting": [_queued(each) for each in waiting],
            "sent": [_queued(each) for each in sent],
        })  # fmt: skip
        return
    if not outbox.exists:
        console().print("Nothing was looked at yet: run `mesh notices send`.")
        return
    if open_causes:
        rows = [(each.cause.since, each.cause.domain, each.cause.title) for each in open_causes]
        print_texts(["since", "domain", "what is wrong"], rows)
    else:
        console().print("Nothing is wrong.")
    if waiting:
        print_texts(
            ["waits since", "id", "channel", "attempts", "message", "why"],
            [(each.queued_at, each.identity, each.channel, each.attempts, each.title, each.problem)
             for each in waiting],
            right=["attempts"],
        )  # fmt: skip
    if sent:
        print_texts(
            ["sent", "channel", "state", "message"],
            [(each.sent_at, each.channel, each.state, each.title) for each in sent],
        )


@notices.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--quiet", is_flag=True, help="Print only what went wrong.")
def send(as_json: bool, quiet: bool) -> int:
    """Look once for problems, and send the messages that are due. For cron."""
    repository = Repository.find()
    done = look(repository, engine(repository))
    if as_json:
        print_json(_done(done))
    else:
        _say(done, quiet)
    for problem in done.delivery.problems:
        click.echo(escaped(f"mesh: {problem}"), err=True)
    for title in done.unreceived:
        click.echo(escaped(f"mesh: nobody receives: {title}"), err=True)
    return 1 if done.delivery.problems else 0


@notices.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--quiet", is_flag=True, help="Print only what went wrong.")
def test(as_json: bool, quiet: bool) -> int:
    """Send a test message to every channel."""
    found = send_test(Repository.find())
    if as_json:
        print_json(found)
    for name, problem in found.items():
        if problem:
            click.echo(escaped(f"mesh: {name} did not get the message: {problem}."), err=True)
        elif not as_json:
            console(quiet).print(f"sent to {escaped(name)}", markup=False)
    return 1 if any(found.values()) else 0


@notices.command("drop")
@click.argument("name", metavar="ID|CHANNEL")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--quiet", is_flag=True, help="Print only what went wrong.")
def drop_waiting(name: str, as_json: bool, quiet: bool) -> None:
    """Drop a message that waits, or all that wait for a channel.

    For messages that a receiver refuses for good, and for channels that are not set any more.
    """
    dropped = drop(Repository.find(), name)
    if as_json:
        print_json([_queued(each) for each in dropped])
        return
    for each in dropped:
        console(quiet).print(escaped(f"dropped for {each.channel}: {each.title}"), markup=False)


def _say(done: Look, quiet: bool) -> None:
    out = console(quiet)
    if done.busy:
        out.print(f"Process {done.busy} is looking at the same time, so this one did nothing.")
        return
    for word, titles in (("begins", done.begun), ("over", done.over), ("change", done.changes)):
        for title in titles:
            out.print(f"{word:<7} {escaped(title)}", markup=False)
    waiting = f", {counted(done.delivery.waiting, 'message')} waiting"
    out.print(
        f"{counted(done.delivery.sent, 'message')} sent{waiting if done.delivery.waiting else ''}"
    )


def _done(done: Look) -> dict[str, Any]:
    return {
        "begun": done.begun,
        "over": done.over,
        "changes": done.changes,
        "unreceived": done.unreceived,
        "sent": done.delivery.sent,
        "waiting": done.delivery.waiting,
        "problems": done.delivery.problems,
        "busy": done.busy or None,
    }


def _cause(each: OpenCause) -> dict[str, Any]:
    cause = each.cause
    return {
        "key": cause.key,
        "rule": cause.rule,
        "subject": cause.subject,
        "domain": cause.domain,
        "since": cause.since,
        "opened_at": each.opened_at,
        "title": cause.title,
        "facts": cause.facts,
    }


def _queued(each: Queued) -> dict[str, Any]:
    return {
        "id": each.identity,
        "key": each.key,
        "channel": each.channel,
        "state": each.state,
        "kind": each.kind,
        "title": each.title,
        "queued_at": each.queued_at,
        "attempts": each.attempts,
        "next_at": None if each.sent_at else each.next_at,
        "sent_at": each.sent_at,
        "problem": each.problem,
    }
