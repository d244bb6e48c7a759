"""A reader who joins two products of a domain never sees a mixture of publications."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from meshhouse.lake import Lake
from tests.support import killing

READERS = 2
LOOKS = 5_000
"""Of each reader: ten thousand together."""
LOOKS_PER_PUBLICATION = 200
RIVALS = 40
"""Publications of a second domain meanwhile."""


@pytest.mark.timeout(1800)
def test_ten_thousand_looks_while_products_are_published_over_and_over_are_never_torn(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    os.waitpid(killing.forked(lambda: killing.publish_round(home, 0)), 0)
    ready, looked = os.pipe()
    publisher = killing.forked(lambda: _publish_over_and_over(home, ready))
    # As in `mesh run --jobs 2`: a second domain commits to the same catalog and ledger.
    rival = killing.forked(lambda: killing.publish_over_and_over(home, killing.RIVAL, RIVALS))
    folders = [tmp_path / str(number) for number in range(READERS)]
    try:
        for folder in folders:
            folder.mkdir()
        readers = [
            killing.forked(
                lambda folder=folder: killing.answer(lambda: _look(home, looked), folder)
            )
            for folder in folders
        ]
        assert [os.waitpid(reader, 0)[1] for reader in readers] == [0] * READERS
    finally:
        for each in (publisher, rival):
            os.kill(each, signal.SIGKILL)
            os.waitpid(each, 0)
    for folder in folders:
        seen = killing.answered(folder)
        assert seen["looks"] == LOOKS
        assert seen["torn"] == 0
        assert seen["publications"] > 20


def test_a_connection_keeps_what_it_saw_until_it_is_refreshed(mesh) -> None:
    import meshhouse

    os.waitpid(killing.forked(lambda: killing.publish_round(mesh.home, 1)), 0)
    with meshhouse.connect(mesh.root) as connection:
        os.waitpid(killing.forked(lambda: killing.publish_round(mesh.home, 2)), 0)
        before = connection.execute("select distinct round from shop.orders").fetchall()
        meshhouse.refresh(connection, mesh.root)
        after = connection.execute("select distinct round from shop.orders").fetchall()
    assert (before, after) == ([(1,)], [(2,)])


def test_reading_a_product_opens_no_more_files_however_often_it_was_published(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    for number in range(5):
        os.waitpid(killing.forked(lambda number=number: killing.publish_round(home, number)), 0)
    table = Lake(home).load("shop.orders")
    assert len(table.current_snapshot().manifests(table.io)) <= 2
    assert table.scan().to_arrow()["round"].unique().to_pylist() == [4]


def _publish_over_and_over(home: Path, ready: int) -> None:
    """One publication for every so many looks; the looks go on meanwhile."""
    number = 0
    while os.read(ready, 1):
        number += 1
        killing.publish_round(home, number)


def _look(home: Path, looked: int) -> dict[str, int]:
    """Joins both products again and again, each time as of now."""
    from meshhouse.lake.views import connect_memory, create_views

    lake = Lake(home)
    wanted = {product.relation for product in killing.PRODUCTS}
    torn, rounds, shown = 0, set(), {}
    with connect_memory() as connection:
        for look in range(LOOKS):
            if look % LOOKS_PER_PUBLICATION == 0:
                os.write(looked, b".")
            now = {name: place for name, place in lake.states().items() if name in wanted}
            if now != shown:
                create_views(connection, now)
                shown = now
            mixed, number = connection.execute(
                "select count(*) filter (where orders.round <> order_lines.round), "
                "max(orders.round) from shop.orders join shop.order_lines using (id)"
            ).fetchone()
            torn += mixed > 0
            rounds.add(number)
    return {"looks": LOOKS, "torn": torn, "publications": len(rounds)}
