"""Heads say at any time what the whole history says.

Belongs here: heads kept by commits against heads made from history, on each store of a ledger. Not
here: what `mesh status` makes of them (tests/cli/test_status.py).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshhouse.heads import (
    after_commit,
    domains_of,
    effective_publications,
    from_history,
    publications_of,
)
from meshhouse.health import Finding, Level
from meshhouse.health import ledger as health
from meshhouse.lake import Lake
from meshhouse.lake.heads import MOST_SNAPSHOTS, stage_heads
from meshhouse.lake.ledger import LakeLedger
from meshhouse.ledger import LEDGERS, Head, Ledger, encoded
from meshhouse.maintenance import maintain
from tests.support.snowflake_here import needs_snowflake

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
DOMAINS: dict[str, tuple[str, ...]] = {
    "shop": ("orders", "totals"),
    "crm": ("customers",),
    "ops": ("orders",),
}
OTHERS = tuple((domain, name) for domain in DOMAINS for name in DOMAINS[domain])
"""Names that a product may get."""
OUTCOMES = ("published", "unchanged", "failed", "rejected", "held back")


class MemoryLedger:
    """The ledger in memory, with heads that commits keep."""

    production = None

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.kept: dict[tuple[str, str], Head] = {}
        self.number = 0

    def commit(self, changes: Sequence[Any], entries: Mapping[str, Any]) -> None:
        self.number += 1
        domains = domains_of(entries)
        known = {key: head for key, head in self.kept.items() if key[0] in domains}
        others = {key: head for key, head in self.kept.items() if key[0] not in domains}
        self.kept = others | after_commit(known, entries, self.number, self)
        for name, rows in entries.items():
            self.rows[name] += [{**each, "number": self.number} for each in rows]

    def entries(self, ledger: str, domain: str | None = None) -> list[dict[str, Any]]:
        return [each for each in self.rows[ledger] if domain in (None, each["domain"])]

    def renames(self) -> list[dict[str, Any]]:
        return [each for each in self.rows["publications"] if each["kind"] == "rename"]

    def contract(self, contract_hash: str) -> str | None:
        found = [each for each in self.rows["contracts"] if each["hash"] == contract_hash]
        return found[0]["contract"] if found else None

    def statistics(self, publication_ids) -> dict[str, str]:
        return {
            each["publication_id"]: json.dumps(each["statistics"])
            for each in self.rows["statistics"]
            if each["publication_id"] in publication_ids
        }


def is_shown(ledger: Any, product: tuple[str, str]) -> bool:
    """Whether consumers see it, so that no other product can get its name."""
    return bool(
        effective_publications(publications_of(ledger, product[0]).get(".".join(product), ()))
    )


def again(what: str, history: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """What an entry that publishes no new rows says; None if it is not possible."""
    standing = effective_publications(history)
    if what == "rollback":
        shown = standing[-2] if len(standing) > 1 else None
    elif what == "unretire":
        shown = history[-1] if history and history[-1]["kind"] == "retire" else None
    else:
        shown = standing[-1] if standing else None
    if shown is None:
        return None
    kept = {name: shown.get(name) for name in ("version", "rows")}
    return {**kept, "kind": what, "publication_id": str(uuid4())}


def step(ledger: Any, what: str, domain: str, chosen: int, at: datetime) -> None:
    """One thing that happens to a domain."""
    names = DOMAINS[domain]
    product = names[chosen % len(names)]
    common = {"domain": domain, "run_id": str(uuid4()), "started_at": at, "finished_at": at}
    if what in ("rollback", "retire", "unretire", "rename"):
        history = publications_of(ledger, domain).get(f"{domain}.{product}", [])
        entry = again(what, history)
        if entry:
            entry = {**common, "product": product, **entry}
            if what == "rename":
                other = OTHERS[chosen % len(OTHERS)]
                entry |= {"renamed_from": f"{domain}.{product}", "domain": other[0],
                          "product": other[1]}  # fmt: skip
                if other == (domain, product) or is_shown(ledger, other):
                    return
            ledger.commit([], {"publications": [entry]})
        return
    if what != "published":
        became = {name: "unchanged" if at_ == chosen else what for at_, name in enumerate(names)}
        ledger.commit([], {"runs": [{**common, "outcome": what, "products": became}]})
        return
    entries: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for name in names[: 1 + chosen % len(names)]:
        promised = {"product": name, "version": chosen % 2}
        publication = str(uuid4())
        entries["publications"].append(
            {**common, **promised, "kind": "publish", "publication_id": publication,
             "rows": chosen, "score": Decimal("99.50"), "contract_hash": f"{name}{chosen % 2}"}
        )  # fmt: skip
        entries["contracts"].append(
            {**common, **promised, "hash": f"{name}{chosen % 2}", "contract": f'"{chosen % 2}"'}
        )
        entries["statistics"].append(
            {**common, "product": name, "publication_id": publication,
             "statistics": {"rows": chosen}}
        )  # fmt: skip
    became = {each["product"]: "published" for each in entries["publications"]}
    run = {**common, "outcome": "published", "products": became}
    ledger.commit([], {**entries, "runs": [run]})


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *OUTCOMES,
                "published",
                "published",
                "rollback",
                "rollback",
                "rename",
                "rename",
                "retire",
                "unretire",
            ]
        ),
        st.sampled_from(sorted(DOMAINS)),
        st.integers(0, 3),
        st.integers(-400, 400),  # hours; a clock may go back
    ),
    max_size=25,
)


def take(ledger: Any, steps: Sequence[tuple[str, str, int, int]]) -> None:
    for what, domain, chosen, hours in steps:
        step(ledger, what, domain, chosen, NOON + timedelta(hours=hours))


@given(STEPS)
@settings(max_examples=300, deadline=None)
def test_heads_kept_by_commits_are_those_of_the_history(steps) -> None:
    ledger = MemoryLedger()
    take(ledger, steps)
    kept = {key: head for key, head in ledger.kept.items() if head != Head(*key)}
    assert kept == from_history(ledger)
    for key, head in kept.items():
        history = publications_of(ledger, key[0]).get(head.relation, [])
        numbers = [each["number"] for each in effective_publications(history)]
        assert head.number == (numbers[-1] if numbers else None)
        assert head.previous == (numbers[-2] if len(numbers) > 1 else None)
        assert head.kind == (history[-1]["kind"] if history else None)
    everything = publications_of(ledger)
    for domain in DOMAINS:
        own = {name: each for name, each in everything.items() if name.partition(".")[0] == domain}
        assert publications_of(ledger, domain) == own
        assert from_history(ledger, domain) == {
            key: head for key, head in kept.items() if key[0] == domain
        }


MOVED_TWICE = [("published", "shop", 0, 0), ("published", "shop", 0, 1), ("rename", "shop", 2, 2),
               ("rename", "crm", 3, 3)]  # fmt: skip
"""shop.orders is called crm.customers, then ops.orders."""


def test_a_product_that_moved_twice_keeps_its_history(tmp_path) -> None:
    ledger = LakeLedger(Lake(tmp_path))
    take(ledger, [*MOVED_TWICE, ("published", "shop", 0, 4), ("rename", "shop", 2, 5)])
    heads = ledger.heads()
    assert (heads["ops.orders"].number, heads["ops.orders"].previous) == (2, 1)
    assert (heads["crm.customers"].number, heads["crm.customers"].previous) == (5, None)
    assert set(heads) == {"ops.orders", "crm.customers"}
    assert publications_of(ledger, "shop") == {}
    assert [each["number"] for each in publications_of(ledger, "ops")["ops.orders"]] == [1, 2, 3, 4]
    take(ledger, [("rollback", "ops", 0, 6)])
    assert ledger.heads()["ops.orders"].number == 1
    assert ledger.stale_heads() == []


def test_a_new_product_with_the_former_name_of_another_has_no_history(tmp_path) -> None:
    ledger = LakeLedger(Lake(tmp_path))
    take(ledger, [*MOVED_TWICE[:3], ("published", "shop", 0, 4)])
    assert ledger.heads()["shop.orders"].previous is None
    assert ledger.stale_heads() == []
    assert [each["number"] for each in publications_of(ledger, "shop")["shop.orders"]] == [4]


@given(STEPS)
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_heads_in_the_lake_are_those_of_the_history(tmp_path, steps) -> None:
    check(LakeLedger(Lake(tmp_path / uuid4().hex)), steps[:8])


LONG = [("published", "shop", 1, 0), ("published", "crm", 0, 1), ("failed", "shop", 0, 2),
        ("published", "shop", 3, 1), ("rollback", "shop", 1, -5), ("unchanged", "shop", 5, -3),
        ("published", "shop", 2, -9), ("rejected", "crm", 5, 0), ("rollback", "shop", 0, 9),
        ("rollback", "shop", 1, 0), ("published", "crm", 2, 0)]  # fmt: skip


def check(ledger: Ledger, steps: Sequence[tuple[str, str, int, int]]) -> None:
    take(ledger, steps)
    kept = {**ledger.heads(), **ledger.last_runs()}
    right = from_history(ledger)
    assert ledger.stale_heads() == []
    assert kept == {head.relation: head for head in right.values()}
    for domain in DOMAINS:
        own = {name: head for name, head in ledger.heads().items() if head.domain == domain}
        assert ledger.heads(domain) == own
    for head in ledger.heads(documents=False).values():
        assert (head.contract, head.statistics) == (None, None)
    hashes = [(each["product"], each["hash"]) for each in ledger.entries("contracts")]
    assert len(hashes) == len({*hashes})
    ledger.rebuild_heads()
    assert {**ledger.heads(), **ledger.last_runs()} == kept


def test_a_long_history_in_the_lake(tmp_path) -> None:
    check(LakeLedger(Lake(tmp_path)), LONG)


@needs_snowflake
def test_a_long_history_in_snowflake(chosen) -> None:
    check(chosen.ledger, LONG)


@needs_snowflake
def test_a_run_of_an_older_version_outdates_the_heads_in_snowflake(chosen, monkeypatch) -> None:
    ledger = chosen.ledger
    take(ledger, LONG[:2])
    assert ledger.heads()["crm.customers"].rows == 0
    with monkeypatch.context() as before:
        before.setattr("meshhouse.engines.snowflake.ledger.domains_of", lambda entries: set())
        take(ledger, [("published", "crm", 1, 4)])
    assert ledger.heads()["crm.customers"].rows == 1
    assert ledger.heads("crm")["crm.customers"].rows == 1
    take(ledger, [("failed", "shop", 5, 5)])
    assert ledger.heads()["crm.customers"].rows == 1
    assert ledger.stale_heads() == []


def test_a_rollback_brings_back_contract_and_statistics(tmp_path) -> None:
    ledger = LakeLedger(Lake(tmp_path))
    take(ledger, [("published", "crm", 0, 0), ("published", "crm", 1, 1)])
    head = ledger.heads("crm")["crm.customers"]
    assert (head.contract, json.loads(head.statistics)) == ('"1"', {"rows": 1})
    take(ledger, [("rollback", "crm", 0, 2)])
    head = ledger.heads("crm")["crm.customers"]
    assert (head.contract, json.loads(head.statistics)) == ('"0"', {"rows": 0})
    assert ledger.contract("customers1") == '"1"'
    assert ledger.contract("unknown") is None


def test_a_lake_of_before_gets_heads_from_its_history(tmp_path, monkeypatch) -> None:
    lake = Lake(tmp_path)
    ledger = LakeLedger(lake)
    with monkeypatch.context() as before:
        before.setattr("meshhouse.lake.ledger.domains_of", lambda entries: set())
        take(ledger, LONG[:5])
    assert lake.state("meshhouse.heads") is None
    assert ledger.heads()["shop.totals"].rolled_back
    assert [head.number for _, head in sorted(ledger.heads("shop").items())] == [4, 1]
    take(ledger, [("unchanged", "crm", 0, 3)])
    assert lake.state("meshhouse.heads") is not None
    assert ledger.stale_heads() == []
    with monkeypatch.context() as before:  # an old version goes on for a while
        before.setattr("meshhouse.lake.ledger.domains_of", lambda entries: set())
        take(ledger, [("published", "crm", 1, 4)])
    assert ledger.heads()["crm.customers"].rows == 1
    take(ledger, [("failed", "shop", 5, 5)])
    assert ledger.stale_heads() == []


def test_an_environment_has_its_own_heads(tmp_path) -> None:
    lake = Lake(tmp_path)
    take(LakeLedger(lake), LONG[:2])
    own = LakeLedger(lake.in_environment("ana"))
    assert own.heads() == {}
    take(own, [("published", "crm", 3, 0)])
    assert {*own.heads()} == {"crm.customers"}
    assert own.production.heads()["crm.customers"].rows == 0


def test_doctor_finds_wrong_heads_and_maintenance_corrects_them(tmp_path) -> None:
    lake = Lake(tmp_path)
    ledger = LakeLedger(lake)
    take(ledger, LONG[:4])
    assert [each.level for each in checked(lake)] == [Level.OK]
    base = lake.state("meshhouse.heads")
    wrong = {("crm", ""): Head("crm", ""), ("crm", "x"): Head("crm", "x", last_run="published")}
    lake.commit([stage_heads(lake, base, wrong, ["crm"], {})])
    found = {each.subject: each for each in checked(lake)}
    assert sorted(found) == ["crm", "crm.customers", "crm.x"]
    assert "mesh maintain" in found["crm.x"].remedy
    said: list[str] = []
    maintain(lake, say=said.append)
    assert said == ["meshhouse.heads: made from the history again, because of crm, crm.customers, "
                    "crm.x"]  # fmt: skip
    assert [each.level for each in checked(lake)] == [Level.OK]


def test_maintenance_replaces_a_damaged_file_of_heads(tmp_path) -> None:
    lake = Lake(tmp_path)
    ledger = LakeLedger(lake)
    take(ledger, LONG[:2])
    before = ledger.heads()
    for task in lake.load("meshhouse.heads").scan().plan_files():
        Path(task.file.file_path.removeprefix("file://")).unlink()
    maintain(lake)
    assert ledger.heads() == before


def checked(lake: Lake) -> list[Finding]:
    return [each for each in health.ledger(lake) if each.subject == "meshhouse.heads"
            or "heads" in each.what]  # fmt: skip


def test_heads_stay_small_and_survive_maintenance(tmp_path) -> None:
    lake = Lake(tmp_path)
    ledger = LakeLedger(lake)
    for at in range(MOST_SNAPSHOTS + 3):
        take(ledger, [("unchanged", ("shop", "crm")[at % 2], 5, at)])
    table = lake.load("meshhouse.heads")
    snapshot = table.current_snapshot()
    assert len(table.metadata.snapshots) <= MOST_SNAPSHOTS
    assert snapshot.summary["total-data-files"] == "2"
    assert len(snapshot.manifests(table.io)) <= 2
    for number in range(12):  # more files than maintenance would leave as they are
        entry = {"domain": f"d{number}", "outcome": "failed", "products": {"x": "failed"}}
        ledger.commit([], {"runs": [entry]})
    before = ledger.heads()
    maintain(lake)
    assert ledger.heads() == before
    table = lake.load("meshhouse.heads")
    assert table.current_snapshot().summary["total-data-files"] == "14"
    take(ledger, [("failed", "crm", 5, 99)])
    assert ledger.heads("shop") == {name: before[name] for name in before if name[:4] == "shop"}
    assert ledger.heads("crm")["crm.customers"].last_run == "failed"
    assert ledger.stale_heads() == []


def test_a_commit_that_loses_a_race_starts_again_from_the_heads_of_the_winner(
    tmp_path, monkeypatch
) -> None:
    lake = Lake(tmp_path)
    first, second = LakeLedger(lake), LakeLedger(lake)
    take(first, LONG[:2])
    original, waiting = LakeLedger._next_number, [("published", "shop", 3, 1)]

    def meanwhile(self: LakeLedger) -> int:
        if self is first and waiting:
            take(second, [waiting.pop()])
        return original(self)

    monkeypatch.setattr(LakeLedger, "_next_number", meanwhile)
    take(first, [("unchanged", "crm", 0, 7), ("unchanged", "shop", 5, 8)])
    assert first.heads()["shop.orders"].rows == 3
    assert first.stale_heads() == []


def test_columns_of_heads_are_the_fields_of_a_head() -> None:
    from dataclasses import fields

    from meshhouse.ledger import HEADS

    assert sorted(name for name, _ in HEADS) == sorted(each.name for each in fields(Head))
    assert "heads" not in LEDGERS  # nothing is appended to it
    assert encoded({})["done_by"]
