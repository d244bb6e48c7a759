"""`mesh dev` beside another one, and `mesh prepare`."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from meshhouse import dbt
from meshhouse.errors import MeshError
from meshhouse.locks import lock_if_free
from meshhouse.runs.parse import fresh_manifest
from tests.conftest import WARM, Mesh

DESCRIBE = Path(__file__).parents[1] / "dagster" / "describe.py"


def test_a_port_that_is_taken_is_one_line_and_nothing_starts(mesh: Mesh):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = mesh.run("dev", "--port", port, code=2)
    [line] = done.stderr.splitlines()
    assert line.startswith(f"mesh: Port {port} of 127.0.0.1 cannot be used: Address already in use")
    assert line.endswith("choose another port with --port.")
    assert not mesh.home.exists()


def test_a_second_page_of_one_mesh_is_refused_on_any_port(mesh: Mesh):
    path = mesh.home / "locks" / "dev"
    with lock_if_free(path) as holder:
        assert holder == ""
        path.write_text("4711")
        done = mesh.run("dev", "--port", "39123", code=2)
    assert done.stderr == (
        "mesh: `mesh dev` already runs for this mesh, in process 4711. Use its page, or stop it.\n"
    )


def files(root: Path) -> dict[Path, tuple[int, int]]:
    return {
        path: (path.stat().st_mtime_ns, path.stat().st_size)
        for path in root.rglob("*")
        if path.is_file()
    }


def test_a_prepared_checkout_loads_without_a_change_to_it(mesh: Mesh, tmp_path: Path):
    elsewhere = {**mesh.environment, "MESH_HOME": str(tmp_path / "home")}
    assert mesh.run("prepare", environment=elsewhere).stdout == "3 domains prepared.\n"
    before = files(mesh.root)
    assert sum(path.name == "manifest.json" for path in before) == 3
    told, output = tmp_path / "told.json", (tmp_path / "out", tmp_path / "err")
    process = WARM.start([str(DESCRIBE), str(mesh.root), str(told)], tmp_path, elsewhere, output)
    assert WARM.wait(process, 200) == 0, output[1].read_text()
    assert {"shop/orders", "crm/customers", "mesh/overview"} <= set(
        json.loads(told.read_text())["assets"]
    )
    assert files(mesh.root) == before


def test_a_read_only_checkout_runs_and_names_the_remedy_where_it_is_old(
    mesh: Mesh, tmp_path: Path, monkeypatch
):
    repository = mesh.repository
    shop = repository.domain("shop")
    fresh_manifest(repository, shop)
    monkeypatch.setenv("MESH_HOME", str(tmp_path / "home"))
    # Root, who runs these tests in CI, may write everywhere.
    can = os.access
    writes = lambda path, mode: can(path, mode) and mode != os.W_OK  # noqa: E731
    monkeypatch.setattr(os, "access", writes)
    before = files(mesh.root)
    read_only = mesh.repository
    dbt.invoke(read_only, "shop", ["list"], {})
    assert files(mesh.root) == before
    assert (tmp_path / "home" / "target" / "shop" / "partial_parse.msgpack").exists()
    mesh.write("domains/shop/models/staging/another.sql", "select 1 as one")
    with pytest.raises(MeshError, match=r"shop: its manifest is older .* Run `mesh prepare`"):
        fresh_manifest(mesh.repository, mesh.repository.domain("shop"))


def test_a_domain_that_does_not_parse_is_named_and_fails_the_build_of_an_image(mesh: Mesh):
    mesh.edit("domains/crm/models/products/customers.yml", "[customer_id]", "5")
    done = mesh.run("prepare", code=1)
    assert done.stdout == "2 domains prepared.\n"
    assert done.stderr.startswith("mesh: crm is broken: domains/crm/models/products/customers.yml:")
