"""Reads of products in Snowflake's own history, and what queries cost in credits.

Belongs here: which rows of ACCOUNT_USAGE are fetched, and what they say. Not here: keeping reads
(usage/store.py).

Snowflake writes its history late: accesses up to 3 hours after a query, credits up to 8. So an
import takes only what began 9 hours ago or earlier. A query appears when it has ended, at the time
when it began, and may take 2 days. So each import begins 3 days before the end of the one before;
the ids of queries keep what is fetched twice from counting twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from meshhouse.engines.histories import Imported, Known, shared
from meshhouse.engines.snowflake.session import connect
from meshhouse.errors import MeshError
from meshhouse.repository import ROOT_DOMAIN
from meshhouse.usage.reads import HISTORY, UNKNOWN, Read, clean
from meshhouse.usage.store import ReadStore

SOURCE = "snowflake"
LATE = timedelta(hours=9)
OVERLAP = timedelta(days=3)
FIRST = timedelta(days=90)
"""How far back the first import goes: what usage shows. Snowflake keeps a year."""
_ACCESSES = """
select a.query_id, a.query_start_time, a.user_name, a.base_objects_accessed,
    h.query_tag, h.execution_status, h.rows_produced, h.bytes_scanned, h.total_elapsed_time,
    c.credits_attributed_compute, c.credits_used_query_acceleration
from snowflake.account_usage.access_history as a
left join snowflake.account_usage.query_history as h
    on h.query_id = a.query_id and h.start_time >= cast(? as timestamp_ltz)
left join snowflake.account_usage.query_attribution_history as c
    on c.query_id = a.query_id and c.start_time >= cast(? as timestamp_ltz)
where a.query_start_time >= cast(? as timestamp_ltz)
    and a.query_start_time < cast(? as timestamp_ltz)
order by a.query_start_time, a.query_id
"""
_RUNS = """
select query_id, start_time, user_name, query_tag,
    credits_attributed_compute, credits_used_query_acceleration
from snowflake.account_usage.query_attribution_history
where start_time >= cast(? as timestamp_ltz) and start_time < cast(? as timestamp_ltz)
    and query_tag like '{%"run"%}'
