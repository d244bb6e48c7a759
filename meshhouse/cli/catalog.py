"""`mesh catalog`: the catalog site of this mesh.

Belongs here: the commands. Not here: documents, pages and the server (catalog/).
"""

from __future__ import annotations

import webbrowser
from dataclasses import asdict
from pathlib import Path

import click
from click.core import ParameterSource

from meshhouse.catalog.build import Catalog
from meshhouse.catalog.server import Rebuilds, Server
from meshhouse.catalog.site import Built
from meshhouse.cli.output import console, counted, print_json, size
from meshhouse.engines import engine
from meshhouse.errors import MeshError, UsageError
from meshhouse.modes import use_users_umask
from meshhouse.repository import Repository

_FOR = click.option(
    "--for", "consumer", default="", metavar="CONSUMER",
    help="Mark what this domain owns and reads.",
)  # fmt: skip
_FOLDER = click.option(
    "-o", "folder", type=click.Path(path_type=Path), metavar="FOLDER",
    help="Where the site is written; by default `catalog` in the mesh's home.",
)  # fmt: skip


@click.group(invoke_without_command=True)
@_FOR
@click.option("--port", type=click.IntRange(0, 65535), default=8100, show_default=True,
              help="Port of the page; 0 for any free port.")  # fmt: skip
@click.option("--no-open", is_flag=True, help="Do not open the browser.")
@click.pass_context
def catalog(context: click.Context, consumer: str, port: int, no_open: bool) -> None:
    """Show the catalog in the browser: what exists, whether to trust it, how to read it.

    The site is written again when something was published. Ctrl-C ends it.
    """
    if context.invoked_subcommand is not None:
        given = [each for each in context.command.params if _was_given(context, each)]
        if given:
            raise UsageError(
                f"`{given[0].opts[0]}` is an option of `mesh catalog` and has no effect on `mesh "
                f"catalog {context.invoked_subcommand}`. Write options after the command: "
                f"`mesh catalog {context.invoked_subcommand} --help` lists them."
            )
        return
    made = _catalog(consumer, None)
    out = console()
    built_at = made.position()
    out.print(_line(made.build()), markup=False)
    last = ""

    def build_again() -> bool:
        nonlocal last
        try:
            out.print(_line(made.build()), markup=False)
        except MeshError as error:  # the old pages stay; the next request tries again
            if str(error) != last:
                out.print(f"mesh: {error}", markup=False)
            last = str(error)
            return False
        last = ""
        return True

    try:
        server = Server(made.folder, port, Rebuilds(made.position, build_again, built_at))
    except OSError as error:
        raise UsageError(
            f"Port {port} cannot be used: {error.strerror}. Another `mesh catalog` may run there: "
            "use its page, or choose another port with --port."
        ) from error
    with server:
        out.print(f"serving   {server.url}  (Ctrl-C ends it)", markup=False)
        if not no_open:
            webbrowser.open(server.url)
        server.serve_forever()


@catalog.command()
@_FOR
@_FOLDER
@click.option("--quiet", is_flag=True, help="Print errors only.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def build(consumer: str, folder: Path | None, quiet: bool, as_json: bool) -> None:
    """Write the catalog as a static site. Only pages that changed are written."""
    if folder is not None:
        use_users_umask()
    built = _catalog(consumer, folder).build()
    if as_json:
        print_json(asdict(built))
    else:
        console(quiet).print(_line(built), markup=False)


def _was_given(context: click.Context, option: click.Parameter) -> bool:
    source = context.get_parameter_source(option.name or "")
    return source not in (None, ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)


def _catalog(consumer: str, folder: Path | None) -> Catalog:
    repository = Repository.find()
    return Catalog(repository, engine(repository), consumer, folder)


def _line(built: Built) -> str:
    changed = f"{counted(len(built.written), 'page')} written"
    if built.removed:
        changed += f", {len(built.removed)} removed"
    place = f"{counted(built.pages, 'file')}, {size(built.bytes)} in {built.folder}"
    return f"catalog   {changed}; {place}"
