"""Notices of change: each consumer hears about its models and columns, and about no other ones."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from meshhouse.governance.contract import Contract
from meshhouse.heads import Turn
from meshhouse.notices.audience import uses
from meshhouse.notices.changes import Known, notices

AT = datetime(2026, 11, 30, 12, tzinfo=UTC)
CONSUMERS = ("crm", "finance", "mesh")


def contract(relation: str, version: int = 1, **keys) -> Contract:
    domain = relation.partition(".")[0]
    model = relation.partition("_v")[0]
    return Contract({
        "product": model, "domain": domain, "relation": relation, "version": version,
        "owner": {"group": domain, "name": f"{domain} team", "contact": f"#{domain}"},
        **keys,
    })  # fmt: skip


def read(reader: str, column: str, relation: str = "shop.orders", **keys) -> dict:
    return {"reader": reader, "relation": relation, "column": column, "into": [],
            "how": ["select"], "literals": [], "is_known": True, **keys}  # fmt: skip


def entry(kind: str = "publish", number: int = 2, product: str = "orders", **keys) -> dict:
    return {"domain": "shop", "product": product, "kind": kind, "number": number,
            "finished_at": AT, "contract_hash": "now", "publication_id": "one", **keys}  # fmt: skip


CRM = contract("crm.customers", reads=[read("crm.customers", "amount")])
FINANCE = contract("finance.margins", reads=[read("finance.margins", "cost")])
ORDERS = contract("shop.orders")
BEFORE = {"shop.orders": Known.of("shop.orders", ORDERS)}


def told(*entries: dict, known=BEFORE, now: Contract = ORDERS, readers=(CRM, FINANCE)) -> list:
    messages, _ = notices(entries, known, lambda _: now, lambda names: uses(names, readers))
    return messages


def test_a_usual_publication_is_not_news():
    assert told(entry()) == []
    added = {"change": "S2:size", "what": "Column size is new.", "verdict": "minor", "hits": []}
    assert told(entry(changes=[added])) == []


def test_a_notice_goes_to_the_groups_of_the_models_that_read():
    def of(relation: str, group: str | None, *reads: dict) -> Contract:
        return contract(relation, owner={"group": group}, reads=list(reads))

    staging = read("crm.stg_orders", "amount")
    customers = of("crm.customers", "sales", read("crm.customers", "amount"))
    churn = of("crm.churn", "science")
    for readers in ((customers, churn), (churn, customers)):
        assert [each.groups for each in uses(["shop.orders"], readers)] == [("sales",)]
    through = of("crm.churn", "science", staging)
    [use] = uses(["shop.orders"], [customers, through])
    assert use.groups == ("sales", "science")
    [loose] = uses(["shop.orders"], [customers, of("crm.baskets", None, staging)])
    assert loose.groups == ()  # all owners of crm


def test_a_change_reaches_only_the_consumers_that_it_hits():
    dropped = {"change": "S1:amount", "what": "Column amount is gone.", "verdict": "breaking",
               "hits": ["crm.customers.spent"]}  # fmt: skip
    [message] = told(entry(changes=[dropped]))
    assert (message.domain, message.kind) == ("crm", "breach")
    assert message.key == "publication:shop.orders:2:one:crm"
    body = message.body(AT)
    assert "crm.customers (amount)" in body
    assert "shop team #shop" in body
    assert "finance" not in body
    assert "cost" not in body


def test_each_kind_of_entry_has_its_notice():
    assert {each.kind for each in told(entry("rollback"))} == {"rollback"}
    assert {each.kind for each in told(entry("retire"))} == {"retirement"}
    assert {each.kind for each in told(entry("unretire"))} == {"recovery"}
    moved = entry("rename", product="baskets", renamed_from="shop.orders")
    renamed = told(moved, now=contract("shop.baskets"))
    assert [each.domain for each in renamed] == ["crm", "finance"]
    assert "shop.orders is called shop.baskets now." in renamed[0].title
    ended = entry("end", product="baskets", alias="shop.orders")
    assert "Read shop.baskets." in told(ended, known={})[0].title
    assert told(entry("alias", alias="shop.other")) == []


def test_a_publication_after_a_rollback_is_a_recovery():
    first, second = told(entry("rollback", 2), entry(number=3), readers=[CRM])
    assert (first.kind, second.kind) == ("rollback", "recovery")
    assert first.identity != second.identity


def test_a_rollback_says_what_it_undid_and_each_consumer_its_own_columns():
    def columns(*names: str, amount: str) -> list[dict]:
        types = dict.fromkeys(names, "bigint") | {"amount": amount}
        return [{"name": name, "type": kind} for name, kind in types.items()]

    contracts = {
        "old": contract("shop.orders", columns=columns("id", "cost", amount="decimal(12,2)")),
        "new": contract("shop.orders", columns=columns("id", "size", amount="bigint")),
    }
    gone = {"change": "S1:cost", "what": "Column cost is gone.", "verdict": "breaking",
            "hits": ["finance.margins.margin"]}  # fmt: skip
    back = entry("rollback", 3, contract_hash="old")
    turn = Turn(back, entry(number=2, contract_hash="new", changes=[gone]),
                entry(number=1, contract_hash="old"))  # fmt: skip
    messages, _ = notices(
        [back], BEFORE, contracts.get, lambda names: uses(names, (CRM, FINANCE)), lambda _: turn
    )
    crm, finance = (each.body(AT) for each in messages)
    assert "publication 2 was undone, and readers see publication 1 again." in messages[0].title
    assert "Your column amount is decimal(12,2) again." in crm
    assert "cost" not in crm
    assert "Your column cost is back." in finance
    assert "Undone: Change S1:cost (breaking): Column cost is gone." in finance
    assert "amount" not in finance
    assert "size" not in crm + finance


def test_the_same_number_of_another_publication_is_another_notice():
    one, other = told(entry("rollback"), entry("rollback", publication_id="two"), readers=[CRM])
    assert one.identity != other.identity


def test_a_deprecation_is_one_notice_with_the_day():
    change = {"change": "Y1:deprecation_date", "what": "Deprecated.", "verdict": "minor",
              "hits": ["crm.customers.*"]}  # fmt: skip
    now = contract("shop.orders", deprecation_date="2027-03-01")
    [message] = told(entry(changes=[change]), now=now, readers=[CRM])
    assert (message.kind, message.title) == (
        "deprecation", "shop.orders is deprecated: it is promised until 2027-03-01.",
    )  # fmt: skip
    assert message.facts["kinds"] == ["deprecation"]


def test_a_new_version_reaches_readers_of_the_old_one():
    known = {"shop.orders_v1": Known.of("shop.orders_v1", contract("shop.orders_v1"))}
    old = contract("crm.customers", reads=[read("crm.customers", "amount", "shop.orders_v1")])
    new = contract("shop.orders_v2", 2, aliases=["shop.orders"])
    [message] = told(entry(product="orders_v2"), known=known, now=new, readers=[old])
    assert message.kind == "new_version"
    assert message.title == "Version 2 of shop.orders was published as shop.orders_v2."
    assert told(entry(product="others"), known=known, now=contract("shop.others")) == []


def test_hostile_names_in_a_contract_stay_text():
    evil = contract("crm.customers", reads=[read("crm.x\r\nBcc: a@b.example", "<!channel>")])
    [message] = told(entry("rollback"), readers=[evil])
    text = json.loads(message.body(AT))["text"]
    assert "\r" not in text
    assert text.count("\n") == 2


reads_of = st.lists(
    st.tuples(
        st.sampled_from(CONSUMERS),
        st.sampled_from(["first", "second"]),
        st.integers(0, 9),
        st.sampled_from(["shop.orders", "shop.orders_v1", "shop.others"]),
        st.booleans(),
    ),
    max_size=12,
)


@given(reads_of, st.sets(st.integers(0, 9)))
def test_consumers_see_only_their_own_columns(reads, changed):
    def column(domain: str, number: int) -> str:
        return f"{domain}secret{number}"

    contracts = [
        contract(f"{domain}.{model}", reads=[
            read(f"{domain}.{model}", column(domain, number), relation, is_known=known)
        ])
        for domain, model, number, relation, known in reads
    ]  # fmt: skip
    changes = [
        {"change": f"S1:{column(domain, number)}", "verdict": "breaking",
         "what": f"Column {column(domain, number)} is gone.", "hits": [f"{domain}.{model}.x"]}
        for domain, model, number, _, _ in reads
        if number in changed
    ]  # fmt: skip
    known = {"shop.orders": Known("shop.orders", names=("shop.orders", "shop.orders_v1"))}
    now = contract("shop.orders", aliases=["shop.orders_v1"])
    messages = told(entry("publish", changes=changes), entry("rollback", 3), known=known, now=now,
                    readers=contracts)  # fmt: skip
    affected = {domain for domain, _, _, relation, _ in reads if relation != "shop.others"}
    assert {each.domain for each in messages if each.kind == "rollback"} == affected
    for message in messages:
        body = message.body(AT)
        for domain in CONSUMERS:
            if domain != message.domain:
                assert f"{domain}." not in body
                assert f"{domain}secret" not in body
        for domain, _, number, relation, is_known in reads:
            if domain == message.domain and relation != "shop.others" and is_known:
                assert column(domain, number) in body
