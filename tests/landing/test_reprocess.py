"""Reprocessing replaces the rows of events by their rows under the current declaration."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from meshhouse.errors import MeshError, UsageError
from meshhouse.events import EventLog
from meshhouse.lake import Lake
from meshhouse.landing import LakeStore
from meshhouse.landing.land import land
from meshhouse.landing.reprocess import reprocess, starts_from
from meshhouse.repository import Column
from tests.support.landing_place import RAW, Place


@pytest.fixture
def place(tmp_path) -> Place:
    log = EventLog(tmp_path / "events")
    log.create_topic(RAW.topic, 2)
    return Place(log, Lake(tmp_path))


def offsets(place: Place, table: str = "sales") -> list[tuple[int, int]]:
    return place.select("_topic_partition, _offset", table)


def test_rows_are_replaced_in_their_place_and_no_other(place):
    place.sell(*range(50))
    place.land(commit_bytes=1_000)
    before = offsets(place)
    place.sell(*range(50, 60))
    place.land()
    grown = offsets(place)
    untouched = place.select("_topic_partition, _offset, _landed_at")

    done = reprocess(place.log, place.lake, RAW, {0: 10, 1: 10})

    assert offsets(place) == grown
    assert place.ids() == list(range(60))
    assert len(before) < len(grown)
    assert done.rows == done.replaced == sum(offset >= 10 for _, offset in grown)
    now = place.select("_topic_partition, _offset, _landed_at")
    newest = max(each[2] for each in untouched)
    assert all((at > newest) == (offset >= 10) for _, offset, at in now)


def test_what_was_rejected_by_an_older_declaration_becomes_rows(place):
    strict = replace(RAW, columns=(*RAW.columns, Column("store", "bigint", required=True)))
    place.sell(*range(20))
    land(place.log, LakeStore(place.lake), strict)
    assert len(offsets(place, "sales__rejected")) == 20
    loose = replace(RAW, columns=(*RAW.columns, Column("store", "bigint")))
    done = reprocess(place.log, place.lake, loose, {0: 0, 1: 0})
    assert (done.rows, done.rejected, done.replaced) == (20, 0, 20)
    assert place.ids() == list(range(20))
    assert offsets(place, "sales__rejected") == []


def test_landing_goes_on_behind_it(place):
    place.sell(*range(20))
    place.land()
    reprocess(place.log, place.lake, RAW, {0: 0, 1: 0})
    place.sell(*range(20, 30))
    assert place.land().rows == 10
    assert place.ids() == list(range(30))


def test_a_lander_that_commits_meanwhile_loses_nothing(place, monkeypatch):
    place.sell(*range(20))
    place.land()
    commit, calls = place.lake.commit, []

    def late(changes, keep=()):
        if not calls:
            calls.append(1)
            place.sell(*range(20, 30))
            # As if the other lander were on another machine, where it has another lock.
            other = Lake(place.lake.warehouse.parent)
            other.warehouse = place.lake.warehouse
            monkeypatch.setattr("meshhouse.landing.lake_table.advisory_lock", _no_lock)
            land(place.log, LakeStore(other), RAW)
        return commit(changes, keep)

    monkeypatch.setattr(place.lake, "commit", late)
    reprocess(place.log, place.lake, RAW, {0: 0, 1: 0})
    assert place.ids() == list(range(30))


def test_a_start_is_an_offset_or_a_time(place):
    place.log.append_events(
        RAW.topic,
        [(b"k", b"{}", millis, []) for millis in (1_500_000_000_000, 1_500_000_060_000)],
        "test",
    )
    [partition] = [
        number for number, each in place.log.describe(RAW.topic).partitions.items() if each.end
    ]
    assert starts_from(place.log, RAW, "7") == {0: 7, 1: 7}
    later = datetime.fromtimestamp(1_500_000_001, UTC)
    assert starts_from(place.log, RAW, later.isoformat())[partition] == 1
    assert starts_from(place.log, RAW, "2017-01-01")[partition] == 0
    with pytest.raises(UsageError, match="`yesterday` is neither an offset nor a time"):
        starts_from(place.log, RAW, "yesterday")


def test_a_table_that_was_never_landed_has_nothing_to_land_again(place):
    with pytest.raises(UsageError, match=r"shop_raw\.sales was never landed: run `mesh land"):
        reprocess(place.log, place.lake, RAW, {0: 0})


def test_another_topic_of_the_same_name_is_refused(place, tmp_path):
    place.sell(1)
    place.land()
    other = EventLog(tmp_path / "other")
    other.create_topic(RAW.topic, 2)
    with pytest.raises(MeshError, match="is not the one that"):
        reprocess(other, place.lake, RAW, {0: 0})


class _no_lock:  # noqa: N801
    def __init__(self, *_: object) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...
