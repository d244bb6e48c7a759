"""Wrong calls of `mesh`: one clear line each; exit code 2 for misuse, 1 for failure."""

from __future__ import annotations

import io
import os
import shlex
from collections.abc import Iterator

import pytest

from meshhouse.cli.main import cli, run
from tests.conftest import Mesh

LATE = "2017-03-01"
CASES: list[tuple[str, dict[str, str], int, str]] = [
    # The command or its argument does not exist, or is wrong.
    ("runn", {}, 2, "Did you mean `mesh run`?"),
    ("run --downstreem", {}, 2, "--downstream"),
    ("run --force=yes", {}, 2, "does not take a value"),
    ("run shop..orders", {}, 2, "shop"),
    ("run .", {}, 2, "domain"),
    ("run shop.", {}, 2, "shop"),
    ("run SHOP", {}, 2, "Domains: crm, shop, mesh"),
    ("run ../shop", {}, 2, "Domains: crm, shop, mesh"),
    ("run shop crm.nothing", {}, 2, "crm publishes no product `nothing`"),
    ("run shop;drop", {}, 2, "Domains: crm, shop, mesh"),
    ("status --format", {}, 2, "--"),
    ("history", {}, 2, "DOMAIN.PRODUCT"),
    ("history shop.orders crm.customers", {}, 2, "unexpected extra argument"),
    ("history shop.orders.v1.x", {}, 2, "shop"),
    ("rollback nothing.orders", {}, 2, "nothing"),
    ("rollback shop.orders", {}, 1, "was never published"),
    # Landing.
    ("land shop_raw.nothing", {}, 2, "shop_raw.sales"),
    ("land crm", {}, 2, "neither a domain with topics"),
    ("land --every 0", {}, 2, "0.1"),
    ("land --every soon", {}, 2, "soon"),
    ("land --events 0 --follow", {}, 2, "--events"),
    ("land --accept everything shop", {}, 2, "lost-events"),
    ("land --accept lost-events", {}, 2, "name the raw table"),
    ("land --again-from 0", {}, 2, "name the raw table"),
    ("land shop_raw.sales --again-from yesterday", {}, 2, "yesterday"),
    ("land shop_raw.sales --again-from -5", {}, 2, "-5"),
    ("land shop_raw.sales --again-from 5 --engine spark", {}, 2, "--engine"),
    ("land --engine flink", {}, 2, "python"),
    ("rejected show", {}, 2, ""),
    ("rejected show shop_raw.nothing", {}, 2, "shop_raw.sales"),
    ("rejected discard shop_raw.sales", {}, 2, ""),
    ("rejected replay shop_raw.sales --reason", {}, 2, "--reason"),
    ("tail", {}, 2, "FILE"),
    ("tail nothing.log --once --topic t", {}, 2, "There is no file"),
    ("tail . --once --topic t", {}, 2, "is a directory"),
    ("tail dbt_project.yml --once", {}, 2, "--topic"),
    ("tail dbt_project.yml --once --topic t --partitions 0", {}, 2, "--partitions"),
    ("tail dbt_project.yml --once --topic a/../b", {}, 2, "a/../b"),
    ("replay nothing", {}, 2, "The demo has no topic"),
    ("replay --until 2017-02-30", {}, 2, "2017-02-30"),
    ("replay --to elsewhere", {}, 2, "kafka"),
    ("replay --to kafka", {}, 2, "mesh kafka start"),
    # Environment variables.
    ("status", {"MESH_ROOT": "/nowhere"}, 2, "/nowhere"),
    ("status", {"MESH_TARGET": "oracle"}, 2, "oracle"),
    ("status", {"MESH_ENV": "a b"}, 2, "a b"),
    ("status", {"MESH_ENV": "../x"}, 2, "../x"),
    ("status", {"MESH_HOME": "dbt_project.yml"}, 2, "dbt_project.yml"),
    ("run shop", {"MESH_TARGET": "snowflake"}, 2, "SNOWFLAKE_ACCOUNT"),
    ("status", {"MESH_WAREHOUSE": "/data"}, 2, "MESH_WAREHOUSE"),
    ("status", {"MESH_WAREHOUSE": "gs://bucket"}, 2, "MESH_WAREHOUSE"),
    ("status", {"PYICEBERG_CATALOG__MESH__URI": "localhost:1"}, 2, "REST catalog"),
    ("land", {"KAFKA_BOOTSTRAP_SERVERS": "localhost:1", "KAFKA_SASL_MECHANISM": "x"}, 2, "SCRAM"),
    ("land", {"KAFKA_BOOTSTRAP_SERVERS": "h:1", "KAFKA_SECURITY_PROTOCOL": "TLS"}, 2, "SASL_SSL"),
    ("land", {"KAFKA_BOOTSTRAP_SERVERS": "h:1", "KAFKA_REQUEST_TIMEOUT_MS": "1s"}, 2, "1s"),
    ("run", {"MESH_MEMORY_LIMIT": "plenty"}, 2, "MESH_MEMORY_LIMIT"),
    # Queries and their results.
    ("sql select", {}, 2, ""),
    ("sql 'select * from shop.nothing'", {}, 2, "nothing"),
    ("sql 'select 1' --format xml", {}, 2, "csv"),
    ("sql 'select 1' --format parquet", {}, 2, "-o"),
    ("sql 'drop table shop.orders'", {}, 2, ""),
    # The rest.
    ("check nothing", {}, 2, "unexpected extra argument"),
    ("check --target hive", {}, 2, "snowflake"),
    ("env drop nothing --yes", {}, 2, "nothing"),
    ("env drop", {}, 2, "NAME"),
    ("maintain shop_raw.nothing", {}, 2, "nothing"),
    ("kafka start --port 70000", {}, 2, "70000"),
    ("kafka begin", {}, 2, "begin"),
    ("demo --until never", {}, 2, "never"),
    ("dev --port x", {}, 2, "--port"),
]


@pytest.fixture(autouse=True)
def _umask_stays() -> Iterator[None]:
    """`mesh` sets the umask of its process, which here is the tests' process."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


@pytest.fixture(scope="module")
def empty(new_mesh) -> Mesh:
    """A mesh with an empty topic and nothing landed."""
    mesh = new_mesh()
    mesh.send("shop.sales", [])
    return mesh


@pytest.mark.parametrize(("command", "variables", "code", "says"), CASES)
def test_bad_input_gets_one_line(
    empty: Mesh, command: str, variables: dict[str, str], code: int, says: str, monkeypatch, capfd
) -> None:
    for name in [name for name in os.environ if name.startswith(("MESH_", "KAFKA_", "SNOWFLAKE"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(empty.root)
    for name, value in {"MESH_ROOT": str(empty.root), **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    found = run(cli, shlex.split(command))
    out, said = capfd.readouterr()
    assert "Traceback" not in said
    lines = [line for line in said.splitlines() if line.strip()]
    assert (found, out) == (code, ""), said
    assert len(lines) == 1, said
    assert lines[0].startswith("mesh: ")
    assert says in said
    assert len(lines[0]) < 600
