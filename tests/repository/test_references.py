"""An unresolved reference gives an error with its place, its reason and the remedy."""

from __future__ import annotations

import os

import pytest

from meshhouse.errors import UsageError
from meshhouse.repository.references import resolve
from tests.conftest import Mesh

STAGING = "domains/crm/models/staging/stg_shop__orders.sql"
ORDERS = "{{ ref('shop', 'orders') }}"
PUBLISHED = {"shop.orders", "shop.totals", "crm.customers", "mesh.overview"}


def refusal(mesh: Mesh, domain: str = "crm", published: set[str] | None = PUBLISHED) -> str:
    """The error that the references of a domain give."""
    with pytest.raises(UsageError) as raised:
        resolve(mesh.repository, mesh.repository.domain(domain), published)
    return str(raised.value)


def test_what_is_published_by_a_named_domain_resolves(mesh):
    crm = mesh.repository.domain("crm")
    found = resolve(mesh.repository, crm, {"shop.orders"})
    assert [product.relation for product in found] == ["shop.orders", "shop.totals"]


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (
            "ref('shop', 'order')",
            "shop publishes no product `order`. shop publishes: orders, totals. "
            "Did you mean ref('shop', 'orders')?",
        ),
        (
            "ref('shop', 'employees')",
            "shop publishes no product `employees`. shop publishes: orders, totals.",
        ),
        (
            "ref('shop', 'stg_sales')",
            "`stg_sales` is a private model of shop, not a product; ask its owner "
            "(shop team <shop@tiny.example>) to publish it. shop publishes: orders, totals.",
        ),
        ("ref('shop', 'orders', v=2)", "shop.orders has no version 2. Versions: 1."),
        ("ref('stop', 'orders')", "There is no domain `stop`. Domains: crm, shop, mesh."),
        (
            "ref( \"mesh\" ,'overview' )",
            "crm uses mesh.overview without naming mesh as a dependency; add `- name: mesh` under "
            "`projects:` in {root}/domains/crm/dependencies.yml.",
        ),
    ],
)
@pytest.mark.parametrize("published", [PUBLISHED, None], ids=["building", "parsing"])
def test_a_reference_to_no_usable_product_is_explained_with_its_place(
    mesh, reference, said, published
):
    mesh.edit(STAGING, ORDERS, f"{{{{ {reference} }}}}")
    expected = said.replace("{root}", str(mesh.root))
    assert refusal(mesh, published=published) == f"{expected}   ({mesh.root / STAGING}:5)"


def test_the_error_for_an_unpublished_product_names_the_missing_run(mesh):
    assert refusal(mesh, published={"shop.totals"}) == (
        "shop.orders was never published, so nothing can be read from it yet. "
        f"Run `mesh run shop` first.   ({mesh.root / STAGING}:5)"
    )


def test_parsing_needs_no_data(mesh):
    assert resolve(mesh.repository, mesh.repository.domain("crm"), None)


def test_a_reference_in_a_comment_is_ignored(mesh):
    mesh.edit(STAGING, ORDERS, "{# ref('shop', 'gone') #} " + ORDERS)
    assert resolve(mesh.repository, mesh.repository.domain("crm"), PUBLISHED)


def test_a_domain_that_is_not_a_dependency_cannot_be_read(mesh):
    (mesh.root / "domains/crm/dependencies.yml").unlink()
    assert "add `- name: shop` under `projects:`" in refusal(mesh)


def test_the_line_is_right_below_a_comment_of_several_lines(mesh):
    mesh.edit(STAGING, "select", "{# one\ntwo\nthree #}\nselect")
    mesh.edit(STAGING, ORDERS, "{{ ref('shop', 'order') }}")
    assert refusal(mesh).endswith(f"({mesh.root / STAGING}:8)")


def test_a_domain_that_names_itself_gets_the_advice_to_remove_the_line(mesh):
    mesh.write("domains/crm/dependencies.yml", "projects:\n  - name: shop\n  - name: crm\n")
    done = mesh.run("status")
    assert done.stderr == (
        "mesh: crm is broken: domains/crm/dependencies.yml:3: domain `crm` names itself as a "
        "dependency; remove the line.\n"
    )


def test_a_circle_between_domains_is_shown_as_its_path(mesh):
    mesh.write("domains/shop/dependencies.yml", "projects:\n  - name: mesh\n")
    done = mesh.run("run", code=2)
    assert "in a circle: crm -> shop -> mesh -> crm. Remove one dependency.\n" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_run_explains_the_reference_instead_of_dbt_and_others_still_run(new_mesh):
    mesh = new_mesh()
    mesh.sell(1, 2, 3)
    mesh.edit(STAGING, ORDERS, "{{ ref('shop', 'order') }}")
    done = mesh.run("run", code=1)
    assert (
        "failed    crm: shop publishes no product `order`. shop publishes: orders, totals. "
        f"Did you mean ref('shop', 'orders')?   ({STAGING}:5)"
    ) in done.stderr
    assert "not run   mesh: it uses a domain that failed" in done.stderr
    assert mesh.row("select count(*) from shop.orders") == (3,)


def test_plain_dbt_gives_the_same_explanation(mesh):
    mesh.edit(STAGING, ORDERS, "{{ ref('shop', 'stg_sales') }}")
    done = mesh.dbt("crm", "parse", code=None)
    assert done.returncode != os.EX_OK
    assert "`stg_sales` is a private model of shop, not a product; ask its owner" in done.stdout
