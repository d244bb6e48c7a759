"""`mesh run`: land, build, audit, publish."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from meshhouse.cli import interrupts
from meshhouse.cli.output import console, counted, escaped, print_json, size
from meshhouse.cli.sinks import deliver_and_say
from meshhouse.engines import check_jobs, engine, jobs_at_once
from meshhouse.repository import Domain, RawTable, Repository, broken_because
from meshhouse.runs.outcome import DomainRun
from meshhouse.runs.parse import fresh_manifest, is_fresh, parse_domains
from meshhouse.runs.selection import Selection, select, settled
from meshhouse.runs.status import Leftover, age, leftovers

if TYPE_CHECKING:
    from meshhouse.landing import Landing

_WORTH_PROCESSES = 4
"""Fewer domains run one after another: each process costs what running a small domain costs."""


class TerminalReporter:
    """Shows a run to people while it happens, and sums it up."""

    only_in_dagster = False

    def __init__(
        self,
        repository: Repository,
        quiet: bool,
        force: bool = False,
        full_refresh: bool = False,
        confirmed: str = "",
    ) -> None:
        self.force = force
        self.confirmed = confirmed
        self.full_refresh = full_refresh
        self.undeclared: list[str] = []
        self.landings: list[Landing] = []
        self.runs: list[DomainRun] = []
        self.failures: list[tuple[str, str]] = []
        self._repository = repository
        self._console = console(quiet)
        self._progress: Progress | None = None
        self._bars: dict[str, TaskID] = {}
        """Raw table -> its bar; several domains may land at once."""

    def landing(self, raw: RawTable) -> Any:
        """Opens a progress bar over the events that wait in the topic."""
        self._begin(raw.domain)
        interrupts.stop_if_arrived()
        # Loads pyarrow, which takes 0.2 s: only for domains that have topics.
        from meshhouse.events import open_source

        source = open_source(self._repository.root, self._repository.home)
        topic = source.describe(raw.topic)
        total = sum(partition.end - partition.begin for partition in topic.partitions.values())
        if self._progress is None:
            self._progress = progress_bar(self._console)
            self._progress.start()
        progress = self._progress
        task = progress.add_task(f"landing {raw.relation}", total=total)
        self._bars[raw.relation] = task

        def advance(events: int) -> None:
            progress.advance(task, events)

        return advance

    def landed(self, landing: Landing) -> None:
        """Takes its bar away and says what came of it."""
        self._remove_bars(landing.raw.relation)
        self.landings.append(landing)
        if landing.followed_by:
            self._console.print(
                f"[dim]followed[/]  {landing.raw.relation}: landed continuously by process "
                f"{landing.followed_by} (`mesh land --follow`)"
            )
        if landing.commits:
            rejected = f", {landing.rejected:,} rejected" if landing.rejected else ""
            self._console.print(
                f"[green]landed[/]    {landing.raw.relation}: "
                f"{counted(landing.rows, 'row')}{rejected} "
                f"in {landing.seconds:.1f} s"
            )
        if landing.new_fields:
            self._console.print(
                f"new       {landing.raw.relation}: undeclared fields "
                f"{', '.join(landing.new_fields)}; `_rescued` has their values",
                markup=False,
            )

    def say(self, line: str) -> None:
        """What a domain is doing."""
        interrupts.stop_if_arrived()
        domain, _, rest = line.partition(": ")
        verb, _, names = rest.partition(" ")
        self._console.print(f"[dim]{verb:<9} {names if names else domain}[/]")

    def finished(self, run: DomainRun) -> None:
        """What came of a domain's run."""
        self._begin(run.domain)
        self.runs.append(run)
        for entry in run.published:
            self._console.print(
                f"[green]published[/] {entry['domain']}.{entry['product']}: "
                f"{counted(entry['rows'], 'row')}, {size(entry['bytes'])}, score {entry['score']}"
            )
        if run.unchanged:
            names = ", ".join(product.relation for product in run.unchanged)
            self._console.print(f"[dim]unchanged[/] {names}")
        for product in run.withdrawn:
            self._console.print(
                f"[yellow]held back[/] {product.relation}: rolled back, and no change of its code "
                "or inputs since is known (--force publishes it all the same)"
            )
        for name, why in run.withheld.items():
            what = (
                "consumers no longer find it; remove it from the declarations"
                if why == "retired"
                else "not built, not published; consumers keep the publication that they had, if "
                "there was one"
            )
            self._console.print(
                f"[yellow]{why}[/]{' ' * max(1, 10 - len(why))}{run.domain}.{name}: {what}"
            )
        for line in run.warnings:
            self.warned(f"{run.domain}: {line}")
        if not run.ok:
            self.failed(run.domain, run.message)
            self._show_samples(run)

    def warned(self, line: str) -> None:
        """Something that a person should know, and that stopped nothing."""
        self._console.print("[yellow]warning[/]   ", end="")
        self._console.print(escaped(line), markup=False)

    def _begin(self, domain: str) -> None:
        """Forgets an earlier attempt at a domain: Dagster may retry a step."""
        self.failures = [each for each in self.failures if each[0] != domain]
        self.runs = [each for each in self.runs if each.domain != domain]

    def failed(self, domain: str, message: str) -> None:
        """A domain that consumers see unchanged because something went wrong."""
        self._remove_bars(f"{domain}_raw.")
        interrupts.stop_if_arrived()  # what goes wrong then is how libraries pass it on
        message = message.removeprefix(f"{domain}: ")  # dbt's failures name their project
        self.failures.append((domain, message))
        self._console.print(f"[red]failed[/]    {domain}: ", end="")
        self._console.print(escaped(message), markup=False)

    def left_over(self, found: Sequence[Leftover]) -> None:
        """What consumers can still read, though nobody declares it."""
        self.undeclared = [each.relation for each in found]
        for each in found:
            self._console.print(
                f"[yellow]undeclared[/] {each.relation}: no domain declares it any more; consumers "
                f"still see what was published {age(each.published_at)}"
            )

    def _show_samples(self, run: DomainRun) -> None:
        for candidate, result in run.audited:
            for check in result.checks:
                for row in check.samples:
                    values = ", ".join(f"{name}={value}" for name, value in row.items())
                    self._console.print(
                        escaped(f"          {candidate.product.relation}, {check.name}: {values}"),
                        markup=False,
                    )

    def _remove_bars(self, prefix: str) -> None:
        """Takes away the bars of raw tables whose name begins so."""
        for relation in [each for each in self._bars if each.startswith(prefix)]:
            task = self._bars.pop(relation)
            if self._progress is not None:
                self._progress.remove_task(task)
        if not self._bars:
            self.close()

    def close(self) -> None:
        """Takes all progress bars away."""
        self._bars.clear()
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    @property
    def seen(self) -> set[str]:
        """Domains of which a result or a failure is known."""
        return {run.domain for run in self.runs} | {domain for domain, _ in self.failures}

    def summary(self, domains: list[str], seconds: float) -> dict[str, Any]:
        """Everything the run did, for people and for `--json`."""
        return {
            "seconds": round(seconds, 1),
            "landed": [
                {
                    "table": landing.raw.relation,
                    "rows": landing.rows,
                    "rejected": landing.rejected,
                    "seconds": round(landing.seconds, 1),
                    **({"followed_by": landing.followed_by} if landing.followed_by else {}),
                }
                for landing in self.landings
            ],
            "published": [
                {
                    "product": f"{entry['domain']}.{entry['product']}",
                    "rows": entry["rows"],
                    "bytes": entry["bytes"],
                    "snapshot_id": entry["snapshot_id"],
                    "score": float(entry["score"]),
                }
                for run in self.runs
                for entry in run.published
            ],
            "unchanged": [product.relation for run in self.runs for product in run.unchanged],
            "held_back": [product.relation for run in self.runs for product in run.withdrawn],
            "withheld": {
                f"{run.domain}.{name}": why
                for run in self.runs
                for name, why in run.withheld.items()
            },
            "undeclared": self.undeclared,
            "failed": [{"domain": domain, "message": message} for domain, message in self.failures],
            "not_run": [domain for domain in domains if domain not in self.seen],
        }


