"""`mesh metrics`: figures of the mesh for Prometheus.

Belongs here: printing, writing and serving them. Not here: the figures (catalog/metrics.py).
"""

from __future__ import annotations

import threading
from pathlib import Path

import click

from meshhouse.catalog.build import Catalog
from meshhouse.catalog.documents import Mesh
from meshhouse.catalog.gather import gather
from meshhouse.catalog.gather.lags import with_lags
from meshhouse.cli.output import console, escaped
from meshhouse.engines import engine
from meshhouse.errors import MeshError, UsageError
from meshhouse.files import replace
from meshhouse.modes import use_users_umask
from meshhouse.repository import Repository


@click.command()
@click.option(
    "-o", "file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Write the figures to a file, for the textfile collector of node_exporter.",
)  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65535), metavar="PORT",
              help="Serve them at /metrics until Ctrl-C; 0 for any free port.")  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS",
              help="With --port: where to listen. 0.0.0.0 lets other machines read.")  # fmt: skip
def metrics(file: Path | None, port: int | None, host: str) -> None:
    """Print figures for Prometheus: freshness, lag, score, budgets, reads, cost."""
    if file is not None and port is not None:
        raise UsageError("-o and --port cannot be combined. Choose one.")
    repository = Repository.find()
    if repository.environment:
        raise UsageError(
            "Metrics are about production: their names do not say which environment they are of, "
            f"and {repository.environment} is one. Unset MESH_ENV."
        )
    if port is not None:
        _serve(repository, host, port)
        return
    # prometheus_client takes 0.1 s to import, which other commands do not need.
    from meshhouse.catalog.metrics import exposition

    text = exposition(_gathered(repository)).decode()
    if file is None:
        click.echo(text, nl=False)
    else:
        use_users_umask()
        replace(file, text)


def _serve(repository: Repository, host: str, port: int) -> None:
    from prometheus_client import start_http_server

    from meshhouse.catalog.metrics import Scrapes, registry_of

    chosen = Catalog(repository, engine(repository))
    root = repository.root
    scrapes = Scrapes(lambda: _gathered(Repository(root)), chosen.position, _say)
    try:
        server, thread = start_http_server(port, host, registry=registry_of(scrapes.families))
    except OSError as error:
        raise UsageError(
            f"Port {port} of {host} cannot be used: {error.strerror}. Choose another with --port."
        ) from error
    console().print(
        f"serving   http://{host}:{server.server_port}/metrics  (Ctrl-C ends it)", markup=False
    )
    try:
        thread.join(threading.TIMEOUT_MAX)
    finally:
        server.shutdown()


def _say(error: Exception) -> None:
    """Says why a scrape has no figures; of a fault in the program also its kind."""
    kind = "" if isinstance(error, MeshError) else f"{type(error).__name__}: "
    click.echo(f"mesh: mesh_up is 0: {escaped(f'{kind}{error}')}", err=True)


def _gathered(repository: Repository) -> Mesh:
    """The documents with lags; why a lag is unknown is said on standard error."""
    chosen = engine(repository)
    mesh, unknown = with_lags(gather(repository, chosen), repository, chosen)
    if unknown:
        click.echo(f"mesh: the lag of topics is unknown: {escaped(unknown)}", err=True)
    return mesh
