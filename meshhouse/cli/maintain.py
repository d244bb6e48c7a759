"""`mesh maintain`: keeps tables fast to read, and removes files without use."""

from __future__ import annotations

import re
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from meshhouse.cli.output import console, print_json, results, size, table
from meshhouse.engines import engine, lake_of
from meshhouse.governance.policies import notice_days
from meshhouse.maintenance import Maintained
from meshhouse.maintenance import maintain as maintain_tables
from meshhouse.repository import Repository
from meshhouse.usage import store_of

_UNITS = {"min": "minutes", "h": "hours", "d": "days"}
_SHORTEST = timedelta(hours=1)


class Duration(click.ParamType):
    """A time span such as 90min, 12h or 3d."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Converts the text to a timedelta."""
        if isinstance(value, timedelta):
            return value
        match = re.fullmatch(r"(\d{1,6})\s*(min|h|d)", value.strip())
        if match is None:
            self.fail(f"`{value}` is not a duration; write it as 90min, 12h or 3d.", param, ctx)
        span = timedelta(**{_UNITS[match[2]]: int(match[1])})
        if span < _SHORTEST:
            self.fail(
                f"`{value}` is less than 1h: a run in progress may still need younger files.",
                param,
                ctx,
            )
        return span


@click.command()
@click.argument("tables", nargs=-1, metavar="[TABLE]...")
@click.option(
    "--older-than",
    type=Duration(),
    default="1d",
    show_default=True,
    help="Remove files without a reference that are at least this old.",
)
@click.option("--quiet", is_flag=True, help="Print errors only.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def maintain(tables: tuple[str, ...], older_than: timedelta, quiet: bool, as_json: bool) -> int:
    """Merge small files, expire old snapshots, remove orphaned files.

    Without TABLE, maintain every table in the lake. Landing and reading can go on at the same time.
    """
    out = console(quiet or as_json)
    repository = Repository.find()
    lake = lake_of(engine(repository))
    before = datetime.now(UTC) - timedelta(days=notice_days(repository))
    done = maintain_tables(lake, tables, older_than, say=out.print, retired_before=before)
    store_of(repository).fold()
    if as_json:
        print_json([asdict(each) for each in done])
    elif not quiet:
        _show(done)
    late = [each.relation for each in done if each.gave_up]
    for relation in late:
        console().print(
            f"mesh: {relation} was changed before every attempt, so it was left as it is. "
            "Run `mesh maintain` again when fewer events are landed."
        )
    return 1 if late else 0


def _show(done: list[Maintained]) -> None:
    changed = [
        each
        for each in done
        if each.files_before != each.files_after or each.snapshots_expired or each.orphans_removed
    ]
    if changed:
        results().print(
            table(
                ["table", "files", "now", "size", "now ", "expired", "removed", "freed"],
                [
                    (
                        each.relation,
                        each.files_before,
                        each.files_after,
                        size(each.bytes_before),
                        size(each.bytes_after),
                        each.snapshots_expired,
                        each.orphans_removed,
                        size(each.orphan_bytes),
                    )
                    for each in changed
                ],
                right=["files", "now", "size", "now ", "expired", "removed", "freed"],
            )
        )
    rest = len(done) - len(changed)
    console().print(f"{len(changed)} tables maintained; {rest} needed no maintenance")
