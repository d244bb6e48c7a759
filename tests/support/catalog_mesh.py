"""Documents of a mesh for tests of the catalog: every part of every page has something to show.

Belongs here: documents that are written by hand. Not here: documents that a real mesh makes.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from meshhouse.catalog.documents import (
    ChangedFacts,
    CheckFacts,
    ColumnFacts,
    ContractChangeFacts,
    CostFacts,
    DomainFacts,
    FindingFacts,
    Mesh,
    Owner,
    PolicyFacts,
    ProductFacts,
    PromiseFacts,
    PublicationFacts,
    ReaderFacts,
    RuleFacts,
    SampleFacts,
    Step,
    TopicFacts,
    VersionFacts,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def full_mesh(text: str = "What was bought.", name: str = "channel", now: datetime = NOW) -> Mesh:
    """Two domains with a product each, and every optional fact.

    Args:
        text: stands in every place that takes any text.
        name: of a column.
        now: when the mesh is described.
    """
    owner = Owner(text, text, text)
    columns = (
        ColumnFacts("basket_id", "bigint", "The order.", True, True, roots=("shop.sales.id",)),
        ColumnFacts(
            name, text, text, False, False, text, text, (text,), (text,), False, 0.25, 3,
            ((text, 2),),
        ),
    )  # fmt: skip
    days = tuple(
        (date(2026, 1, 1) + timedelta(days=day), ("kept", "broken", "not measured")[day % 3])
        for day in range(30)
    )
    publications = tuple(
        PublicationFacts(
            9 - number, "publish", now - timedelta(hours=3 + 24 * number), 1, 100 - number,
            10_000 - number, 99.0, text, text, (text,),
        )
        for number in range(3)
    )  # fmt: skip
    first, second, third = publications
    rollback = replace(
        second, kind="rollback", shows=6, undid=7, changes=(), back=(text, "`channel` is back"),
        has_page=True,
    )  # fmt: skip
    publications = (replace(first, has_page=True), rollback, third)
    hits = ("crm.customers.total", f"gone.{text}.?")
    judged = tuple(
        ChangedFacts(f"S1:{text}", verdict, text, text, verdict == "minor", each, text)
        for verdict, each in (("forbidden", hits), ("minor", None), ("harmless", ()))
    )
    changes = tuple(
        ContractChangeFacts(
            number, kind, now, number - 1, 1, text, "major", (text,), number == 9, text, (10, None),
            back, judged,
        )
        for number, kind, back in ((9, "publish", ()), (8, "rollback", (text,)))
    )  # fmt: skip
    orders = ProductFacts(
        relation="shop.orders",
        domain="shop",
        model="orders",
        version=1,
        is_latest=True,
        sentence=text,
        description=f"{text}\n\n{text}",
        grain=("basket_id",),
        grain_text=text,
        owner=owner,
        state="fresh",
        why=text,
        published_at=now - timedelta(hours=3),
        refreshed_at=now - timedelta(hours=3),
        refreshed_within_hours=24,
        rows=100,
        bytes=10_000,
        score=99.0,
        checks_passed=42,
        checks_run=42,
        deprecated_on=date(2027, 1, 1),
        classification=text,
        tags=(text,),
        columns=columns,
        checks=(CheckFacts("1", text, text, text, text, "passed", text),),
        promises=(PromiseFacts(text, 24, 3.0, True, now, 88.5, days),),
        publications=publications,
        contract_changes=changes,
        older_contract_changes=2,
        readers=(ReaderFacts("crm", owner, (text,), (text,), 7, now),),
        versions=(VersionFacts("shop.orders", 1, True, None, ("crm",)),),
        reads=("crm.customers", "crm.gone"),
        topics=("shop_raw.sales",),
        inputs=("crm.customers", "shop_raw.sales"),
        cost=CostFacts(10_000, 12.5, 0.5),
        sample=SampleFacts((text,), ((text,), (None,))),
    )
    customers = replace(
        orders, relation="crm.customers", domain="crm", model="customers", state="late",
        contract_changes=(), readers=(), reads=(), topics=(), promises=(), sample=None,
        deprecated_on=None,
        versions=(VersionFacts("crm.customers", 1, True, None),),
        publications=tuple(replace(each, has_page=False) for each in publications),
    )  # fmt: skip
    shop = DomainFacts(
        "shop",
        text,
        owner,
        ("shop.orders",),
        ("sales",),
        (),
        ("crm",),
        "fresh",
        98.5,
        (text,),
        text,
    )
    crm = replace(
        shop, name="crm", products=("crm.customers",), topics=(), reads_from=("shop",), read_by=(),
        state="late",
    )  # fmt: skip
    topic = TopicFacts(
        "shop", "sales", text, text, text, columns, 100, now, 3, ((text, 2),), ("shop.orders",)
    )
    policies = PolicyFacts(
        (RuleFacts("owner", "error", text),), (FindingFacts(text, 3, "owner", "error", text, text),)
    )
    way = (
        Step("shop_raw.sales.id", "topic", "same value", ""),
        Step(f"shop.{text}.id", "model", "unknown", f"{text}\n{text}", ("shop_raw.sales.id",)),
        Step(
            f"shop.orders.{name}".lower(), "product", "computed", text, (f"shop.{text}.id",),
            ("crm.customers.x", text),
        ),
    )  # fmt: skip
    return Mesh(
        now, (shop, crm), (orders, customers), (topic,), policies=policies,
        traces={way[-1].at: way}, trace_digests={"shop.orders": "1"},
    )  # fmt: skip


def many_products(products: int, columns: int, now: datetime = NOW) -> Mesh:
    """A large mesh: names and words vary as in a company's catalog."""
    nouns = _WORDS.split()
    domains = [f"{nouns[at % len(nouns)]}_{at}" for at in range(max(1, products // 250))]
    made = []
    for number in range(products):
        domain = domains[number % len(domains)]
        first, second = nouns[number % len(nouns)], nouns[number * 7 // len(nouns) % len(nouns)]
        name = f"{first}_{second}_{number}"
        made.append(_product(domain, name, first, second, number, columns, nouns, now))
    listed = tuple(
        DomainFacts(
            each, f"All about {each}.", Owner(f"{each} team", f"{each}@example.com"),
            tuple(one.relation for one in made if one.domain == each), (), (), (), "fresh",
        )
        for each in domains
    )  # fmt: skip
    return Mesh(now, listed, tuple(made), ())


def _product(
    domain: str, name: str, first: str, second: str, number: int, columns: int,
    nouns: list[str], now: datetime,
) -> ProductFacts:  # fmt: skip
    made: list[Any] = []
    for at in range(columns):
        one, two = nouns[(number + at * 13) % len(nouns)], nouns[(number * 3 + at) % len(nouns)]
        made.append(
            ColumnFacts(
                f"{one}_{two}" if at else f"{first}_id", "bigint", f"The {one} of the {two}."
            )
        )
    sentence = f"Every {first} of a {second}, with its {nouns[number * 11 % len(nouns)]}."
    return ProductFacts(
        f"{domain}.{name}", domain, name, 1, True, sentence, sentence, (f"{first}_id",),
        f"one row per {first}", Owner(f"{domain} team", f"{domain}@example.com"), "fresh",
        published_at=now, refreshed_at=now, rows=number, columns=tuple(made),
        publications=(PublicationFacts(number, "publish", now, 1, number, number, 100.0, "run"),),
    )  # fmt: skip


_WORDS = """
    account address agent amount answer area article asset audience balance bank barcode basket
    batch bill bonus booking box branch brand budget building button cable call campaign card
    carrier case category cell chain channel charge city claim class client code color comment
    company contact contract cost country coupon course credit currency customer date day deal
    debit delivery demand deposit desk device discount district document driver email employee
    engine entry error event exchange factory fee feed field file flight fleet floor form
    freight fuel gate gift goal grade group guest hour house household image income index
    industry invoice item journey key label language lead lease letter level license limit line
    link loan location lock log machine mail manager map margin market material meal member
    message meter method mobile model month network note notice number offer office option order
    origin owner package page parcel part partner party payment penalty period permit phone
    picture plan plant plate point policy port position price process product profile project
    promotion purchase quantity quarter question quote range rate rating reason receipt record
    refund region reply report request reserve resource response result retailer return revenue
    review reward risk road role room route row sale sample schedule score screen season seat
    segment seller sensor service session shelf shift ship shop signal site size source space
    staff stage state station status step stock stop store street supplier supply survey table
    target task tax team template term ticket time title token tool topic total town track trade
    train trip truck type unit update user value vehicle vendor version visit voucher warehouse
    warranty week weight window worker yard year zone
"""
