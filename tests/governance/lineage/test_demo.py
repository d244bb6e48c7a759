"""Lineage of the demo's own products, through its compiled SQL down to the fields of its topics."""

from pathlib import Path
from time import process_time

import pytest

from meshhouse.catalog.traces import Traces
from meshhouse.governance.lineage import reads_of, roots_of
from meshhouse.landing.decode import METADATA_COLUMNS
from tests.support.lineage_mesh import contract

ROOT = Path(__file__).parents[3]
_LANDED = [name for name, _ in METADATA_COLUMNS]


@pytest.fixture(scope="module")
def schemas(demo):
    found = {}
    for domain in demo.domains:
        for table in domain.raw_tables:
            found[table.relation] = [each.name for each in table.columns] + _LANDED
        for product in domain.products:
            found[product.relation] = [each.name for each in product.columns]
    return found


def test_roots_are_known_for_99_percent_of_the_product_columns(demo, schemas, demo_models):
    lost, known = [], 0
    fields = {f"{relation}.{column}" for relation in schemas for column in schemas[relation]}
    for domain in demo.domains:
        for product in domain.products:
            model = f"{demo.build_schema(domain.name)}.{product.build_name}"
            roots = roots_of(demo_models[domain.name], model, schemas)
            for column in product.columns:
                found = roots.get(column.name.lower())
                if found is None:
                    lost.append(f"{product.relation}.{column.name}")
                else:
                    known += 1
                    assert found <= fields | set(schemas), (product.relation, column.name)
    assert known / (known + len(lost)) >= 0.99, lost


def test_roots_of_columns_that_are_computed_in_several_models(demo_models, schemas):
    sales = roots_of(demo_models["sales"], "sales_build.daily_store_sales", schemas)
    raw = "sales_raw.transactions"
    assert sales["order_date"] == {f"{raw}.transaction_timestamp"}
    assert sales["sales_value"] == {f"{raw}.sales_value"}
    customers = roots_of(demo_models["mesh"], "mesh_build.customer_360", schemas)
    assert customers["household_id"] == {
        "customers.households.household_id",
        "sales.orders.household_id",
    }
    assert customers["age"] == {"customers.households.age"}


def test_every_read_of_another_domain_is_known(demo_models, schemas):
    reads = [
        read
        for relation, renderings in demo_models["mesh"].items()
        for sql in renderings
        for read in reads_of(relation, sql, schemas)
    ]
    assert reads
    assert [each for each in reads if not each.is_known] == []
    assert {each.reader.partition(".")[2].partition("_")[0] for each in reads} == {"stg"}
    read = {(each.relation, each.column) for each in reads}
    assert ("sales.orders", "household_id") in read
    assert ("sales.orders", "retail_discount") not in read


def test_a_domain_takes_well_under_a_second(demo_models, schemas):
    """16 models with 66 columns of products took 45 ms."""
    began = process_time()
    # Another key of the caches, so that nothing is remembered.
    cold = {**schemas, "no.such_relation": ["a"]}
    for relation, renderings in demo_models["mesh"].items():
        roots_of(demo_models["mesh"], relation, cold)
        for sql in renderings:
            reads_of(relation, sql, cold)
    assert process_time() - began < 0.5


def test_the_way_of_every_product_column_leads_to_topic_fields(demo, demo_models):
    """Across domains: 154 of 154 columns of the demo."""
    products = [each for domain in demo.domains for each in domain.products]
    contracts = []
    for product in products:
        domain = demo.domain(product.domain)
        models = {
            relation.partition(".")[2]: renderings[-1]
            for relation, renderings in demo_models[product.domain].items()
        }
        reads = [each.relation for each in products if each.domain != product.domain]
        topics = {
            table.relation: [each.name for each in table.columns] for table in domain.raw_tables
        }
        columns = [each.name for each in product.columns]
        contracts.append(contract(product.relation, models, columns, reads, topics))
    traces = Traces(contracts)
    known = [key for key in traces if all(each.how != "unknown" for each in traces[key])]
    assert len(known) >= 0.99 * len(traces), {*traces} - {*known}
    for key in known:
        ends = [each for each in traces[key] if not each.inputs and not each.filters]
        assert {each.kind for each in ends if each.how != "constant"} <= {"topic"}, key
    steps = traces["mesh.customer_360.average_basket_value"]
    assert {each.at for each in steps if each.kind == "topic"} == {
        "sales_raw.transactions",
        "sales_raw.transactions.sales_value",
    }
    assert [each.at for each in steps if each.kind == "product"][-3:] == [
        "sales.order_lines.sales_value",
        "sales.orders.sales_value",
        "mesh.customer_360.average_basket_value",
    ]
