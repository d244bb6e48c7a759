"""`mesh diff`: what changed, whom it hits, and the ways out."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from meshhouse.cli.diff_rows import rows_as_json, rows_as_lines, rows_as_markdown
from meshhouse.cli.output import console, escaped, print_json, width
from meshhouse.engines import Engine, engine
from meshhouse.errors import UsageError
from meshhouse.governance.report import as_lines, as_markdown, as_sarif
from meshhouse.markdown import code
from meshhouse.modes import use_users_umask
from meshhouse.repository import Repository, printable
from meshhouse.runs.diff import (
    Difference,
    declared_difference,
    published_difference,
    two_publications,
)
from meshhouse.runs.two_states import RowsOfTwo, rows_of_build, rows_of_publications

_FORMS = ("--json", "--sarif", "--markdown", "--html")


@click.command()
@click.argument("targets", nargs=-1, metavar="[DOMAIN|DOMAIN.PRODUCT]...")
@click.option(
    "--from",
    "earlier",
    type=int,
    metavar="PUBLICATION",
    help="Compare from this publication of one product; `mesh history` has the numbers.",
)
@click.option(
    "--to",
    "later",
    type=int,
    metavar="PUBLICATION",
    help="Compare up to this publication; by default the current one.",
)
@click.option(
    "--data", is_flag=True, help="Also compare rows: with the newest build, or with --to."
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--sarif", is_flag=True, help="Print as SARIF 2.1.0, for code hosts.")
@click.option("--markdown", is_flag=True, help="Print as a comment for a pull request.")
@click.option("--html", is_flag=True, help="Print as a page: one file, without scripts.")
@click.option(
    "-o",
    "place",
    type=click.Path(path_type=Path),
    metavar="FILE|FOLDER",
    help="With --html: write the page to a file, or into the folder of a catalog.",
)
@click.option("--quiet", is_flag=True, help="Print only what changed.")
def diff(
    targets: tuple[str, ...],
    earlier: int | None,
    later: int | None,
    data: bool,
    as_json: bool,
    sarif: bool,
    markdown: bool,
    html: bool,
    place: Path | None,
    quiet: bool,
) -> int:
    """Compare what is declared with what consumers see; needs no data and no build.

    Each change has a verdict, the consumers that it would hit, and the ways out. The exit code is
    1 if a run would refuse to publish something.
    """  # fmt: skip
    forms = zip(_FORMS, (as_json, sarif, markdown, html), strict=True)
    form, *more = [form for form, on in forms if on] or [""]
    if more:
        raise UsageError(f"{' and '.join([form, *more])} cannot be combined. Choose one.")
    if place is not None and not html:
        raise UsageError("-o is the file of the page: add --html.")
    if data and sarif:
        raise UsageError("--sarif has no place for rows. Use another form with --data.")
    if earlier is None and later is not None:
        raise UsageError("--to needs --from: the publication to compare with.")
    if earlier is not None and (len(targets) != 1 or "." not in targets[0]):
        raise UsageError("--from and --to compare publications of one product: name that product.")
    repository = Repository.find()
    chosen = engine(repository)
    if earlier is not None:
        found, rows = _publications(repository, chosen, targets[0], earlier, later, data)
    else:
        found = declared_difference(repository, chosen, targets)
        rows = _builds(repository, chosen, found) if data else []
    if place is not None:
        _write_page(place, found, rows, repository.environment, quiet)
    elif form:
        _print_as(form, found, rows)
    else:
        for line in _lines(found, rows, quiet):
            click.echo(_fitted(line))
        _say_broken(found)
        console(quiet).print(_summary(found, earlier is not None), markup=False)
    return 1 if found.is_refused else 0


def _print_as(form: str, found: Difference, rows: Sequence[RowsOfTwo | str]) -> None:
    """Prints one of `_FORMS`."""
    if form == "--json":
        print_json(_as_json(found, rows))
    elif form == "--sarif":
        print_json(as_sarif(found.judged))
        _say_broken(found)
    elif form == "--markdown":
        click.echo(_as_markdown(found, rows))
    else:
        # Jinja2 takes 0.1 s to import, which other forms do not need.
        from meshhouse.catalog.pages.change import change_page

        click.echo(change_page(found, rows))


def _write_page(
    place: Path,
    found: Difference,
    rows: Sequence[RowsOfTwo | str],
    environment: str,
    quiet: bool,
) -> None:
    # Jinja2 takes 0.1 s to import, which other forms do not need.
    from meshhouse.catalog.pulls import write_page

    use_users_umask()
    written = write_page(found, rows, place, environment)
    console(quiet).print(f"written   {printable(str(written))}", markup=False)


def _publications(
    repository: Repository,
    chosen: Engine,
    target: str,
    earlier: int,
    later: int | None,
    data: bool,
) -> tuple[Difference, list[RowsOfTwo | str]]:
    product = repository.product(target)
    before, after = two_publications(chosen.ledger, product, earlier, later)
    found = published_difference(repository, chosen.ledger, product, before, after)
    if not data:
        return found, []
    return found, [rows_of_publications(repository, chosen, product, before, after)]


def _builds(repository: Repository, chosen: Engine, found: Difference) -> list[RowsOfTwo | str]:
    """The rows of each product that is published and declared, beside its newest build."""
    rows = [rows_of_build(repository, chosen, *each) for each in found.compared]
    return list({str(each): each for each in rows}.values())  # one reason for all of them is enough


def _as_json(found: Difference, rows: Sequence[RowsOfTwo | str]) -> dict[str, object]:
    return {
        "refused": found.is_refused,
        "products": [each.as_json() for each in found.judged],
        "unchanged": found.unchanged,
        "new": found.new,
        "removed": found.removed,
        "without_contract": found.without_contract,
        "not_built": found.withheld,
        "broken": found.broken,
        "rows": [rows_as_json(each) for each in rows],
    }


def _as_markdown(found: Difference, rows: Sequence[RowsOfTwo | str]) -> str:
    parts = [f"**{code(name)} cannot be compared:** {code(escaped(because))}"
             for name, because in found.broken.items()]  # fmt: skip
    parts += [as_markdown(found.judged).rstrip()]
    parts += [
        f"{title}: {', '.join(map(code, sorted(names)))}."
        for title, names in _others(found)
        if names and title != "unchanged"
    ]
    parts += [rows_as_markdown(each) for each in rows]
    return "\n\n".join(parts)


def _others(found: Difference) -> tuple[tuple[str, Sequence[str]], ...]:
    return (
        ("unchanged", found.unchanged),
        ("new", found.new),
        ("removed, and consumers still see it", found.removed),
        ("published without a contract, so it cannot be compared", found.without_contract),
        *(
            (f"{reason}, so no run publishes it", [relation])
            for relation, reason in found.withheld.items()
        ),
    )


def _lines(found: Difference, rows: Sequence[RowsOfTwo | str], quiet: bool) -> Iterator[str]:
    for judged in found.judged:
        yield from as_lines(judged)
    for title, names in _others(found):
        for name in () if quiet and title == "unchanged" else names:
            yield f"{name}: {title}"
    for each in rows:
        yield from rows_as_lines(each)


def _fitted(line: str) -> str:
    """A line within the width of the terminal; a command stays whole, so that it can be copied."""
    text = escaped(line)
    limit = width()
    if limit is None or text.lstrip().startswith("->"):
        return text
    indent = " " * (len(text) - len(text.lstrip()))
    if indent == "  ":
        indent = " " * 12  # below the change, beside its verdict
    return textwrap.fill(
        text, max(limit, 40), subsequent_indent=indent, break_on_hyphens=False,
        drop_whitespace=True, replace_whitespace=False,
    )  # fmt: skip


def _say_broken(found: Difference) -> None:
    for name, because in found.broken.items():
        click.echo(f"mesh: {printable(name)} cannot be compared: {escaped(because)}", err=True)


def _summary(found: Difference, of_publications: bool) -> str:
    refused = sum(len(each.outcome.refused) for each in found.judged)
    if of_publications and not refused:
        return "Nothing between these publications would be refused."
    if refused:
        return f"{refused} {'change' if refused == 1 else 'changes'} would be refused."
    if found.broken:
        return "Nothing else would be refused."
    return "Nothing would be refused."
