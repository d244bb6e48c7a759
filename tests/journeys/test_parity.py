"""Spark and Snowflake make the same products from the demo's events as DuckDB, to the last digit.

All 15 products are compared, for a tenth of the households: with all of them these two runs took a
twelfth of the time of all tests. To compare all households, before a release for example:
`MESH_TESTS_ALL_HOUSEHOLDS=1 pytest tests/journeys/test_parity.py`.
"""

from __future__ import annotations

import json
import os

import duckdb
import pyarrow as pa
import pytest

import meshhouse
from meshhouse.engines.snowflake.database import Database, column_type
from meshhouse.engines.snowflake.session import Session, connect
from meshhouse.lake import Lake
from meshhouse.lake.views import connect_memory, create_views
from meshhouse.repository import Product
from meshhouse.repository.types import parse_type
from tests.conftest import Mesh
from tests.support.kept import Kept
from tests.support.retail import (
    CHANGED_HOUSEHOLDS,
    LATE_LINES,
    copied_repository,
    replay_sample,
    send_late,
)
from tests.support.snowflake_here import Snowflake, needs_snowflake
from tests.support.spark_here import needs_spark

ALL_HOUSEHOLDS = bool(os.environ.get("MESH_TESTS_ALL_HOUSEHOLDS"))


@pytest.fixture(scope="module")
def by_duckdb(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """The demo with a sample of households and with late events, published by DuckDB."""
    mesh = copied_repository(tmp_path_factory.mktemp("sample") / "mesh")
    replay_sample(mesh, tmp_path_factory.mktemp("data"), ALL_HOUSEHOLDS)
    send_late(mesh, {**LATE_LINES, **CHANGED_HOUSEHOLDS})
    done = json.loads(mesh.run("run", "--json").stdout)
    assert len(done["published"]) == 15
    assert all(each["rows"] for each in done["published"])  # equal by more than emptiness
    return Kept(mesh.root)


@pytest.fixture
def sample(by_duckdb: Kept) -> Mesh:
    return Mesh(by_duckdb.restored())


@needs_snowflake
@pytest.mark.timeout(1500)
def test_snowflake_makes_the_same_products_to_the_last_digit(
    sample: Mesh, fakesnow: Snowflake
) -> None:
    """Lands and builds from the same topics; only the times of landing differ."""
    environment = fakesnow.environment("RETAIL")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        session = connect()
        session.execute("create database if not exists RETAIL")
        done = json.loads(sample.run("run", "--json", environment=environment, seconds=1200).stdout)
        assert sum(each["rejected"] for each in done["landed"]) == 0
        with meshhouse.connect(sample.root) as local:
            for product in all_products(sample):
                compare_with_snowflake(product, local, session)


@pytest.mark.live
@pytest.mark.timeout(3600)
@pytest.mark.skipif(
    not os.environ.get("SNOWFLAKE_ACCOUNT"),
    reason="not tried on a real Snowflake: SNOWFLAKE_ACCOUNT is not set",
)
def test_a_real_account_makes_the_same_products(sample: Mesh) -> None:
    """Uses the database of the environment, which should be empty."""
    environment = {"MESH_TARGET": "snowflake"}
    sample.run("run", environment=environment, seconds=3000)
    with pytest.MonkeyPatch.context() as patch, meshhouse.connect(sample.root) as local:
        patch.setenv("MESH_TARGET", "snowflake")
        session = connect()
        for product in all_products(sample):
            compare_with_snowflake(product, local, session)


def compare_with_snowflake(
    product: Product, local: duckdb.DuckDBPyConnection, session: Session
) -> None:
    """Compares columns, types of the contract, and rows."""
    relation = session.relation(product.relation)
    columns = Database(session).columns(product.relation)
    declared = {each.name: parse_type(each.data_type) for each in product.columns}
    assert list(columns) == list(declared)
    for name, (kind, precision, scale) in columns.items():
        words = {"TEXT": "varchar", "FLOAT": "float"}
        found = f"number({precision}, {scale})" if kind == "NUMBER" else words.get(kind, kind)
        wanted = column_type(declared[name]).partition("(6)")[0]
        assert found.lower() == wanted, (product.relation, name)
    kept = [name for name in declared if name != "landed_at"]
    types = {
        name: kind for name, kind, *_ in local.execute(f"describe {product.relation}").fetchall()
    }
    # fakesnow returns a null timestamp as 1970-01-01.
    times = {name for name in kept if declared[name].kind == "timestamptz"}
    sent = {
        name: f"""nullif("{name.upper()}", timestamptz '1970-01-01 00:00:00+00')"""
        if name in times
        else f'"{name.upper()}"'
        for name in kept
    }
    casts = ", ".join(f'cast({sent[name]} as {types[name]}) as "{name}"' for name in kept)
    listing = ", ".join(f'"{name.upper()}"' for name in kept)
    remote = pa.concat_tables(session.arrow(f"select {listing} from {relation}"))
    local.register("remote", remote)
    names = ", ".join(f'"{name}"' for name in kept)
    for left, right in (
        (f"select {names} from {product.relation}", f"select {casts} from remote"),
        (f"select {casts} from remote", f"select {names} from {product.relation}"),
    ):
        different = local.execute(f"{left} except all {right} limit 3").fetchall()
        assert different == [], product.relation
    local.unregister("remote")


@needs_spark
@pytest.mark.server
@pytest.mark.timeout(1500)
def test_spark_makes_the_same_products_to_the_last_digit(sample: Mesh) -> None:
    relations = [each.relation for each in all_products(sample)]
    before = states(sample, relations)
    sample.run(
        "run",
        "--force",
        environment={"MESH_TARGET": "spark", "MESH_SPARK_MASTER": "local[2]"},
        seconds=1200,
    )
    after = states(sample, relations)
    with connect_memory() as connection:
        create_views(connection, {f"duckdb_{each}": path for each, path in before.items()})
        create_views(connection, {f"spark_{each}": path for each, path in after.items()})
        for relation in relations:
            assert before[relation] != after[relation]
            one, other = f"duckdb_{relation}", f"spark_{relation}"
            columns, as_well = (
                [
                    (name, kind)
                    for name, kind, *_ in connection.execute(f"describe {each}").fetchall()
                ]
                for each in (one, other)
            )
            assert columns == as_well
            for left, right in ((one, other), (other, one)):
                different = connection.execute(
                    f"select * from {left} except all select * from {right} limit 3"
                ).fetchall()
                assert different == [], relation


def all_products(mesh: Mesh) -> list[Product]:
    return [product for domain in mesh.repository.domains for product in domain.products]


def states(mesh: Mesh, relations: list[str]) -> dict[str, str]:
    shown = Lake(mesh.home).states()
    return {relation: shown[relation] for relation in relations}