order by start_time, query_id
"""
_TABLES = {"table", "view", "materialized view", "secure view"}
_CUT = "TRUNCATED"
_PART = re.compile(r'"((?:[^"]|"")*)"|([^."]+)')


def import_history(store: ReadStore, known: Known, now: datetime | None = None) -> Imported:
    """Adds the queries that Snowflake's history has and the store has not.

    Raises:
        MeshError: the role lacks the right to read the history, or Snowflake does not answer.
    """
    now = now or datetime.now(UTC)
    until = now - LATE
    before = store.position(SOURCE)
    since = datetime.fromisoformat(before) - OVERLAP if before else now - FIRST
    session = connect()
    try:
        # An hour earlier, because views need not agree when a query began.
        joined, begin, end = (
            each.isoformat() for each in (since - timedelta(hours=1), since, until)
        )
        accesses = session.rows(_ACCESSES, joined, joined, begin, end)
        runs = session.rows(_RUNS, begin, end)
    except MeshError as error:
        raise MeshError(
            f"{error} The role needs Snowflake's history, which Enterprise Edition has: `grant "
            "database role snowflake.governance_viewer to role ...`."
        ) from error
    queries = [
        *reads_of(accesses, session.database, known),
        *costs_of_runs(runs, session.database, known),
    ]
    added = store.add(SOURCE, queries, until.isoformat())
    store.forget(SOURCE, until - OVERLAP - timedelta(days=1))
    return Imported(added, "query", "queries", (f"Complete up to {until:%Y-%m-%d %H:%M} UTC.",))


def reads_of(
    rows: Iterable[tuple[Any, ...]], database: str, known: Known
) -> Iterator[tuple[str, list[Read]]]:
    """Id and reads of each query of consumers that read a product.

    Args:
        rows: of `_ACCESSES`.
        database: the mesh's database.
        known: the products whose reads count.
    """
    for row in rows:
        query, began, user, objects, tag, status, produced, scanned, elapsed, *paid = row
        about = _tag(tag)
        if _is_of(about, database) or str(status or "SUCCESS").upper() != "SUCCESS":
            continue
        scans = dict(_scans(_decoded(objects), database, known))
        sizes, times = shared(_whole(scanned), scans), shared(_whole(elapsed), scans)
        credit = shared(_nanocredits(paid), scans)
        reads = [
            Read(
                at=_utc(began),
                product=product,
                columns=columns,
                user=clean(str(user)),
                consumer=_consumer(about),
                via=f"{HISTORY}{SOURCE}",
                rows=_whole(produced) if len(scans) == 1 else None,
                bytes=sizes[product],
                milliseconds=times[product],
                nanocredits=credit[product],
            )
            for product, columns in scans.items()
        ]
        if reads:
            yield str(query), reads


def costs_of_runs(
    rows: Iterable[tuple[Any, ...]], database: str, known: Known
) -> Iterator[tuple[str, list[Read]]]:
    """Id and cost of each query of this mesh's runs in production.

    Args:
        rows: of `_RUNS`.
        database: the mesh's database.
        known: what is declared; a model that is not a product counts for its domain.
    """
    for query, began, user, tag, *paid in rows:
        about = _tag(tag)
        credit = _nanocredits(paid)
        domain = str(about.get("domain") or ROOT_DOMAIN)
        is_declared = domain == ROOT_DOMAIN or domain in known.domains
        is_of_production = _database(about) == database.upper() and not about.get("environment")
        if not (about.get("run") and is_of_production and is_declared) or credit is None:
            continue
        name = str(about.get("product") or "").lower()
        product = name if name.startswith(f"{domain}.") else f"{domain}.{name}"
        yield (
            str(query),
            [
                Read(
                    at=_utc(began),
                    product=product if product in known.columns else f"{domain}.(other)",
                    columns=None,
                    user=clean(str(user)),
                    consumer=domain,
                    via=f"{HISTORY}{SOURCE}",
                    count=0,
                    nanocredits=credit,
                )
            ],
        )


def _scans(
    objects: Any, database: str, known: Known
) -> Iterator[tuple[str, tuple[str, ...] | None]]:
    """Each product that a query read, with its columns; `UNKNOWN` if Snowflake cut the list."""
    for each in objects if isinstance(objects, list) else []:
        if not isinstance(each, dict):
            yield UNKNOWN, None
            continue
        name = str(each.get("objectName", ""))
        if _CUT in (name, each.get("objectDomain")) or each.get("objectId") == -1:
            yield UNKNOWN, None
            continue
        parts = [quoted.replace('""', '"') or plain for quoted, plain in _PART.findall(name)]
        product = ".".join(parts[1:]).lower()
        is_table = str(each.get("objectDomain", "")).lower() in _TABLES
        if (
            not is_table
            or len(parts) != 3
            or parts[0].upper() != database.upper()
            or product not in known.columns
        ):
            continue
        columns = [str(column.get("columnName", _CUT)) for column in each.get("columns") or ()]
        yield product, None if _CUT in columns else known.names(product, columns)


def _tag(text: Any) -> Mapping[str, Any]:
    """A query tag, if it is a JSON object as the mesh writes it; others say nothing."""
    found = _decoded(text)
    return found if isinstance(found, dict) else {}


def _is_of(tag: Mapping[str, Any], database: str) -> bool:
    """Whether a query is of this mesh's runs or environments, which do not count as reads."""
    is_of_mesh = _database(tag) in ("", database.upper())  # tags without it are of older versions
    return is_of_mesh and bool(tag.get("run") or tag.get("environment"))


def _database(tag: Mapping[str, Any]) -> str:
    return str(tag.get("database") or "").upper()


def _consumer(tag: Mapping[str, Any]) -> str:
    """The declared consumer, or the domain of another mesh whose run it is."""
    if tag.get("run"):
        return clean(f"{tag.get('domain') or ROOT_DOMAIN} of {_database(tag)}")
    return clean(str(tag.get("consumer") or ""))


def _decoded(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _nanocredits(paid: Iterable[Any]) -> int | None:
    """Credits as whole billionths; None if Snowflake attributes none to the query."""
    known = [Decimal(str(each)) for each in paid if each is not None]
    total = sum(known, Decimal())
    return round(total * 1_000_000_000) if known and total.is_finite() else None


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
