"""Target `spark` with its warehouse in an object store: it builds, audits and publishes there."""

from __future__ import annotations

import pytest

from meshhouse.engines import engine
from meshhouse.errors import UsageError
from tests.support.object_store import Store
from tests.support.spark_here import needs_spark

pytestmark = pytest.mark.timeout(900)


def test_with_a_catalog_service_it_wants_a_warehouse_that_all_can_read(mesh, monkeypatch):
    monkeypatch.setenv("MESH_TARGET", "spark")
    monkeypatch.setenv("PYICEBERG_CATALOG__MESH__URI", "http://127.0.0.1:9")
    repository = mesh.repository
    with pytest.raises(UsageError, match="set MESH_WAREHOUSE=s3://bucket/folder"):
        engine(repository).pin(repository.domain("shop"))


@needs_spark
def test_what_spark_builds_and_publishes_is_in_the_bucket(mesh, store: Store):
    bucket = store.bucket()
    # In a new process: Java reads credentials from the environment with which it started.
    here = {
        "MESH_WAREHOUSE": f"s3://{bucket}/tiny",
        "MESH_TARGET": "spark",
        "MESH_SPARK_MASTER": "local[2]",
    }
    mesh.sell(*range(19))
    mesh.run("run", "shop", environment=here, seconds=600)
    assert mesh.row("select * from shop.totals") == (19, pytest.approx(28.5))
    assert any("/spark-builds/shop-" in key for key in store.keys(bucket))
    assert not list(mesh.home.rglob("*.parquet"))
    # The other engine reads it.
    mesh.run("run", "crm", environment={**here, "MESH_TARGET": "local"})
    assert mesh.row("select count(*) from crm.customers") == (1,)
