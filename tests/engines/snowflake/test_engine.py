"""Target `snowflake`: the same domains are landed, built, audited and published in Snowflake."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from sqlglot import ErrorLevel, parse_one

from meshhouse.catalog.gather import gather
from meshhouse.engines import Engine, dbt_variables, engine
from meshhouse.engines.snowflake.session import connect
from meshhouse.engines.snowflake.shown import Shown
from meshhouse.errors import MeshError, UsageError
from meshhouse.events import open_source
from meshhouse.heads import publications_of
from meshhouse.landing import Landing, land_table
from meshhouse.landing.decode import Decoder
from meshhouse.landing.pending import Pending
from meshhouse.landing.target import Fenced, open_target
from meshhouse.runs.outcome import DomainRun
from meshhouse.runs.publication import product_history, rollback
from meshhouse.runs.retirement import retire, unretire
from meshhouse.runs.run import run_domain
from tests.conftest import Mesh
from tests.support.snowflake_here import needs_snowflake
from tests.support.versioned import two_versions

pytestmark = needs_snowflake


def land(mesh: Mesh, chosen: Engine) -> list[Landing]:
    repository = mesh.repository
    tables = repository.domain("shop").raw_tables
    return [land_table(repository, chosen.store, raw) for raw in tables]


def run(mesh: Mesh, chosen: Engine, domain: str, **options) -> DomainRun:
    repository = mesh.repository
    # Tests edit models as they please; tests/runs/test_gate.py is about what is refused.
    options.setdefault("confirmed", "a test")
    return run_domain(repository, chosen, repository.domain(domain), **options)


def rows(sql: str) -> list[tuple]:
    return connect().rows(sql)


def test_events_land_once_with_their_offsets_and_what_is_rejected(mesh, chosen):
    mesh.sell(*range(1, 20))
    mesh.send("shop.sales", [(b"x", b"\xff\x00 no json")])
    [first] = land(mesh, chosen)
    assert (first.rows, first.rejected, first.total_rows) == (19, 1, 19)
    [again] = land(mesh, chosen)
    assert (again.rows, again.rejected, again.total_rows) == (0, 0, 19)
    mesh.sell(20)
    [more] = land(mesh, chosen)
    assert (more.rows, more.total_rows) == (1, 20)
    assert rows("select count(*), count(distinct sale_id) from shop_raw.sales") == [(20, 20)]
    [(value, reason)] = rows("select value, reason from shop_raw.sales__rejected")
    assert (bytes(value), reason) == (b"\xff\x00 no json", "is not valid UTF-8")


def test_a_domain_is_built_audited_and_published_without_copying_a_row(mesh, chosen, fakesnow):
    mesh.sell(*range(1, 20))
    land(mesh, chosen)
    before = len(fakesnow.statements())
    done = run(mesh, chosen, "shop")
    assert done.message == ""
    assert done.outcome == "published"
    assert {each["product"]: each["rows"] for each in done.published} == {"orders": 19, "totals": 1}
    assert all(check.outcome == "passed" for _, audit in done.audited for check in audit.checks)
    assert rows("select orders, amount from shop.totals") == [(19, pytest.approx(28.5))]
    # Statements say for which domain, product and run they are.
    tags = [
        json.loads(re.search(r"query_tag = '(.*)'", each, re.DOTALL)[1])
        for each in fakesnow.statements()[before:]
        if each.startswith("alter session set query_tag")
    ]
    assert {tag["domain"] for tag in tags} == {"shop"}
    assert {tag["database"] for tag in tags} == {connect("shop").database}
    assert {tag.get("run") for tag in tags} == {done.run_id}
    assert {"orders", "stg_sales", "shop.orders"} <= {tag.get("product") for tag in tags}


def test_a_candidate_that_fails_a_check_leaves_consumers_what_they_have(mesh, chosen):
    mesh.sell(*range(1, 20))
    land(mesh, chosen)
    assert run(mesh, chosen, "shop").outcome == "published"
    mesh.sell(20, amount=-1)
    land(mesh, chosen)
    done = run(mesh, chosen, "shop")
    assert done.outcome == "rejected"
    assert "No negative amounts (column amount): found 1, must be 0" in done.message
    [failed] = [check for _, audit in done.audited for check in audit.checks if not check.ok]
    assert [row["order_id"] for row in failed.samples] == [20]
    assert rows("select count(*), min(amount) from shop.orders") == [(19, pytest.approx(1.5))]
    left = rows("select count(*) from information_schema.tables "
                "where table_schema = 'SHOP_GENERATIONS'")  # fmt: skip
    assert left == [(2,)]  # the published generations; those of the candidates were dropped
    found = gather(mesh.repository, chosen)
    orders = next(each for each in found.products if each.relation == "shop.orders")
    assert (orders.state, orders.rows, found.storage) == ("failed", 19, "warehouse")
    assert "No negative amounts (column amount): found 1, must be 0" in orders.why
    assert orders.checks_passed == orders.checks_run > 0
    assert [each.rows for each in found.topics] == [20]


def test_what_was_published_before_can_be_shown_again(mesh, chosen):
    mesh.sell(*range(1, 20))
    land(mesh, chosen)
    run(mesh, chosen, "shop")
    assert run(mesh, chosen, "shop").outcome == "unchanged"
    mesh.sell(20)
    land(mesh, chosen)
    assert run(mesh, chosen, "shop").message == ""
    assert rows("select orders from shop.totals") == [(20,)]
    product = mesh.repository.product("shop.totals")
    rollback(chosen, chosen.ledger, product)
    assert rows("select orders from shop.totals") == [(19,)]
    kinds = [each["kind"] for each in product_history(chosen.ledger, product)]
    assert kinds == ["publish", "publish", "rollback"]


def test_a_publication_that_was_stopped_half_way_is_finished_by_the_next_run(
    mesh, chosen, monkeypatch
):
    mesh.sell(*range(1, 20))
    land(mesh, chosen)
    run(mesh, chosen, "shop")
    mesh.sell(20)
    land(mesh, chosen)
    with monkeypatch.context() as broken:
        shown = Shown.show_one

        def stop_at_totals(self, product, state):
            if product.name == "totals":
                raise KeyboardInterrupt
            shown(self, product, state)

        broken.setattr(Shown, "show_one", stop_at_totals)
        with pytest.raises(KeyboardInterrupt):
            run(mesh, chosen, "shop")
    assert rows("select orders from shop.totals") == [(19,)]
    assert run(mesh, chosen, "shop").outcome == "unchanged"
    assert rows("select orders from shop.totals") == [(20,)]


GOLDEN = Path(__file__).parent / "golden" / "publication.sql"


def test_publication_keeps_grants_and_says_what_the_yaml_says(mesh, chosen, fakesnow):
    """fakesnow cannot run these statements, so the test compares their text.

    They are clones, comments, tags and a view for shares.
    """
    mesh.edit(
        "domains/shop/models/products/orders.yml",
        "grain: [order_id]",
        "grain: [order_id]\n        shared: true",
    )
    mesh.edit(
        "domains/shop/models/products/orders.yml",
        "description: Who bought.}",
        "description: Who bought., config: {meta: {classification: personal}}}",
    )
    mesh.sell(*range(1, 20))
    land(mesh, chosen)
    assert run(mesh, chosen, "shop").outcome == "published"
    database = connect().database
    sent = [each for each in fakesnow.statements() if f'"{database}"' in each]
    shown = [
        re.sub(r"__\d{16}", "__GENERATION", each.replace(database, "MESH"))
        for each in sent
        if re.match(r"create (or replace )?(table|secure view|tag)|comment on|alter table", each)
        and re.search(r'create tag|"SHOP(_GENERATIONS|_SHARED)?"."ORDERS', each)
    ]
    assert list(dict.fromkeys(shown)) == GOLDEN.read_text().strip().split(";\n")
    for statement in shown:
        assert parse_one(statement, dialect="snowflake", error_level=ErrorLevel.RAISE)
    assert rows("select count(*), count(customer_id) from shop_shared.orders") == [(19, 19)]


def test_a_domain_pays_with_its_own_warehouse(mesh, chosen, monkeypatch):
    monkeypatch.setenv("SNOWFLAKE_WAREHOUSE", "SHARED_WH")
    monkeypatch.setenv("SNOWFLAKE_WAREHOUSE_SHOP", "SHOP_WH")
    assert connect("shop").warehouse == "SHOP_WH"
    assert connect("crm").warehouse == "SHARED_WH"
    assert dbt_variables("shop")["SNOWFLAKE_WAREHOUSE"] == "SHOP_WH"


def test_a_rival_that_landed_first_is_noticed_and_nothing_is_doubled(mesh, chosen):
    mesh.sell(*range(1, 20))
    source = open_source(mesh.root, mesh.home)
    raw = mesh.repository.domain("shop").raw_tables[0]
    topic = source.describe(raw.topic)
    slow = open_target(chosen.store, raw, topic, ())
    starts = slow.starts(topic)
    ranges = {number: (starts[number], each.end) for number, each in topic.partitions.items()}
    batches = list(source.read(raw.topic, ranges, 1 << 20))
    land(mesh, chosen)  # another lander lands everything meanwhile
    pending, decoder = Pending(), Decoder(raw)
    for batch in batches:
        events = pa.Table.from_batches([batch.events])
        decoded = decoder.decode(batch.partition, events, datetime.now(UTC))
        pending.add(starts[batch.partition], batch, decoded)
    with pytest.raises(Fenced, match="Another lander took over partition"):
        slow.commit(pending)
    assert rows("select count(*), count(distinct sale_id) from shop_raw.sales") == [(19, 19)]


def test_a_declared_type_that_would_lose_values_is_refused(mesh, chosen):
    mesh.sell(1)
    land(mesh, chosen)
    mesh.edit("domains/shop/models/topics.yml", "decimal(12,2)", "decimal(8,2)")
    with pytest.raises(UsageError, match=r"`amount` of shop_raw.sales holds number\(12,2\)"):
        land(mesh, engine(mesh.repository))


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("SNOWFLAKE_ACCOUNT", "", "needs SNOWFLAKE_ACCOUNT in the environment"),
        ("SNOWFLAKE_PRIVATE_KEY_FILE", "/no/key.p8", "There is no private key at /no/key.p8"),
    ],
)
def test_a_setting_that_is_missing_is_named(mesh, chosen, name, value, says):
    done = mesh.run("status", code=2, environment={**snowflake_variables(), name: value})
    assert says in done.stderr


def test_an_invalid_key_is_reported_in_one_line_without_its_content(mesh, chosen, tmp_path):
    key = tmp_path / "key.p8"
    key.write_text("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
    variables = {**snowflake_variables(), "SNOWFLAKE_PRIVATE_KEY_FILE": str(key)}
    done = mesh.run("status", code=1, environment=variables)
    assert "refused the login of mesh" in done.stderr
    assert "c2VjcmV0" not in done.stderr + done.stdout
    assert len(done.stderr.strip().splitlines()) == 1


def test_what_is_about_the_lake_is_refused_here(mesh, chosen):
    done = mesh.run("maintain", code=2, environment=snowflake_variables())
    assert "tables of the lake" in done.stderr


def snowflake_variables() -> dict[str, str]:
    kept = ("SNOWFLAKE_", "MESH_TARGET")
    return {name: value for name, value in os.environ.items() if name.startswith(kept)}


def test_an_environment_has_what_changed_and_reads_production_for_the_rest(
    mesh, chosen, monkeypatch
):
    mesh.sell(*range(1, 20))
    land(mesh, chosen)
    for domain in ("shop", "crm"):
        assert run(mesh, chosen, domain).outcome == "published"
    monkeypatch.setenv("MESH_ENV", "ana")
    mesh.edit("domains/shop/models/products/totals.sql", "sum(amount)", "2 * sum(amount)")
    own = engine(mesh.repository)
    done = run(mesh, own, "shop")
    assert (done.outcome, done.message) == ("published", "")
    assert done.products["totals"] == "published"
    assert rows("select amount from ana__shop.totals") == [(pytest.approx(57),)]
    assert rows("select amount from shop.totals") == [(pytest.approx(28.5),)]
    assert run(mesh, own, "crm").outcome == "unchanged"
    variables = snowflake_variables() | {"MESH_ENV": ""}
    [listed] = json.loads(mesh.run("env", "list", "--json", environment=variables).stdout)
    assert (listed["name"], "shop.totals" in listed["products"]) == ("ana", True)
    with pytest.raises(UsageError, match="cannot be landed in the environment ana"):
        own.store.writer(mesh.repository.domain("shop").raw_tables[0])
    mesh.run("env", "drop", "ana", "--yes", environment=variables)
    left = rows("select schema_name from information_schema.schemata "
                "where startswith(schema_name, 'ANA__')")  # fmt: skip
    assert left == []
    assert rows("select amount from shop.totals") == [(pytest.approx(28.5),)]


def test_without_tags_nothing_is_tagged(mesh, chosen, fakesnow, monkeypatch):
    monkeypatch.setenv("MESH_SNOWFLAKE_TAGS", "off")
    mesh.sell(1)
    land(mesh, chosen)
    before = len(fakesnow.statements())
    assert run(mesh, chosen, "shop").outcome == "published"
    assert not [each for each in fakesnow.statements()[before:] if " tag " in each]


def test_a_cast_that_fails_fails_the_model_as_on_other_targets(mesh, chosen):
    topics, staging = "domains/shop/models/topics.yml", "domains/shop/models/staging/stg_sales.sql"
    totals = "domains/shop/models/products/totals.sql"
    weight = "          - {name: weight, data_type: string, description: Of all.}\n"
    mesh.edit(topics, "          - {name: sold_at", f"{weight}          - {{name: sold_at")
    mesh.edit(staging, "    sale_id,", "    sale_id,\n    weight,")
    mesh.edit(totals, "cast(count(*) as bigint)", "cast(sum(cast(weight as bigint)) as bigint)")
    mesh.edit(totals, "{{ ref('orders') }}", "{{ ref('stg_sales') }} -- {{ ref('orders') }}")
    sell_by_weight(mesh, 1, "12")
    sell_by_weight(mesh, 2, "30")
    land(mesh, chosen)
    assert run(mesh, chosen, "shop").outcome == "published"
    sell_by_weight(mesh, 3, "12 kg")
    land(mesh, chosen)
    done = run(mesh, chosen, "shop")
    assert (done.outcome, "12 kg" in done.message) == ("failed", True)
    assert rows("select orders from shop.totals") == [(42,)]
    safe = "{{ dbt.safe_cast('weight', 'bigint') }}"
    mesh.edit(totals, "cast(weight as bigint)", safe)
    assert run(mesh, chosen, "shop").outcome == "published"
    assert rows("select orders from shop.totals") == [(42,)]


def sell_by_weight(mesh: Mesh, number: int, weight: str) -> None:
    value = {"sale_id": number, "customer_id": 1, "amount": 1.5, "weight": weight,
             "sold_at": "2017-01-01T12:00:00Z"}  # fmt: skip
    mesh.send("shop.sales", [(str(number).encode(), json.dumps(value).encode())])


def test_a_warehouse_that_does_not_run_is_reported_with_the_remedy(chosen, monkeypatch):
    """fakesnow has no warehouses, so the test raises the driver's error itself."""
    from snowflake.connector.errors import ProgrammingError

    class Suspended:
        def cursor(self):
            raise ProgrammingError(msg="No active warehouse selected", errno=606)

    session = connect()
    monkeypatch.setattr(session, "connection", Suspended())
    with pytest.raises(MeshError, match=r"no running warehouse .* Set SNOWFLAKE_WAREHOUSE"):
        session.execute("select 1")


