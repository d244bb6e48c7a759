"""Lineage in a real browser: choosing, following a column back, a phone, no script at all."""

import pytest

from meshhouse.catalog import paths, site
from tests.catalog.test_browser import address, barriers, browser, page
from tests.support.browser import picture
from tests.support.lineage_mesh import documents

__all__ = ["browser", "page"]
"""Fixtures that tests of this file use."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("lineage") / "site"
    site.build(documents(), made, jobs=1)
    return made


def rows(tab):
    """Products of the table that can be seen."""
    return tab.locator("tr[data-key]:visible th").all_inner_texts()


def test_a_late_product_marks_who_is_hit_with_names_and_owners(folder, page):
    page.goto(address(folder, paths.LINEAGE))
    assert len(rows(page)) == 3
    page.get_by_label("Who is hit if this is late?").select_option("sales.orders")
    said = page.locator("[data-hits]")
    assert "If sales.orders is late, 1 product of 1 domain gets old data:" in said.inner_text()
    assert "mesh.people · Words." in said.inner_text()
    assert page.locator(".node.hit").get_attribute("data-key") == "mesh.people"
    assert page.locator(".node.cause").get_attribute("data-key") == "sales.orders"
    assert page.locator('.node.faint[data-key="sales.lines"]').count() == 1
    assert len(rows(page)) == 2
    picture(page, "lineage_late")
    page.get_by_role("button", name="Show all").click()
    page.locator("[data-hits]").wait_for(state="hidden")
    assert len(rows(page)) == 3
    assert page.locator(".node.faint, .node.hit").count() == 0


def test_products_are_chosen_by_domain(folder, page):
    page.goto(address(folder, paths.LINEAGE))
    page.locator('select[name="domain"]').select_option("sales")
    assert len(rows(page)) == 2
    assert page.locator('.node.faint[data-key="mesh.people"]').count() == 1
    assert page.locator('.node.faint[data-key="sales_raw.sales"]').count() == 0


def test_a_link_chooses_the_late_product(folder, page):
    page.goto(address(folder, paths.product("sales.orders")))
    page.get_by_role("link", name="who is hit").click()
    page.locator("[data-hits]", has_text="mesh.people").wait_for()


def test_a_column_leads_back_to_its_topic_field(folder, page):
    page.goto(address(folder, paths.product("mesh.people")))
    page.get_by_role("link", name="trace best").click()
    page.wait_for_url("**/people.columns.html#best")
    section = page.locator("section#best")
    section.locator("summary").click()
    assert section.locator("pre, li code").all_inner_texts()[-1] == "MAX(total)"
    picture(page, "lineage_column")
    section.locator("ol").get_by_role("link", name="sales_raw.sales.amount").click()
    page.wait_for_url("**/topics/sales/sales.html")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_barrier_on_a_phone_with_all_steps_open(folder, browser, scheme):
    context = browser.new_context(viewport={"width": 360, "height": 800}, color_scheme=scheme)
    tab = context.new_page()
    tab.goto(address(folder, paths.columns("mesh.people")))
    tab.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert barriers(tab) == []
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tab.goto(f"{address(folder, paths.LINEAGE)}#late=sales.lines")
    tab.locator(".node.hit").first.wait_for()
    assert barriers(tab) == []
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()


def test_without_scripts_the_table_says_who_is_hit(folder, browser):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(address(folder, paths.LINEAGE))
    assert tab.locator("[data-choices]").is_hidden()
    tab.locator('tr[data-key="sales.lines"] summary').click()
    tab.locator('tr[data-key="sales.lines"] li', has_text="mesh.people").wait_for()
    tab.locator('svg a[data-key="sales.orders"]').click()
    tab.wait_for_url("**/products/sales/orders.html")
    context.close()
