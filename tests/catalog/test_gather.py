"""What the catalog knows equals what the commands say, and protected values are nowhere in it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import pytest

from meshhouse.catalog.documents import Mesh as Documents
from meshhouse.catalog.documents import ProductFacts
from meshhouse.catalog.gather import gather
from meshhouse.engines import engine
from meshhouse.errors import UsageError
from tests.catalog.conftest import CUSTOMER
from tests.conftest import Mesh


def documents(mesh: Mesh, consumer: str = "", now: datetime | None = None) -> Documents:
    repository = mesh.repository
    return gather(repository, engine(repository), consumer, now)


def product(found: Documents, relation: str) -> ProductFacts:
    [only] = [each for each in found.products if each.relation == relation]
    return only


def column(facts: ProductFacts, name: str):
    [only] = [each for each in facts.columns if each.name == name]
    return only


def test_a_product_is_what_show_and_status_say(published):
    found = product(documents(published), "shop.orders")
    shown = json.loads(published.run("show", "shop.orders", "--json").stdout)
    listed = json.loads(published.run("status", "--json").stdout)
    [status] = [each for each in listed if each["product"] == "shop.orders"]
    assert found.description == shown["description"]
    assert (found.owner.name, found.owner.email) == (shown["owner"], shown["owner_email"])
    assert list(found.grain) == shown["grain"]
    assert found.version == shown["version"] == status["version"]
    assert found.rows == shown["rows"] == status["rows"] == 3
    assert found.score == shown["score"] == status["score"]
    assert found.published_at.isoformat() == shown["published_at"] == status["published_at"]
    assert found.refreshed_at.isoformat() == shown["refreshed_at"]
    assert found.state == shown["freshness"] == status["freshness"] == "fresh"
    assert [each.domain for each in found.readers] == shown["readers"]
    assert [
        {"name": each.name, "type": each.type, "description": each.description}
        for each in found.columns
    ] == [{name: each[name] for name in ("name", "type", "description")}
          for each in shown["columns"]]  # fmt: skip
    assert [
        (each.objective, each.target, each.measured, each.met, each.budget_left_percent)
        for each in found.promises
    ] == [
        tuple(each[name] for name in ("objective", "target", "measured", "met",
                                      "budget_left_percent"))
        for each in shown["objectives"]
    ]  # fmt: skip


def test_its_history_is_what_history_says(published):
    found = product(documents(published), "shop.orders")
    listed = published.history("shop.orders")
    assert [each.at.isoformat() for each in found.publications] == [
        each["finished_at"] for each in listed
    ]
    assert found.publications[0].rows == 3
    assert found.publications[0].bytes > 0


def test_meaning_checks_lineage_and_readers(published):
    found = product(documents(published), "shop.orders")
    assert found.sentence == "What was bought."
    assert found.grain_text == "One row per order."
    assert found.classification == "personal"
    assert column(found, "amount").roots == ("shop_raw.sales.amount",)
    assert found.topics == ("shop_raw.sales",)
    checks = {each.id: each for each in found.checks}
    assert checks["order_id__duplicate"].result == "passed"
    assert checks["order_id__duplicate"].found == "found 0, must be 0"
    assert checks["unit__an_order_is_a_sale"].result == "passed"
    assert found.checks_passed == found.checks_run > 0
    models = {each.domain: each.models for each in found.readers}
    assert models["crm"] == ("customers", "stg_shop__orders")  # the first in a check
    uses = {each.reader: each for each in column(found, "customer_id").readers}
    assert uses["crm.stg_shop__orders"].into == ("customer_id",)
    crm = product(documents(published), "crm.customers")
    assert crm.reads == ("shop.orders",)
    assert crm.inputs == ("shop.orders",)


def test_domains_and_topics(published):
    found = documents(published)
    domains = {each.name: each for each in found.domains}
    assert domains["shop"].products == ("shop.orders", "shop.totals")
    assert domains["shop"].topics == ("sales",)
    assert (domains["crm"].reads_from, domains["shop"].read_by) == (("shop",), ("crm",))
    assert domains["shop"].owner.email == "shop@tiny.example"
    assert domains["shop"].promises_kept_percent == 100.0
    [topic] = found.topics
    assert (topic.topic, topic.rows, topic.rejected) == ("shop.sales", 3, ())
    assert topic.landed_at is not None
    assert topic.products == ("shop.orders", "shop.totals")
    reading = {use.reader: use.into for each in topic.columns if each.name == "amount"
               for use in each.readers}  # fmt: skip
    assert reading == {"shop.orders": ("amount",), "shop.totals": ("amount",)}


def test_rejected_events_are_counted_by_reason_without_their_values(published):
    published.send("shop.sales", [(b"1", b'{"sale_id": "private-text-1", "customer_id": 2}')])
    published.run("land", code=None)
    [topic] = documents(published).topics
    [(reason, count)] = topic.rejected
    assert count == 1
    assert "sale_id" in reason
    assert "private-text" not in json.dumps(asdict(topic), default=str)


def test_protected_values_are_nowhere_and_others_are_for_whom_they_may_be(published):
    everyone = documents(published)
    orders = product(everyone, "shop.orders")
    assert ("1.50", 2) in column(orders, "amount").top
    assert column(orders, "customer_id").top == ()
    assert column(orders, "customer_id").distinct == 1
    assert column(orders, "sold_at").top == ()  # restricted
    for consumer in ("", "shop", "crm", "mesh"):
        text = json.dumps(asdict(documents(published, consumer)), default=str)
        assert str(CUSTOMER) not in text
    owned = product(documents(published, "shop"), "shop.orders")
    assert [value for value, _ in column(owned, "sold_at").top] == ["2017-01-01 12:00:00+00"]
    assert column(product(documents(published, "crm"), "shop.orders"), "sold_at").top == ()


def test_sample_rows_have_columns_that_everyone_may_see(published):
    found = documents(published)
    sample = product(found, "shop.orders").sample
    assert sample.columns == ("order_id", "amount")
    assert sample.rows[2] == ("3", "99.75")
    assert product(found, "crm.customers").sample is None  # a row about each person
    assert product(documents(published, "shop"), "shop.orders").sample == sample


def test_a_class_that_is_declared_after_the_publication_protects_at_once(published):
    published.edit(
        "domains/shop/models/products/orders.yml",
        "{name: amount, data_type: \"decimal(12,2)\", description: What was paid.}",
        "{name: amount, data_type: \"decimal(12,2)\", description: What was paid.,"
        " config: {meta: {classification: personal}}}",
    )  # fmt: skip
    found = product(documents(published), "shop.orders")
    assert column(found, "amount").top == ()
    assert found.sample.columns == ("order_id",)


def test_the_view_of_a_consumer_marks_what_it_owns_and_reads(published):
    found = documents(published, "crm")
    assert found.consumer == "crm"
    yours = {each.relation: each.yours for each in found.products}
    assert (yours["crm.customers"], yours["shop.orders"]) == ("owned", "read")
    assert yours["shop.totals"] == ""
    assert {each.relation for each in found.products} == {
        each.relation for each in documents(published).products
    }


def test_a_consumer_that_is_not_a_domain_is_refused(published):
    with pytest.raises(UsageError, match="There is no domain `nobody`"):
        documents(published, "nobody")


def test_a_product_turns_late_and_a_failed_run_is_worse(published):
    later = datetime.now(UTC) + timedelta(hours=30)
    found = product(documents(published, now=later), "shop.orders")
    assert (found.state, found.why) == ("late", "Its owner promises a refresh within 24 hours.")
    published.sell(4, amount=-1)
    published.run("run", "shop", code=1)
    found = documents(published, now=later)
    orders, totals = product(found, "shop.orders"), product(found, "shop.totals")
    assert orders.state == totals.state == "failed"
    assert "No negative amounts" in orders.why
    assert "found 1, must be 0" in orders.why
    assert "rejected another product" in totals.why
    assert orders.rows == 3  # consumers keep what they had
    domains = {each.name: each for each in found.domains}
    assert domains["shop"].state == "failed"


def test_what_was_never_published_is_shown_as_declared(mesh):
    found = product(documents(mesh), "shop.orders")
    assert (found.state, found.published_at, found.rows) == ("never published", None, None)
    assert [each.name for each in found.columns][:2] == ["order_id", "customer_id"]
    assert not column(found, "amount").lineage_known
    assert [each.domain for each in found.readers] == ["crm"]


def test_products_of_a_broken_domain_are_shown(published):
    before = product(documents(published), "shop.orders")
    published.write("domains/shop/models/products/orders.yml", "models: [\n")
    found = documents(published)
    after = product(found, "shop.orders")
    assert (after.rows, after.columns, after.state) == (3, before.columns, "fresh")
    domains = {each.name: each for each in found.domains}
    assert "orders.yml" in domains["shop"].problem
    assert str(published.root) not in json.dumps(asdict(found), default=str)


def test_what_consumers_still_see_although_nobody_declares_it_is_shown(published):
    for suffix in ("yml", "sql", "checks.yml"):
        (published.root / f"domains/shop/models/products/totals.{suffix}").unlink()
    found = product(documents(published), "shop.totals")
    assert (found.state, found.rows) == ("not declared", 1)


def test_an_environment_shows_production_behind_it(published, monkeypatch):
    monkeypatch.setenv("MESH_ENV", "trial")
    found = product(documents(published), "shop.orders")
    assert (found.state, found.rows, found.publications[0].rows) == ("fresh", 3, 3)
    assert found.checks_passed == found.checks_run > 0


def test_a_product_that_was_retired_is_shown_for_the_time_of_notice(published):
    path = "domains/shop/models/products/totals"
    for suffix in ("yml", "sql", "checks.yml"):
        (published.root / f"{path}.{suffix}").unlink()
    published.run("retire", "shop.totals")
    found = product(documents(published), "shop.totals")
    assert found.state == "retired"
    assert re.fullmatch(r"It was retired on \d{4}-\d\d-\d\d by .+\.", found.why)
    # Readers who look for it find what it was.
    assert [each.name for each in found.columns] == ["orders", "amount"]
    assert found.description.startswith("All orders")
    assert found.checks == ()
    assert found.back_until > datetime.now(UTC).date()
    later = documents(published, now=datetime.now(UTC) + timedelta(days=400))
    assert "shop.totals" not in {each.relation for each in later.products}


def test_a_rollback_names_the_publication_that_readers_see_again(published):
    before = product(documents(published), "shop.orders").publications[0]
    published.sell(4)
    published.run("run", "shop")
    published.run("rollback", "shop.orders")
    newest = product(documents(published), "shop.orders").publications[0]
    assert (newest.kind, newest.shows) == ("rollback", before.number)


def test_a_disabled_product_that_was_never_published_is_left_out(mesh):
    mesh.edit(
        "domains/shop/models/products/totals.sql", "select", "{{ config(enabled=false) }}\nselect"
    )
    mesh.sell(1)
    mesh.run("run", "shop")
    relations = [each.relation for each in documents(mesh).products]
    assert "shop.totals" not in relations
    assert "shop.orders" in relations


def test_policies_are_those_of_the_repository(published):
    published.write("policies.yml", "rules:\n  domain_readme: warn\n")
    found = documents(published).policies
    assert ("domain_readme", "warn") in [(each.name, each.severity) for each in found.rules]
    assert "domain_readme" in {each.rule for each in found.findings}
    assert all(not each.file.startswith("/") for each in found.findings)
