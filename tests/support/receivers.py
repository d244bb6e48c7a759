"""A receiver of webhooks and a mail server, both real, on this machine.

Belongs here: what they got, and how they fail. Not here: what tests expect of it.
"""

from __future__ import annotations

import json
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_string
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Request:
    """One request that arrived."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)


@dataclass
class Receiver:
    """What a server got, and what it answers."""

    port: int
    posted: list[Request] = field(default_factory=list)
    """Requests with a body."""
    pinged: list[str] = field(default_factory=list)
    """Paths of requests without one."""
    mailed: list[EmailMessage] = field(default_factory=list)
    raw: list[str] = field(default_factory=list)
    """E-mails as they came over the wire."""
    answers: dict[str, int] = field(default_factory=dict)
    """Path -> the status of the answer, other than 200."""
    before_answer: Callable[[], None] = lambda: None
    """Called when a request is complete, before its answer."""
    refused: set[str] = field(default_factory=set)
    """Addresses that the mail server does not know."""
    encrypted: list[bool] = field(default_factory=list)
    """Whether each e-mail came over TLS."""


class _Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._receiver.posted.append(Request(self.path, headers, body))
        self._receiver.before_answer()
        self._answer()

    def do_GET(self) -> None:
        self._receiver.pinged.append(self.path)
        self._answer()

    def _answer(self) -> None:
        status = self._receiver.answers.get(self.path, 200)
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    @property
    def _receiver(self) -> Receiver:
        return self.server.receiver  # type: ignore[attr-defined]

    def log_message(self, *_: object) -> None: ...


class _Post(socketserver.StreamRequestHandler):
    """As much of SMTP as a client needs to hand over a message."""

    def handle(self) -> None:
        receiver: Receiver = self.server.receiver  # type: ignore[attr-defined]
        tls: ssl.SSLContext | None = self.server.tls  # type: ignore[attr-defined]
        if tls and self.server.at_once:  # type: ignore[attr-defined]
            self._encrypt(tls)
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline():
            word = line.upper()
            if word.startswith(b"EHLO") and tls:
                self.wfile.write(b"250-here\r\n250 STARTTLS\r\n")
                continue
            if word.startswith(b"STARTTLS") and tls:
                self.wfile.write(b"220 go on\r\n")
                self._encrypt(tls)
                continue
            if word.startswith(b"DATA"):
                self.wfile.write(b"354 go on\r\n")
                text = b"".join(iter(self.rfile.readline, b".\r\n")).decode()
                receiver.raw.append(text)
                receiver.encrypted.append(isinstance(self.connection, ssl.SSLSocket))
                receiver.mailed.append(message_from_string(text, policy=default))
            if word.startswith(b"RCPT") and any(each in line.decode() for each in receiver.refused):
                self.wfile.write(b"550 unknown\r\n")
                continue
            self.wfile.write(b"221 bye\r\n" if word.startswith(b"QUIT") else b"250 ok\r\n")

    def _encrypt(self, tls: ssl.SSLContext) -> None:
        self.connection = tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", buffering=0)


class _Mail(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    tls: ssl.SSLContext | None = None
    at_once = False

    def handle_error(self, *_: object) -> None:
        """Clients hang up where a test wants them to."""


@contextmanager
def hook_server(port: int = 0) -> Iterator[Receiver]:
    """A receiver of webhooks and pings; on this port, or on a free one."""
    with _serving(ThreadingHTTPServer(("127.0.0.1", port), _Hook)) as receiver:
        yield receiver


@contextmanager
def mail_server(tls: ssl.SSLContext | None = None, at_once: bool = False) -> Iterator[Receiver]:
    """A mail server; with TLS at once, or after STARTTLS."""
    server = _Mail(("127.0.0.1", 0), _Post)
    server.tls, server.at_once = tls, at_once
    with _serving(server) as receiver:
        yield receiver


@contextmanager
def slow_server(begin: bytes) -> Iterator[int]:
    """A server that never ends its answer; yields its port.

    Args:
        begin: what it answers at once. After that, it sends one byte ten times a second.
    """
    done = threading.Event()

    class Slow(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(begin)
            while not done.wait(0.1):
                self.request.sendall(b"a")

    server = _Mail(("127.0.0.1", 0), Slow)
    try:
        with _serving(server) as receiver:
            yield receiver.port
            done.set()
    finally:
        done.set()


@contextmanager
def _serving(server: socketserver.TCPServer) -> Iterator[Receiver]:
    receiver = Receiver(server.server_address[1])
    server.receiver = receiver  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
