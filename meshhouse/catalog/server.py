"""Serves a site on this machine, and brings it up to date when the ledger has changed.

Belongs here: the HTTP server, its headers, and when it builds again. Not here: what a build does
(site.py).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

HEADERS = {
    # Every file comes from this site, and no page has a script or style inside.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # The browser asks each time, and gets an answer without content if the file is the same.
    "Cache-Control": "no-cache",
}
_HOSTS = ("localhost", "127.0.0.1", "[::1]")


class Rebuilds:
    """Builds again when a page is asked for and the ledger has changed since the last build."""

    def __init__(
        self, position: Callable[[], object], build: Callable[[], bool], built_at: object
    ) -> None:
        """Takes what it calls.

        Args:
            position: something that differs after each change of the ledger.
            build: brings the site up to date; returns whether it could, and raises nothing.
            built_at: the position before the site was built. What is published during a build
                is in the next one.
        """
        self._position, self._build = position, build
        self._built_at = built_at
        self._looked = time.monotonic()
        self._lock = threading.Lock()

    def look(self) -> None:
        """Builds if something changed; looks at most once a second."""
        if time.monotonic() - self._looked < 1:
            return
        if not self._lock.acquire(blocking=False):
            return  # another request builds; the old page is whole
        try:
            self._looked = time.monotonic()
            position = self._position()
            if position != self._built_at and self._build():
                self._built_at = position
        finally:
            self._lock.release()


class _Handler(SimpleHTTPRequestHandler):
    """Answers with files of the site and nothing else."""

    server_version, sys_version = "mesh", ""
    server: Server
    extensions_map = {  # noqa: RUF012 - of the base class
        ".html": "text/html; charset=utf-8",
        ".css": "text/css; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".json": "application/json",
        ".yaml": "application/yaml",
        ".yml": "application/yaml",
        ".svg": "image/svg+xml",
        ".png": "image/png",
        ".txt": "text/plain; charset=utf-8",
        ".xml": "application/xml",
        "": "application/octet-stream",
    }

    def send_head(self) -> Any:
        """Refuses other hosts, hidden files and folders."""
        host = self.headers.get("Host", "").rsplit(":", 1)[0]
        if host not in _HOSTS:
            # A page elsewhere whose name was bound to this machine must not read the site.
            self.send_error(HTTPStatus.FORBIDDEN, "Use localhost")
            return None
        parts = unquote(urlsplit(self.path).path).split("/")
        is_named = not any(part.startswith(".") or "\0" in part for part in parts)
        if not is_named or not self._is_inside():
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        self.server.rebuilds.look()
        return super().send_head()

    def list_directory(self, path: Any) -> None:
        """Lists no folder."""
        self.send_error(HTTPStatus.NOT_FOUND)

    def end_headers(self) -> None:
        """Adds the headers of every answer."""
        for name, text in HEADERS.items():
            self.send_header(name, text)
        super().end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - of the base class
        """Logs nothing: requests are of the person at this machine."""

    def _is_inside(self) -> bool:
        """Whether the file is in the folder, symbolic links resolved."""
        target = Path(os.path.realpath(self.translate_path(self.path)))
        return target.is_relative_to(os.path.realpath(self.directory))


class Server(ThreadingHTTPServer):
    """Serves one folder on this machine."""

    daemon_threads = True

    def __init__(self, folder: Path, port: int, rebuilds: Rebuilds) -> None:
        """Listens at once.

        Args:
            folder: the site.
            port: 0 for any free one.
            rebuilds: called for each request.

        Raises:
            OSError: the port cannot be used.
        """
        self.rebuilds = rebuilds
        self._folder = folder
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def url(self) -> str:
        """The address of the home page."""
        return f"http://localhost:{self.server_address[1]}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: a browser that leaves a page early closes the connection."""

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Answers one request with files of the folder."""
        _Handler(request, client_address, self, directory=str(self._folder))
