"""Traces of columns across domains, and what a product reads directly."""

import json
import os
from dataclasses import replace

import pytest

from meshhouse.catalog.inputs import inputs_of
from meshhouse.catalog.traces import Traces
from tests.support.lineage_mesh import LINES_OF_ORDERS, MESH, ORDERS, PEOPLE, SALES, contract


def test_a_column_leads_through_all_domains_to_its_topic_field():
    steps = Traces(MESH)["mesh.people.best"]
    assert [(each.at, each.kind, each.how) for each in steps] == [
        ("sales_raw.sales.amount", "topic", "same value"),
        ("sales.stg.amount", "model", "same value"),
        ("sales.lines.amount", "product", "same value"),
        ("sales.orders.total", "product", "computed"),
        ("mesh.stg.total", "model", "same value"),
        ("mesh.people.best", "product", "computed"),
    ]
    assert [each.sql for each in steps][-3:] == ["SUM(amount)", "total", "MAX(total)"]


def test_a_count_leads_to_the_rows_of_its_topic():
    steps = Traces(MESH)["sales.orders.lines"]
    assert [each.at for each in steps] == [
        "sales_raw.sales", "sales.stg", "sales.lines", "sales.orders.lines",
    ]  # fmt: skip
    assert {each.how for each in steps} == {"counted"}


def test_what_is_not_known_is_unknown():
    traces = Traces(MESH)
    assert "unknown" in {each.how for each in traces["mesh.people.gone"]}
    assert [each.how for each in traces["mesh.people.added"]] == ["unknown"]


def test_names_of_columns_are_found_in_any_letter_case_and_others_are_not():
    traces = Traces(MESH)
    assert traces["sales.orders.BASKET"][-1].at == "sales.orders.basket"
    assert "sales.orders.basket" in traces
    assert len(traces) == len(list(traces)) == 9
    for wrong in ("sales.orders.no", "sales.orders", "no.such.column", ""):
        assert wrong not in traces
        with pytest.raises(KeyError):
            traces[wrong]


def test_a_version_is_found_under_the_name_that_the_sql_uses():
    orders = contract(
        "sales.orders_v2", {"orders": "select basket_id as b from sales_raw.sales"}, ["b"],
        topics=SALES, product="sales.orders", model="orders", version=2, latest_version=2,
    )  # fmt: skip
    reader = contract(
        "crm.r", {"r": "select b as x from sales.orders"}, ["x"], reads=["sales.orders"]
    )
    steps = Traces([orders, reader])["crm.r.x"]
    assert [each.at for each in steps] == [
        "sales_raw.sales.basket_id", "sales.orders_v2.b", "crm.r.x",
    ]  # fmt: skip
    assert steps[-1].inputs == ("sales.orders_v2.b",)


def test_later_builds_of_a_version_read_itself_under_its_own_name():
    orders = contract(
        "sales.orders_v2", {"orders": "select basket_id as b from sales_raw.sales"}, ["b"],
        topics=SALES, product="sales.orders", model="orders", version=2, latest_version=2,
        later_builds={
            "orders": "select basket_id as b from sales_raw.sales"
            " union all select b from sales_build.orders_v2"
        },
    )  # fmt: skip
    steps = Traces([orders])["sales.orders_v2.b"]
    assert [(each.at, each.how) for each in steps] == [
        ("sales_raw.sales.basket_id", "same value"), ("sales.orders_v2.b", "same value"),
    ]  # fmt: skip


def test_a_seed_ends_a_way_and_a_model_without_sql_is_unknown():
    made = contract(
        "d.p", {"p": "select s.x, t.y from d_build.countries as s, d_build.history as t"},
        ["x", "y"], seeds={"countries": "digest"},
    )  # fmt: skip
    traces = Traces([made])
    assert [(each.kind, each.how) for each in traces["d.p.x"]] == [
        ("seed", "same value"), ("product", "same value"),
    ]  # fmt: skip
    assert [(each.kind, each.how) for each in traces["d.p.y"]] == [
        ("model", "unknown"), ("product", "same value"),
    ]  # fmt: skip


def test_what_was_remembered_long_ago_is_removed(tmp_path):
    old = tmp_path / "old.json"
    old.write_text("{}")
    os.utime(old, (0, 0))
    assert Traces(MESH, tmp_path)["mesh.people.best"]
    assert not old.exists()


def test_a_folder_that_cannot_be_written_changes_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    assert Traces(MESH, tmp_path / "file")["mesh.people.best"] == Traces(MESH)["mesh.people.best"]


def test_products_that_read_each_other_do_not_hang():
    one = contract("a.p", {"p": "select x from b.q"}, ["x"], reads=["b.q"])
    other = contract("b.q", {"q": "select x from a.p"}, ["x"], reads=["a.p"])
    traces = Traces([one, other])
    assert [each.at for each in traces["a.p.x"]] == ["b.q.x", "a.p.x"]
    assert set(traces.digests()) == {"a.p", "b.q"}


def test_a_very_large_trace_ends_and_has_the_column_last():
    names = [f"c{n}" for n in range(500)]
    models = {
        "wide": f"select {' + '.join(names)} as x from d_build.stg",
        "stg": f"select {', '.join(names)} from d_raw.t",
    }
    wide = contract("d.wide", models, ["x"], topics={"d_raw.t": names})
    steps = Traces([wide])["d.wide.x"]
    assert 400 < len(steps) < 1000
    assert steps[-1].at == "d.wide.x"


def test_steps_are_remembered_until_a_contract_or_what_it_reads_changes(tmp_path):
    cold = {key: Traces(MESH, tmp_path)[key] for key in Traces(MESH)}
    files = sorted(tmp_path.iterdir())
    assert len(files) == 3
    assert {key: Traces(MESH, tmp_path)[key] for key in cold} == cold
    assert sorted(tmp_path.iterdir()) == files
    files[0].write_text("{half a docu")
    assert {key: Traces(MESH, tmp_path)[key] for key in cold} == cold
    json.loads(files[0].read_text())
    more = replace(ORDERS, document={**ORDERS.document, "columns": [{"name": "basket"}]})
    changed = Traces([more, PEOPLE], tmp_path)
    assert changed["mesh.people.best"]
    assert changed["sales.orders.basket"]
    assert len(list(tmp_path.iterdir())) == 5


def test_a_digest_changes_with_every_contract_on_the_way_and_with_no_other():
    before = Traces(MESH).digests()
    changed = replace(
        ORDERS, document={**ORDERS.document, "models": {"orders": {"sql": "select 1 as total"}}}
    )
    after = Traces([changed, LINES_OF_ORDERS, PEOPLE]).digests()
    assert {each for each in before if before[each] != after[each]} == {
        "sales.orders", "mesh.people",
    }  # fmt: skip


def test_what_a_product_reads_directly():
    products = {each.relation for each in MESH}
    assert inputs_of(ORDERS, products) == ("sales.lines",)
    assert inputs_of(LINES_OF_ORDERS, products) == ("sales_raw.sales",)
    assert inputs_of(PEOPLE, products) == ("sales.orders",)
    assert inputs_of(ORDERS, {"sales.orders"}) == ("sales_raw.sales",)