def test_versions_are_published_side_by_side_and_the_plain_name_shows_the_latest(mesh, chosen):
    two_versions(mesh)
    mesh.write("domains/crm/models/staging/stg_shop__orders.sql",
               "select o.order_id, f.customer_id, o.amount\nfrom {{ ref('shop', 'orders') }} o\n"
               "join {{ ref('shop', 'orders', v=1) }} f on f.order_id = o.order_id\n"
               "where o.store_id = 7\n")  # fmt: skip
    mesh.sell(1, 2)
    land(mesh, chosen)
    assert run(mesh, chosen, "shop").message == ""
    assert rows("select sum(store_id) from shop.orders") == [(14,)]
    assert rows("select sum(customer_id) from shop.orders_v1") == [(2,)]
    # Its check reads `shop.orders`, which has no customers any more.
    checks = mesh.root / "domains/crm/models/products/customers.checks.yml"
    checks.write_text(checks.read_text().replace("from shop.orders)", "from shop.orders_v1)"))
    done = run(mesh, chosen, "crm")
    assert (done.message, done.outcome) == ("", "published")
    assert rows("select customer_id, orders from crm.customers") == [(1, 2)]
    assert run(mesh, chosen, "shop").outcome == "unchanged"

    mesh.sell(3)
    land(mesh, chosen)
    assert run(mesh, chosen, "shop").message == ""
    assert rows("select count(*) from shop.orders") == [(3,)]
    rollback(chosen, chosen.ledger, mesh.repository.product("shop.orders"))
    assert rows("select count(*) from shop.orders") == [(2,)]
    assert rows("select count(*) from shop.orders_v2") == [(2,)]
    assert rows("select count(*) from shop.orders_v1") == [(3,)]


