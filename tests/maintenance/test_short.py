"""Products and raw tables stay short by themselves, and keep what is promised."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from meshhouse.engines.duckdb.engine import DuckDBEngine
from meshhouse.lake import Lake
from meshhouse.lake.ledger import LakeLedger
from meshhouse.lake.time_travel import as_of
from meshhouse.lake.views import connect_memory, create_views
from meshhouse.maintenance import keep_short
from meshhouse.maintenance.expiry import KEPT_PUBLICATIONS
from meshhouse.maintenance.short import LONG
from tests.support import killing

ORDERS = "shop.orders"
NAMES = [each.relation for each in killing.PRODUCTS]


def rounds(state: str) -> list[int]:
    with closing(connect_memory()) as connection:
        create_views(connection, {ORDERS: state})
        rows = connection.execute(f"select distinct round from {ORDERS}").fetchall()
    return [number for (number,) in rows]


def test_sixty_publications_stay_short_and_keep_what_a_rollback_needs(tmp_path: Path) -> None:
    home = tmp_path / "home"
    lake, sizes, shortened = Lake(home), [], []
    for number in range(60):
        killing.publish_round(home, number)
        if number == 10:
            began_with = lake.state(ORDERS) or ""
        shortened += keep_short(lake, NAMES)
        state = lake.state(ORDERS) or ""
        sizes.append(Path(state.removeprefix("file://")).stat().st_size)
        assert len(lake.load(ORDERS).metadata.snapshots) <= LONG
    assert set(shortened) == set(NAMES)
    assert len(shortened) <= 2 * 4  # now and then, not at each publication
    assert max(sizes[40:]) <= 1.2 * max(sizes[:40])
    assert rounds(began_with) == [10]  # files stay for a day

    entries = [each for each in LakeLedger(lake).entries("publications")
               if each["product"] == "orders"]  # fmt: skip
    assert len(entries) == 60
    engine = DuckDBEngine(killing._Home(home))
    for number, entry in list(enumerate(entries))[-KEPT_PUBLICATIONS:]:
        wanted = entry["snapshot_id"]
        assert rounds(as_of(state, wanted, tmp_path / "earlier")) == [number]
        assert rounds(engine.restore(killing.PRODUCTS[0], wanted).state) == [number]


def test_a_table_that_a_run_or_a_backup_uses_is_left_to_the_next_call(tmp_path: Path) -> None:
    from meshhouse.locks import lock

    home = tmp_path / "home"
    for number in range(LONG):
        killing.publish_round(home, number)
    lake = Lake(home)
    for name in ("maintain", "shop.run"):
        with lock(lake.locks / name):
            assert keep_short(lake, NAMES) == []
    assert keep_short(lake, [*NAMES, "shop.unknown"]) == sorted(NAMES)
    assert keep_short(lake, NAMES) == []
