"""`mesh rejected`: what landing did not take, and what to do about it."""

from __future__ import annotations

import base64
import sys
from typing import Any

import click

from meshhouse.cli.output import console, excerpt, print_json, print_texts, text_of
from meshhouse.engines import engine, lake_of
from meshhouse.errors import UsageError
from meshhouse.landing.redrive import discard as discard_events
from meshhouse.landing.redrive import own_table, redrive
from meshhouse.landing.rejected import (
    Choice,
    RejectedEvent,
    Summary,
    count,
    read,
    summaries,
)
from meshhouse.repository import RawTable, Repository

_REASONS = 3

_reason = click.option("--reason", metavar="TEXT", help="Only events whose reason contains this.")
_table = click.argument("name", metavar="TABLE")


@click.group(invoke_without_command=True)
@click.pass_context
def rejected(context: click.Context) -> None:
    """Show, replay or discard rejected events, which landing could not convert."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@rejected.command("list")
@click.argument("targets", nargs=-1, metavar="[DOMAIN|DOMAIN_RAW.TABLE]...")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_(targets: tuple[str, ...], as_json: bool) -> None:
    """Count rejected events, by raw table and reason."""
    repository = Repository.find()
    found = summaries(lake_of(engine(repository)), repository.raw_tables(targets))
    if as_json:
        print_json([_as_json(each) for each in found])
        return
    print_texts(
        ["table", "topic", "rejected", "newest", "reasons"],
        [
            (each.raw.relation, each.raw.topic, each.events, each.newest, _reasons(each))
            for each in found
        ],
        right=("rejected",),
    )
    if not any(each.events for each in found):
        console().print("Nothing is rejected.")


@rejected.command()
@_table
@_reason
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON, values in full.")
def show(name: str, reason: str | None, limit: int, as_json: bool) -> None:
    """Show rejected events of a raw table, newest first."""
    repository = Repository.find()
    raw = repository.raw_table(name)
    lake, choice = lake_of(engine(repository)), Choice(reason)
    events = read(lake, raw, choice, limit)
    if as_json:
        print_json([_event_as_json(each) for each in events])
        return
    if not events:
        _nothing(raw, reason)
        return
    print_texts(
        ["position", "time", "key", "reason", "value"],
        [
            (
                f"{each.partition}/{each.offset}",
                each.timestamp,
                excerpt(each.key),
                excerpt(each.reason),
                excerpt(each.value),
            )
            for each in events
        ],
    )
    if len(events) == limit:
        total, _ = count(lake, raw, choice)
        if total > limit:
            console().print(f"{limit:,} of {total:,} events; --limit shows more")


@rejected.command()
@_table
@_reason
def replay(name: str, reason: str | None) -> None:
    """Decode rejected events again; what converts now becomes rows."""
    repository = Repository.find()
    raw = repository.raw_table(name)
    done = redrive(lake_of(engine(repository)), raw, Choice(reason))
    if not done.moved and not done.kept:
        _nothing(raw, reason)
        return
    console().print(
        f"{done.moved:,} events moved into {raw.relation}, {done.kept:,} are still rejected"
    )


@rejected.command()
@_table
@_reason
@click.option("--yes", is_flag=True, help="Do not ask.")
def discard(name: str, reason: str | None, yes: bool) -> None:
    """Remove rejected events for good."""
    repository = Repository.find()
    raw = repository.raw_table(name)
    lake = lake_of(engine(repository))
    own_table(lake, raw)
    events, newest = count(lake, raw, Choice(reason))
    if not events:
        _nothing(raw, reason)
        return
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(
                f"This would remove {events:,} rejected events of {raw.relation} for good; "
                "add --yes."
            )
        if not click.confirm(
            f"Remove {events:,} rejected events of {raw.relation} for good?", err=True
        ):
            console().print("Nothing was removed.")
            return
    # Events that were rejected while the user decided were not in the question.
    removed = discard_events(lake, raw, Choice(reason, until=newest))
    console().print(f"{removed:,} rejected events of {raw.relation} removed")


def _nothing(raw: RawTable, reason: str | None) -> None:
    because = f" for a reason that contains `{excerpt(reason)}`" if reason else ""
    console().print(f"Nothing of {raw.relation} is rejected{because}.", markup=False)


def _reasons(summary: Summary) -> str:
    if summary.events is None:
        return "(never landed)"
    lines = [f"{events:,} {excerpt(reason)}" for reason, events in summary.reasons[:_REASONS]]
    if len(summary.reasons) > _REASONS:
        lines.append("...")
    return "\n".join(lines)


def _as_json(summary: Summary) -> dict[str, Any]:
    return {
        "table": summary.raw.relation,
        "topic": summary.raw.topic,
        "rejected": summary.events,
        "newest": summary.newest,
        "reasons": [{"reason": reason, "rejected": events} for reason, events in summary.reasons],
    }


def _event_as_json(event: RejectedEvent) -> dict[str, Any]:
    text = encoded = None
    if event.value is not None:
        text = text_of(event.value)
        encoded = base64.b64encode(event.value).decode() if text is None else None
    return {
        "partition": event.partition,
        "offset": event.offset,
        "timestamp": event.timestamp,
        "key": event.key,
        "reason": event.reason,
        "landed_at": event.landed_at,
        "value": text,
        "value_base64": encoded,
    }