def test_a_product_that_gets_versions_keeps_its_history_as_version_1(mesh, chosen):
    for number in (1, 2):
        mesh.sell(number)
        land(mesh, chosen)
        assert run(mesh, chosen, "shop").message == ""
    two_versions(mesh, latest=1)
    chosen = engine(mesh.repository)
    assert run(mesh, chosen, "shop").message == ""
    assert rows("select count(*) from shop.orders") == [(2,)]
    product = mesh.repository.product("shop.orders")
    rollback(chosen, chosen.ledger, product)
    rollback(chosen, chosen.ledger, product)
    assert rows("select count(*) from shop.orders") == rows("select count(*) from shop.orders_v1")
    assert rows("select count(*) from shop.orders_v1") == [(1,)]


def test_a_product_that_was_removed_is_retired_and_comes_back(mesh, chosen):
    mesh.sell(1)
    land(mesh, chosen)
    assert run(mesh, chosen, "shop").message == ""
    for path in (mesh.root / "domains/shop/models/products").glob("totals*"):
        path.unlink()
    chosen, today = engine(mesh.repository), datetime.now(UTC).date()
    retire(mesh.repository, chosen, "shop.totals", today)
    assert "shop.totals" not in chosen.states()
    shown = "select count(*) from information_schema.tables where table_schema = 'SHOP'"
    assert rows(shown) == [(1,)]
    assert run(mesh, chosen, "shop").outcome == "unchanged"
    assert unretire(mesh.repository, chosen, "shop.totals", today) == ["shop.totals"]
    assert rows("select orders from shop.totals") == [(1,)]
    kinds = [each["kind"] for each in publications_of(chosen.ledger, "shop")["shop.totals"]]
    assert kinds == ["publish", "retire", "unretire"]


