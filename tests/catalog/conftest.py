"""A small mesh with published products, protected columns and hostile text, made once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from meshhouse.engines import engine
from tests.conftest import Mesh
from tests.support.catalog_site import Site
from tests.support.kept import Kept

CUSTOMER = 700_700_701
"""A value of a personal column; it occurs nowhere else."""
SECRET_DAY = "2011-03-07"
"""A value of a restricted column."""
HOSTILE = "<script>alert(1)</script> [x](javascript:y) \u202e & ' \" end."


@pytest.fixture(scope="session")
def published_once(new_mesh: Callable[[], Mesh]) -> Kept:
    """See `published`."""
    from meshhouse.landing import land_table
    from meshhouse.runs.run import run_domain

    mesh = new_mesh()
    orders = "domains/shop/models/products/orders.yml"
    mesh.edit(
        orders,
        "{name: customer_id, data_type: bigint, description: Who bought.}",
        "{name: customer_id, data_type: bigint, description: Who bought.,"
        " config: {meta: {classification: personal}}}",
    )
    mesh.edit(
        orders,
        "{name: sold_at, data_type: timestamptz, description: When.}",
        "{name: sold_at, data_type: timestamptz, description: When.,"
        " config: {meta: {classification: restricted}}}",
    )
    hostile = HOSTILE.replace("'", "''")
    mesh.edit(
        "domains/shop/models/products/totals.yml",
        "All orders together. One row.",
        f"'All orders: {hostile} One row.'",
    )
    mesh.edit(
        "domains/crm/models/products/customers.yml",
        "{name: customer_id, data_type: bigint, description: The customer.}",
        "{name: customer_id, data_type: bigint, description: The customer.,"
        " config: {meta: {classification: personal}}}",
    )
    for number, amount in ((1, 1.5), (2, 1.5), (3, 99.75)):
        mesh.sell(number, customer=CUSTOMER, amount=amount)
    repository = mesh.repository
    chosen = engine(repository)
    for domain in repository.domains:
        for raw in domain.raw_tables:
            land_table(repository, chosen.store, raw)
        done = run_domain(repository, chosen, domain)
        assert done.outcome == "published", done.message
    return Kept(mesh.root)


@pytest.fixture
def published(published_once: Kept) -> Mesh:
    """A mesh whose domains are all published; tests may change it."""
    return Mesh(published_once.restored())


@pytest.fixture(scope="session")
def real_site(new_mesh: Callable[[], Mesh]) -> Site:
    """Three sales, published as baskets in all domains, and the catalog of them."""
    mesh = new_mesh()
    mesh.edit(
        "domains/shop/models/products/orders.yml", "What was bought.", "Baskets that were bought."
    )
    mesh.sell(1, 2, 3)
    mesh.run("run")
    folder = mesh.root / "site"
    mesh.run("catalog", "build", "-o", str(folder))
    return Site(mesh, folder)