def progress_bar(shown_on: Any) -> Progress:
    """The one look of progress bars; they vanish when done."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=shown_on,
        transient=True,
        disable=not shown_on.is_terminal,
    )


def execute(
    repository: Repository,
    targets: tuple[str, ...],
    downstream: bool,
    quiet: bool,
    force: bool,
    full_refresh: bool = False,
    confirmed: str = "",
    jobs: int | None = None,
) -> tuple[dict[str, Any], bool]:
    """Runs targets and sums up; the second value is whether all went well.

    Args:
        repository: the mesh.
        targets: see `select`.
        downstream: see `select`.
        quiet: say nothing.
        force: run what is unchanged too.
        full_refresh: build incremental models from nothing.
        confirmed: why every silent change is meant.
        jobs: how many domains at once; None for as many as cores and memory allow.
    """
    started = time.monotonic()
    force = force or full_refresh
    reporter = TerminalReporter(repository, quiet, force, full_refresh, confirmed)
    chosen = engine(repository)
    selection = select(repository, targets, downstream)
    for domain in selection.broken:
        reporter.failed(domain.name, broken_because(domain))
    parse_domains(repository, selection.domains, jobs or 0)
    if not force:
        for run in settled(repository, chosen, selection):
            reporter.finished(run)
    left = selection.without({run.domain for run in reporter.runs})
    ok = not left.domains or _orchestrate(repository, left, reporter, jobs)
    ok = ok and not selection.broken
    reporter.left_over(leftovers(repository, chosen))
    # After every publication of the run, so that a sink cannot delay one.
    delivered = deliver_and_say(repository, selection.domains, not quiet)
    expected = [each for each in selection.domains if not _is_empty(repository, each, reporter)]
    summary = reporter.summary([each.name for each in expected], time.monotonic() - started)
    summary["delivered"] = delivered
    shown = console(quiet)
    for domain in summary["not_run"]:
        shown.print(
            f"[yellow]not run[/]   {domain}: it uses a domain that failed; "
            "its consumers keep what was published"
        )
    rows = sum(landing["rows"] for landing in summary["landed"])
    failed = {each["domain"] for each in summary["failed"]}
    shown.print(
        f"{counted(rows, 'row')} landed, "
        f"{counted(len(summary['published']), 'product')} published, "
        f"{len(summary['unchanged'])} unchanged, {counted(len(failed), 'domain')} failed "
        f"in {summary['seconds']} s"
    )
    return summary, ok


def _is_empty(repository: Repository, domain: Domain, reporter: TerminalReporter) -> bool:
    """Whether nothing came of a domain because it has neither topics nor models."""
    is_known = domain.name in reporter.seen or not is_fresh(repository, domain)
    return (
        not is_known
        and not domain.raw_tables
        and not fresh_manifest(repository, domain).own_models()
    )


def _orchestrate(
    repository: Repository, selection: Selection, reporter: TerminalReporter, jobs: int | None
) -> bool:
    # The only place of the platform that starts the orchestrator: `mesh run` and the web
    # page execute the same assets. Imported here, for `import dagster` takes two seconds.
    import warnings

    warnings.filterwarnings("ignore", module="dagster")
    from meshhouse.dagster.home import unused_home
    from meshhouse.dagster.project import project_of
    from meshhouse.dagster.run import run as execute_definitions

    if unused := unused_home(repository):
        click.echo(f"mesh: {escaped(unused)}", err=True)
    try:
        return execute_definitions(
            repository,
            selection.whole,
            selection.products,
            project_of(repository).run_definitions,
            reporter,
            jobs or _jobs_for(len(selection.domains)),
        )
    finally:
        reporter.close()
        interrupts.stop_if_arrived()


def _jobs_for(domains: int) -> int:
    """How many of so many domains run at once, where nobody chose a number."""
    return min(jobs_at_once(), domains) if domains >= _WORTH_PROCESSES else 1


@click.command()
@click.argument("targets", nargs=-1, metavar="[DOMAIN|DOMAIN.PRODUCT]...")
@click.option("--downstream", is_flag=True, help="Also run everything that uses what is named.")
@click.option("--force", is_flag=True, help="Publish even what is unchanged or was rolled back.")
@click.option(
    "--full-refresh",
    is_flag=True,
    help="Build everything from scratch, incremental models too, and publish it.",
)
@click.option(
    "--confirm",
    "confirmed",
    default="",
    metavar="WHY",
    help="Confirm every silent change of this run: the same schema, another meaning.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    metavar="N",
    help="Domains that run at once. Without it, as many as cores and memory allow.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be done and why; change nothing.")
@click.option("--quiet", is_flag=True, help="Print errors only.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def run(
    targets: tuple[str, ...],
    downstream: bool,
    force: bool,
    full_refresh: bool,
    confirmed: str,
    jobs: int | None,
    dry_run: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Land new events, build, audit and publish: everything, or the named targets."""
    repository = Repository.find()
    if dry_run:
        # They load what landing needs, pandas included: 0.3 s that other runs do without.
        from meshhouse.cli.forecast import show_forecasts
        from meshhouse.runs.forecast import forecasts

        selection = select(repository, targets, downstream)
        found = forecasts(repository, engine(repository), selection, force or full_refresh)
        failed = show_forecasts(found, selection.broken, quiet, as_json)
        return 1 if failed else 0
    check_jobs(jobs or 1)
    summary, ok = execute(
        repository, targets, downstream, quiet or as_json, force, full_refresh, confirmed, jobs
    )
    if as_json:
        print_json(summary)
    elif quiet:
        for failure in summary["failed"]:
            click.echo(escaped(f"mesh: {failure['domain']}: {failure['message']}"), err=True)
    return 0 if ok else 1
