"""The catalog in a real browser, opened as files: search, keyboard, copying, no barriers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from meshhouse.catalog import paths, site
from meshhouse.catalog.documents import OperationsFacts
from tests.support.browser import TIMES_OF_KEYS, picture, running_browser
from tests.support.catalog_mesh import full_mesh, many_products

WIDTHS = {"phone": 360, "wide": 1360}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with running_browser() as running:
        yield running


@pytest.fixture
def page(browser) -> Iterator[Any]:
    """A tab that fails its test if a page reports an error or asks for anything foreign."""
    context = browser.new_context(viewport={"width": 1360, "height": 900})
    tab = context.new_page()
    wrong: list[str] = []
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    tab.on("dialog", lambda dialog: wrong.append(dialog.message))
    tab.on(
        "request",
        lambda request: None if request.url.startswith("file://") else wrong.append(request.url),
    )
    yield tab
    context.close()
    assert wrong == []


@pytest.fixture(scope="module")
def full_site(tmp_path_factory) -> Path:
    """Every kind of page, with every part."""
    folder = tmp_path_factory.mktemp("full") / "site"
    site.build(full_mesh(now=datetime.now(UTC)), folder, jobs=1)
    return folder


@pytest.fixture(scope="module")
def large_site(tmp_path_factory) -> Path:
    """A site of 5,000 products with 20 columns each: its home page and its search index."""
    from meshhouse.catalog import search
    from meshhouse.catalog.pages import assets, home

    folder = tmp_path_factory.mktemp("large") / "site"
    made = many_products(5000, 20, datetime.now(UTC))
    site.build(made, folder, [assets.pages, home.pages, search.pages], jobs=1)
    return folder


def address(folder: Path, target: str = paths.INDEX) -> str:
    return (folder / target).as_uri()


def found(page: Any) -> list[str]:
    """Names of the results."""
    return page.locator("#results a b").all_inner_texts()


def type_in_search(page: Any, text: str) -> None:
    page.locator("[data-search] input").fill("")
    page.keyboard.type(text)


def test_a_stranger_finds_a_product_copies_its_sql_and_runs_it(real_site, page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(address(real_site.folder))
    page.keyboard.type("basket")  # the search box has the focus
    page.locator("#results a").first.wait_for()
    assert found(page)[0] == "shop.orders"
    picture(page, "catalog_search")
    page.keyboard.press("Enter")
    page.wait_for_url("**/products/shop/orders.html")
    assert "Baskets that were bought." in page.locator(".lead").inner_text()
    picture(page, "catalog_product")
    page.get_by_role("button", name="Copy SQL").click()
    page.get_by_role("button", name="Copied SQL").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    rows = real_site.mesh.rows(copied)
    assert sorted(row[0] for row in rows) == [1, 2, 3]


def test_the_keyboard_is_enough(full_site, page):
    page.goto(address(full_site, paths.product("shop.orders")))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.keyboard.press("/")
    box = page.locator("[data-search] input")
    assert box.evaluate("each => each === document.activeElement")
    assert box.input_value() == ""
    page.keyboard.type("bought")
    page.locator("#results a").first.wait_for()
    chosen = page.locator("#results [aria-selected=true] b")
    first = chosen.inner_text()
    page.keyboard.press("ArrowDown")
    assert chosen.inner_text() != first
    page.keyboard.press("ArrowUp")
    assert chosen.inner_text() == first
    page.keyboard.press("Escape")
    assert page.locator("#results").is_hidden()
    page.keyboard.type("customers")
    page.locator("#results a").first.wait_for()
    page.keyboard.press("Enter")
    page.wait_for_url("**/products/crm/customers.html")


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("orders", "shop.orders"),  # a name
        ("custmers", "crm.customers"),  # a letter is missing
        ("csutomers", "crm.customers"),  # two letters are swapped
        ("ustom", "crm.customers"),  # part of a name
        ("crm", "crm"),  # a domain
        ("shop bask", "shop.orders"),  # a domain and a column
    ],
)
def test_search_finds(full_site, page, typed, first):
    page.goto(address(full_site))
    type_in_search(page, typed)
    page.locator("#results a").first.wait_for()
    page.wait_for_function("name => document.querySelector('#results a b').textContent === name",
                           arg=first, timeout=5000)  # fmt: skip


def test_search_says_when_it_finds_nothing(full_site, page):
    page.goto(address(full_site))
    type_in_search(page, "zzzzzz")
    page.get_by_text("Nothing found.").wait_for()


def test_a_column_leads_to_its_row(full_site, page):
    page.goto(address(full_site))
    type_in_search(page, "basket_id")
    page.locator("#results a small mark").first.wait_for()
    page.keyboard.press("Enter")
    page.wait_for_url("**#c-basket_id")
    assert page.locator("tr:target").inner_text().startswith("basket_id")


def test_a_fresh_product_turns_late_by_the_clock_of_its_reader(tmp_path, page):
    mesh = full_mesh(now=datetime.now(UTC) - timedelta(days=3))
    site.build(mesh, tmp_path / "site", jobs=1)
    page.goto(address(tmp_path / "site", paths.product("shop.orders")))
    assert page.locator(".stateline .badge").inner_text() == "late"
    assert "3 days ago" in page.locator(".stateline").inner_text()
    page.goto(address(tmp_path / "site", paths.domain("shop")))
    assert page.locator(".stateline .badge").all_inner_texts() == ["broken", "late"]
    page.goto(address(tmp_path / "site"))
    page.locator("[data-states-of=shop]", has_text="late").wait_for()
    assert page.locator("[data-states-of=shop]").inner_text().split() == ["broken", "1", "late"]
    type_in_search(page, "shop.orders")
    page.locator("#results .badge", has_text="late").first.wait_for()


def test_operations_and_lineage_follow_the_clock_of_their_reader(tmp_path, page):
    now = datetime.now(UTC) - timedelta(days=3)
    mesh = replace(full_mesh(now=now), operations=OperationsFacts(now.date()))
    site.build(mesh, tmp_path / "site", jobs=1)
    page.goto(address(tmp_path / "site", paths.OPERATIONS))
    listed = page.locator("[data-attention] tbody tr:visible th")
    listed.filter(has_text="shop.orders").wait_for()
    assert f"{listed.count()}" == page.locator("[data-attention-count]").inner_text()
    page.goto(address(tmp_path / "site", paths.LINEAGE))
    assert page.locator("tr[data-state=late]").count() == 2
    node = page.locator('.node.late[data-key="shop.orders"]')
    assert node.locator(".stripe").count() == 1
    assert "late" in node.locator("title").text_content()
    page.locator('select[name="state"]').select_option("fresh")
    page.get_by_text("No product is of this choice.").wait_for()
    page.locator('select[name="state"]').select_option("late")
    assert page.locator("tr[data-key]:visible").count() == 2


def test_a_fresh_mesh_needs_no_attention_until_a_promise_ends(tmp_path, page):
    mesh = full_mesh(now=datetime.now(UTC))
    orders = replace(mesh.products[0], reads=(), inputs=())
    shop = replace(mesh.domains[0], problem="")
    mesh = replace(mesh, products=(orders,), domains=(shop,))
    site.build(mesh, tmp_path / "site", jobs=1)
    at = address(tmp_path / "site", paths.OPERATIONS)
    page.goto(at)
    page.get_by_text("no promise of freshness is broken").wait_for()
    assert page.locator("[data-attention]").is_hidden()
    page.clock.set_fixed_time(datetime.now(UTC) + timedelta(days=4))
    page.goto(at)
    page.locator("[data-attention] tr:visible th", has_text="shop.orders").wait_for()
    assert page.get_by_text("no promise of freshness is broken").is_hidden()
    assert page.locator("[data-attention-count]").count() == 0  # nobody gathered the figures
    page.locator(".foot .old", has_text="older than a day").wait_for()


def test_the_footer_says_as_of_when(full_site, page):
    page.goto(address(full_site, paths.product("shop.orders")))
    page.locator(".foot", has_text=re.compile(r"As of 20\d\d-\d\d-\d\d \d\d:\d\d UTC")).wait_for()
    assert page.locator(".foot .old").count() == 0


def test_the_button_covers_no_text_on_a_phone(full_site, page):
    page.set_viewport_size({"width": 360, "height": 800})
    page.goto(address(full_site, paths.product("shop.orders")))
    for block in page.locator(".copy").all():
        text, button = block.locator("pre").bounding_box(), block.locator("button").bounding_box()
        assert button["y"] >= text["y"] + text["height"]


def test_every_page_is_complete_without_scripts(full_site, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address(full_site, paths.product("shop.orders")))
    shown = page.locator("main").inner_text()
    assert "select *\nfrom shop.orders\nlimit 10" in shown
    assert re.search(r"refreshed 20\d\d-\d\d-\d\d \d\d:\d\d UTC", shown)
    assert page.locator("[data-copy]").first.is_hidden()
    assert re.search(r"fresh until 20\d\d-\d\d-\d\d \d\d:\d\d UTC", shown)
    page.goto(address(full_site))
    assert "As of 20" in page.locator(".foot").inner_text()
    assert page.locator("[data-search]").is_hidden()
    page.get_by_role("link", name="shop", exact=True).click()
    page.get_by_role("link", name="shop.orders", exact=True).click()
    page.wait_for_url("**/products/shop/orders.html")
    context.close()


@cache
def axe() -> str:
    return files("axe_playwright_python").joinpath("axe.min.js").read_text()


def barriers(page: Any) -> list[str]:
    """What axe-core finds, best practices included."""
    page.evaluate(axe())
    report = page.evaluate("axe.run()")
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in report["violations"]
        for node in each["nodes"]
    ]


def kinds(folder: Path) -> list[str]:
    """One page of each kind."""
    pages = sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*.html"))
    return [each for each in pages if "crm" not in each]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_axe_finds_no_barrier_and_nothing_leaves_the_screen(full_site, browser, width, scheme):
    context = browser.new_context(
        viewport={"width": WIDTHS[width], "height": 900}, color_scheme=scheme
    )
    page = context.new_page()
    for name in kinds(full_site):
        page.goto(address(full_site, name))
        assert barriers(page) == [], name
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        picture(page, f"catalog_{name.replace('/', '_')}_{width}_{scheme}")
    page.goto(address(full_site))
    page.keyboard.type("orders")
    page.locator("#results a").first.wait_for()
    assert barriers(page) == []
    context.close()


def test_hostile_text_runs_nothing(tmp_path, page):
    text = "\"><img src=x onerror=alert(1)><script>alert(2)</script>' onfocus=alert(3) autofocus `"
    mesh = full_mesh(text, "<svg onload=alert(4)>", datetime.now(UTC))
    site.build(mesh, tmp_path / "site", jobs=1)
    for name in kinds(tmp_path / "site"):
        page.goto(address(tmp_path / "site", name))
    page.goto(address(tmp_path / "site"))
    for typed in ("img", "alert", "onload", "<script>"):
        type_in_search(page, typed)
        page.locator("#results a").first.wait_for()
    assert page.locator("#results img, #results script, #results svg").count() == 0


def test_pages_work_under_a_path_with_spaces_and_signs(tmp_path, page):
    folder = tmp_path / "a b#c?d%20é"
    site.build(full_mesh(), folder, jobs=1)
    page.goto(address(folder))
    page.keyboard.type("orders")
    page.locator("#results a").first.wait_for()
    page.keyboard.press("Enter")
    page.locator("h1", has_text="shop.orders").wait_for()


TYPED = ("basket", "custoner", "order", "zone year", "invoic", "hausehold", "track", "wareh")


def test_results_appear_at_once_among_5000_products(large_site, page):
    """50 ms is the aim, which benchmarks/ measure; this finds a search that is slow by its kind."""
    page.goto(address(large_site))
    page.evaluate(TIMES_OF_KEYS)
    for text in TYPED:
        type_in_search(page, text)
        page.locator("#results a").first.wait_for()
    times = sorted(page.evaluate("times"))
    assert len(times) > 30
    assert times[len(times) * 95 // 100] < 500, json.dumps(times)
    page.locator("[data-search] input").fill("")
    page.keyboard.type("custoner")
    page.locator("#results a").first.wait_for()
    assert all("customer" in each for each in found(page)[:10])


@pytest.mark.parametrize("typed", ["hcannel", "cannel", "vhannel", "bchannel", "chamnel", "chanel"])
def test_one_typo_anywhere_in_a_word_of_a_column_is_forgiven(full_site, page, typed):
    page.goto(address(full_site))
    page.keyboard.type(typed)
    page.locator("#results a small", has_text="column channel").first.wait_for()


def test_what_the_home_page_loads_is_small(large_site, page):
    import gzip

    loaded: list[str] = []
    page.on("request", lambda request: loaded.append(request.url))
    page.goto(address(large_site))
    page.wait_for_load_state("load")
    sizes = {
        url: len(gzip.compress(Path(url.removeprefix("file://")).read_bytes())) for url in loaded
    }
    assert sum(sizes.values()) <= 160 * 1024, sizes
    assert sizes[address(large_site, "search/list.js")] <= 110 * 1024


def test_a_retired_product_is_marked(tmp_path, page):
    mesh = full_mesh()
    gone = replace(mesh.products[0], state="retired")
    site.build(replace(mesh, products=(gone,)), tmp_path / "site", jobs=1)
    page.goto(address(tmp_path / "site", paths.product("shop.orders")))
    assert page.locator(".stateline .badge").inner_text() == "retired"


def test_tables_fit_a_screen_of_1280(real_site, page):
    page.set_viewport_size({"width": 1280, "height": 900})
    for name in kinds(real_site.folder):
        page.goto(address(real_site.folder, name))
        page.evaluate(
            "document.querySelectorAll('details').forEach((each) => { each.open = true; })"
        )
        wide = page.evaluate(
            "[...document.querySelectorAll('.scroll')]"
            ".filter((each) => each.scrollWidth > each.clientWidth + 1)"
            ".map((each) => each.getAttribute('aria-label'))"
        )
        assert wide == [], name
        assert page.evaluate(
            "[...document.querySelectorAll('.drawing')].every((each) => each.scrollLeft >= 0 && "
            "getComputedStyle(each).direction === 'ltr')"
        ), name
