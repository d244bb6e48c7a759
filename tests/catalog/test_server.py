"""The server of `mesh catalog`: files of the site, strict headers, nothing else."""

from __future__ import annotations

import http.client
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from meshhouse.catalog.server import Rebuilds, Server


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    (folder / "products").mkdir(parents=True)
    (folder / "index.html").write_text("<p>home")
    (folder / "products" / "orders.json").write_text("{}")
    (folder / ".catalog.json").write_text("secret")
    (folder / "link.html").symlink_to(tmp_path / "outside.html")
    (tmp_path / "outside.html").write_text("secret")
    return folder


@contextmanager
def serving(folder: Path, position=lambda: 0, build=lambda: True, built_at=0):
    server = Server(folder, 0, Rebuilds(position, build, built_at))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def get(server: Server, path: str, method: str = "GET", **headers: str):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1])
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


def test_files_have_their_types_and_strict_headers(site):
    with serving(site) as server:
        status, headers, content = get(server, "/")
        assert (status, content) == (200, b"<p>home")
        assert headers["Content-Type"] == "text/html; charset=utf-8"
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "Python" not in headers["Server"]
        status, headers, _ = get(server, "/products/orders.json?x=1")
        assert (status, headers["Content-Type"]) == (200, "application/json")


@pytest.mark.parametrize(
    "path",
    ["/products/", "/products", "/.catalog.json", "/%2ecatalog.json", "/../outside.html",
     "/products/../../outside.html", "/..%2f..%2foutside.html", "/link.html", "/nothing.html",
     "//etc/passwd", "/products/%00"],
)  # fmt: skip
def test_nothing_else_is_shown(site, path):
    with serving(site) as server:
        status, headers, content = get(server, path)
        if status == 301:  # to the folder, which is not listed either
            status, headers, content = get(server, headers["Location"])
        assert status == 404
        assert b"secret" not in content
        assert "Content-Security-Policy" in headers


def test_pages_elsewhere_cannot_read_it_under_another_name(site):
    """A name of a hostile page that resolves to this machine is not a name of the site."""
    with serving(site) as server:
        assert get(server, "/", Host="evil.example:8100")[0] == 403
        assert get(server, "/", method="POST")[0] == 501


def test_it_listens_on_this_machine_only(site):
    with serving(site) as server:
        assert server.server_address[0] == "127.0.0.1"


def test_a_page_is_current_after_the_ledger_changed(site, monkeypatch):
    position = [1]
    clock = [100.0]
    monkeypatch.setattr("meshhouse.catalog.server.time.monotonic", lambda: clock[0])

    def build():
        (site / "index.html").write_text(f"<p>{position[0]}")
        return True

    with serving(site, lambda: position[0], build, 1) as server:
        assert get(server, "/")[2] == b"<p>home"
        position[0] = 2
        clock[0] += 0.5
        assert get(server, "/")[2] == b"<p>home"  # looks once a second
        clock[0] += 1
        assert get(server, "/")[2] == b"<p>2"


def test_what_is_published_during_the_first_build_is_shown(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("meshhouse.catalog.server.time.monotonic", lambda: clock[0])
    builds = []
    before = 1
    rebuilds = Rebuilds(lambda: 2, lambda: not builds.append(1), before)
    clock[0] += 2
    rebuilds.look()
    clock[0] += 2
    rebuilds.look()
    assert len(builds) == 1


def test_a_build_that_failed_is_tried_again(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("meshhouse.catalog.server.time.monotonic", lambda: clock[0])
    outcomes = [False, True]
    rebuilds = Rebuilds(lambda: 2, lambda: outcomes.pop(0), 1)
    for _ in range(3):
        clock[0] += 2
        rebuilds.look()
    assert outcomes == []
