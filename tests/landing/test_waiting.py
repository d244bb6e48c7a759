"""Do events wait? All commands get the same answer."""

from __future__ import annotations

import pytest

from meshhouse.events.source import Partition
from meshhouse.landing.waiting import count, waiting


@pytest.mark.parametrize(
    ("partition", "landed", "ranges", "events"),
    [
        pytest.param((0, 10), {0: 4}, {0: (4, 10)}, 6, id="some are not landed"),
        pytest.param((0, 10), {0: 10}, {}, 0, id="all are landed"),
        pytest.param((10, 10), {0: 10}, {}, 0, id="all are landed and removed"),
        pytest.param((100, 100), {}, {}, 0, id="retention emptied it, nothing was landed"),
        pytest.param((100, 120), {}, {0: (100, 120)}, 20, id="retention removed the first ones"),
        pytest.param((100, 120), {0: 50}, {0: (50, 120)}, 70, id="some were removed unlanded"),
        pytest.param((100, 100), {1: 7}, {0: (0, 100)}, 100, id="added later and emptied"),
        pytest.param((0, 0), {1: 7}, {}, 0, id="added later and empty"),
        pytest.param((0, 5), {1: 7}, {0: (0, 5)}, 5, id="added later"),
        pytest.param((0, 5), {0: 9}, {0: (9, 5)}, 0, id="the topic lost events"),
        pytest.param((0, 0), None, {0: (0, 0)}, 0, id="no table, empty topic"),
        pytest.param((3, 10), None, {0: (3, 10)}, 7, id="no table"),
    ],
)
def test_waiting(partition, landed, ranges, events):
    found = waiting({0: Partition(*partition)}, landed)
    assert found == ranges
    assert count(found) == events
