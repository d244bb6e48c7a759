"""`mesh backup`, `mesh restore` and `mesh adopt`: copying or moving a whole mesh."""

from __future__ import annotations

import click

from meshhouse.cli.output import console, counted, print_json, size
from meshhouse.engines import engine
from meshhouse.errors import UsageError
from meshhouse.lake import Lake
from meshhouse.lake.identity import settle
from meshhouse.maintenance.backup import back_up
from meshhouse.maintenance.bundle import Index
from meshhouse.maintenance.restore import restore as restore_mesh
from meshhouse.repository import Repository

_QUIET = click.option("--quiet", is_flag=True, help="Print errors only.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")


@click.command()
@click.argument("folder", metavar="DIR")
@click.option("--overwrite", is_flag=True, help="Replace the backup that DIR holds.")
@_QUIET
@_JSON
def backup(folder: str, overwrite: bool, quiet: bool, as_json: bool) -> None:
    """Copy the mesh to DIR, a folder or `s3://bucket/folder`, while runs go on.

    The copy holds every product with its history, the ledger, raw tables, builds and the
    embedded event log, all as of the same time.
    """
    out = console(quiet or as_json)
    done = back_up(_lake(), folder, overwrite, out.print)
    _summarise(done, folder, quiet, as_json, "backed up to")


@click.command()
@click.argument("folder", metavar="DIR")
@click.option(
    "--overwrite", is_flag=True, help="If there is a mesh already, rename its folder first."
)
@_QUIET
@_JSON
def restore(folder: str, overwrite: bool, quiet: bool, as_json: bool) -> None:
    """Restore a mesh from the backup in DIR, a folder or `s3://bucket/folder`.

    The mesh is restored to `.mesh` or MESH_HOME, even if the backup was taken from another folder.
    """
    out = console(quiet or as_json)
    repository = Repository.find()
    _lake()
    done = restore_mesh(repository.home, folder, overwrite, out.print)
    _summarise(done, str(repository.home), quiet, as_json, "restored to")


@click.command()
def adopt() -> None:
    """Use a lake whose folder was moved to another place.

    Only needed if `mesh` asks for it: after a move or copy on this machine, the next command
    corrects the paths by itself.
    """
    home = _lake().home
    done = settle(home, confirmed=True)
    console().print(f"the lake is in {home}" if done else f"the lake is already in {home}")


def _lake() -> Lake:
    found = engine(Repository.find())
    if found.lake is None:
        raise UsageError(
            f"Target `{found.name}` keeps its own tables and has its own backups (Time Travel and "
            "clones). Unset MESH_TARGET to use the mesh in this folder."
        )
    return found.lake


def _summarise(done: Index, place: str, quiet: bool, as_json: bool, what: str) -> None:
    if as_json:
        print_json(
            {
                "place": place,
                "id": done.id,
                "created_at": done.created_at,
                "files": len(done.files),
                "bytes": done.bytes,
                "not_included": list(done.not_included),
            }
        )
    elif not quiet:
        files = counted(len(done.files), "file")
        console().print(f"{what} {place}: {files}, {size(done.bytes)}, checksums compared")
        for each in done.not_included:
            console().print(f"not included: {each}")