class Killed(BaseException):
    """Ends a command as a signal would."""


def test_a_retirement_that_was_interrupted_is_completed_and_so_is_its_undoing(
    mesh, chosen, monkeypatch
):
    mesh.sell(1)
    land(mesh, chosen)
    assert run(mesh, chosen, "shop").message == ""
    for path in (mesh.root / "domains/shop/models/products").glob("totals*"):
        path.unlink()
    chosen, today = engine(mesh.repository), datetime.now(UTC).date()
    shown = "select count(*) from information_schema.tables where table_schema = 'SHOP'"

    def killed(self: object, relations: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(type(chosen), "_show", killed)
        with pytest.raises(Killed):
            retire(mesh.repository, chosen, "shop.totals", today)
    assert rows(shown) == [(2,)]
    chosen = engine(mesh.repository)
    assert run(mesh, chosen, "shop").outcome == "unchanged"
    assert rows(shown) == [(1,)]
    with monkeypatch.context() as patch:
        patch.setattr(type(chosen), "_show", killed)
        with pytest.raises(Killed):
            unretire(mesh.repository, engine(mesh.repository), "shop.totals", today)
    with pytest.raises(MeshError, match="is not retired"):
        unretire(mesh.repository, engine(mesh.repository), "shop.totals", today)
    assert rows("select orders from shop.totals") == [(1,)]


def test_checks_follow_from_the_contract_without_a_checks_file(mesh, chosen):
    products = "domains/shop/models/products"
    for name in ("orders", "totals"):
        (mesh.root / products / f"{name}.checks.yml").unlink()
    text = (mesh.root / products / "orders.yml").read_text()
    mesh.write(f"{products}/orders.yml", text[: text.index("unit_tests:")])
    mesh.edit(f"{products}/orders.yml", "grain: [order_id]", "grain: [order_id, sold_at]")
    mesh.sell(*range(1, 20))
    land(mesh, chosen)
    assert run(mesh, chosen, "shop").message == ""
    mesh.edit(f"{products}/orders.sql", "from {{ ref('stg_sales') }}",
              "from {{ ref('stg_sales') }}, (values (1), (2)) as twice (number)")  # fmt: skip
    done = run(mesh, chosen, "shop")
    assert done.outcome == "rejected"
    assert "Rows that repeat the grain order_id, sold_at: found 19, must be 0" in done.message
    mesh.edit(f"{products}/orders.sql", "as twice (number)", "as twice (number) where false")
    done = run(mesh, chosen, "shop")
    assert "Rows: found 0, must be more than 0" in done.message
    assert rows("select count(*) from shop.orders") == [(19,)]
