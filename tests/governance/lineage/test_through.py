"""Uses of a provider's columns behind other models of the consumer's domain."""

from meshhouse.governance.lineage import domain_of, reads_of, reads_through

SCHEMAS = {"sales.orders": ["order_id", "status", "amount"], "crm_raw.t": ["status"]}
STAGED = "select order_id, status, amount from sales.orders"


def uses(sql, **models):
    """Column -> literals and operators of a query over these models of `crm`."""
    texts = {f"crm_build.{name}": text for name, text in ({"stg": STAGED} | models).items()}
    domain = domain_of(texts, SCHEMAS, "duckdb")
    direct = reads_of("crm.m", sql, {"sales.orders": SCHEMAS["sales.orders"]})
    found = reads_through("crm.m", sql, domain, {"sales.orders"}, direct)
    assert all(each.reader == "crm.m" and not each.is_direct for each in found)
    return {
        each.column if each.is_known else "?": (set(each.literals), set(each.operators))
        for each in found
    }


def test_what_is_only_passed_on_is_not_a_use():
    assert uses("select *, count(*) over () as n from crm_build.stg") == {}


def test_a_use_counts_where_it_is_through_any_number_of_models():
    models = {"mid": "select *, status as how from crm_build.stg"}
    paid = "select how from crm_build.mid where how = 'paid'"
    assert uses(paid, **models) == {"status": ({"paid"}, {"="})}
    assert uses("select how from crm_build.last", last=paid, **models) == {}


def test_uses_of_raw_tables_of_the_domain_are_not_reads():
    raw = "select status from crm_raw.t"
    sql = "select o.order_id from crm_build.stg o join crm_build.raw r on r.status = 'x'"
    assert uses(sql, raw=raw) == {}


def test_a_model_that_reads_itself_compares_what_it_passes_on():
    own = f"{STAGED} where status not in (select status from crm_build.own where status = 'a')"
    assert uses("select 1 from crm_build.own where status = 'b'", own=own) == {
        "status": ({"b"}, {"="})
    }


def test_what_is_lost_in_a_model_is_unknown_where_it_is_used():
    broken = "select from crm_build.stg where ("
    assert uses("select status from crm_build.broken", broken=broken) == {}
    assert set(uses("select 1 from crm_build.broken where status = 'a'", broken=broken)) == {"?"}
    assert set(uses("select from crm_build.stg where (")) == {"?"}
    assert set(uses("select from crm_build.broken where (", broken=broken)) == {"?"}


def test_a_use_of_the_product_itself_is_not_repeated():
    sql = "select s.order_id from crm_build.stg s join sales.orders o on o.status = 'a'"
    assert uses(sql) == {}
    assert uses(f"{sql} where s.status = 'b'") == {"status": ({"a", "b"}, {"="})}
