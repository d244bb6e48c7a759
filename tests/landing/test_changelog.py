"""A product of a changelog has the rows that a compacted topic would have."""

from __future__ import annotations

import json

from meshhouse.events import event_log

TOPIC = "shop.sales"
STAGING = """
select sale_id, customer_id, amount, sold_at, _landed_at as landed_at
from {{ newest_per_key(source('shop_raw', 'sales')) }}
"""
NOW = 1_700_000_000_000


def sold(number: int, amount: str) -> bytes:
    text = '{{"sale_id": {}, "customer_id": 1, "amount": {}, "sold_at": "2017-01-01T12:00:00Z"}}'
    return text.format(number, amount).encode()


def test_a_correction_and_a_deletion_from_a_clock_that_is_behind_count(mesh):
    mesh.edit("domains/shop/models/topics.yml", "format: json}", "format: json, changelog: true}")
    mesh.write("domains/shop/models/staging/stg_sales.sql", STAGING)
    log = event_log(mesh.home)
    log.create_topic(TOPIC, 1)
    log.append_events(
        TOPIC,
        [
            (b"deleted", sold(1, "1"), NOW, []),
            (b"deleted", None, NOW - 1_000, []),
            (b"corrected", sold(2, "1"), NOW, []),
            (b"corrected", sold(2, "1234567890.12"), NOW - 1_000, []),
            (b"back", None, NOW, []),
            (b"back", sold(3, "3"), NOW - 2_000, []),
            (None, sold(4, "4"), NOW, []),
            (None, sold(5, "5"), NOW, []),
        ],
        "test",
    )
    mesh.run("run", "shop")
    rows = mesh.rows("select order_id, amount::varchar from shop.orders order by order_id")
    assert rows == [(2, "1234567890.12"), (3, "3.00")]
    rejected = json.loads(mesh.run("rejected", "list", "--json").stdout)
    assert "has no key" in json.dumps(rejected)
