"""`mesh catalog build` and `mesh catalog` on a published mesh."""

from __future__ import annotations

import json
import signal
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.catalog.conftest import CUSTOMER, published, published_once  # noqa: F401 - fixtures
from tests.conftest import Mesh
from tests.support.guides import Followed


def build(mesh: Mesh, *arguments: str) -> dict:
    return json.loads(mesh.run("catalog", "build", "--json", *arguments).stdout)


def texts(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_second_build_writes_nothing_and_a_publication_writes_its_pages(published):  # noqa: F811
    mesh = published
    first = build(mesh)
    folder = Path(first["folder"])
    assert folder == mesh.home / "catalog"
    assert (folder / "products/shop/orders.html").is_file()
    assert len(first["written"]) == first["pages"] > 5
    again = build(mesh)
    # These two say when the site was built.
    assert (again["written"], again["removed"]) == (["assets/built.js", "index.html"], [])
    mesh.sell(4)
    mesh.run("run", "shop")
    changed = build(mesh)["written"]
    assert "products/shop/orders.html" in changed
    # Its page has a picture that says when what it reads becomes late; its facts are the same.
    assert "products/crm/customers.json" not in changed
    assert "glossary.html" not in changed
    assert [each for each in changed if each.startswith("assets/")] == ["assets/built.js"]


def test_protected_values_and_markup_from_texts_are_in_no_file(published, tmp_path):  # noqa: F811
    for consumer in ((), ("--for", "crm"), ("--for", "shop")):
        folder = tmp_path / "-".join(["site", *consumer])
        build(published, *consumer, "-o", str(folder))
        for name, content in texts(folder).items():
            assert str(CUSTOMER).encode() not in content, name
            assert str(published.root).encode() not in content, name
            if name.endswith(".html"):
                assert b"<script>alert" not in content, name
                assert b'href="javascript' not in content, name
    page = (tmp_path / "site" / "products/shop/totals.html").read_text()
    assert "alert(1)" in page  # as text


def test_a_retired_name_leaves_no_page(published):  # noqa: F811
    folder = Path(build(published)["folder"])
    assert (folder / "products/mesh/overview.html").exists()
    for path in (published.root / "models/overview").iterdir():
        path.unlink()
    built = build(published)
    # Consumers still see what was published, so its page stays.
    assert "products/mesh/overview.html" not in built["removed"]
    assert "not declared" in (folder / "products/mesh/overview.html").read_text()


def test_misuse_is_refused_with_a_remedy(published, tmp_path):  # noqa: F811
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "text").write_text("years")
    said = published.run("catalog", "build", "-o", str(tmp_path / "thesis"), code=2).stderr
    assert "not a catalog's" in said
    said = published.run("catalog", "build", "--for", "nobody", code=2).stderr
    assert "There is no domain `nobody`. Domains: crm, shop, mesh" in said


def test_a_mesh_without_data_has_a_catalog_of_declarations(mesh):
    built = build(mesh)
    page = Path(built["folder"], "products/shop/orders.html").read_text()
    assert "never published" in page


def test_the_server_shows_the_site_and_follows_the_ledger(published):  # noqa: F811
    process = published.start("catalog", "--no-open", "--port", "0")
    try:
        line = next(each for each in process.stderr if each.startswith("serving"))
        url = line.split()[1]
        page = f"{url}products/shop/orders.html"
        with urllib.request.urlopen(page) as answer:
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            before = answer.read()
        published.sell(4)
        published.run("run", "shop")
        deadline = datetime.now(UTC).timestamp() + 60
        while (after := urllib.request.urlopen(page).read()) == before:
            assert datetime.now(UTC).timestamp() < deadline
        assert after != before
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
    assert process.returncode == 130


def test_a_port_in_use_is_refused(published):  # noqa: F811
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = published.run("catalog", "--no-open", "--port", port, code=2).stderr
    assert f"Port {port} cannot be used" in said


def test_the_guide(published, tmp_path):  # noqa: F811
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    printed = Followed(published, scratch, {}).follow("catalog.md")
    assert "written" in printed[0]
    assert (published.root / "site/index.html").is_file()
    assert (published.root / "site-for-crm/index.html").is_file()


@pytest.mark.parametrize("option", [("--for", "shop"), ("--port", "1"), ("--no-open",)])
def test_an_option_before_the_command_is_refused(mesh, tmp_path, option):
    said = mesh.run("catalog", *option, "build", "-o", str(tmp_path / "site"), code=2).stderr
    assert f"`{option[0]}` is an option of `mesh catalog` and has no effect" in said
    assert not (tmp_path / "site").exists()


def test_the_site_of_an_environment_names_it_on_every_page(mesh, tmp_path):
    folder = tmp_path / "site"
    named = {"MESH_ENV": "pr7"}
    mesh.run("catalog", "build", "-o", str(folder), environment=named)
    for page in folder.rglob("*.html"):
        assert "Environment <code>pr7</code>" in page.read_text(), page
    assert "MESH_ENV=pr7 mesh sql" in (folder / "products/shop/orders.html").read_text()
    said = mesh.run("catalog", "build", "-o", str(folder), code=2).stderr
    assert "has the catalog of the environment `pr7` for everyone" in said
