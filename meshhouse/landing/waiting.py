"""The check whether a topic has events that are not landed yet.

Belongs here: that check, as a pure function of a topic's partitions and the landed offsets. Not
here: reading a topic (events/), or landing its events (land.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshhouse.events.source import Partition


def waiting(
    partitions: Mapping[int, Partition], landed: Mapping[int, int] | None
) -> dict[int, tuple[int, int]]:
    """Returns the partitions that landing must read; empty if there is nothing to land.

    Args:
        partitions: the topic's current partitions.
        landed: next offset of each partition that was landed; None for a table that does not exist.

    Returns:
        Partition -> next offset to land, and end of the partition. The end is smaller than the
        offset if the topic has lost events, which landing reports. For a table that does not exist,
        all partitions are returned, so that landing creates it even if they are empty.
    """
    found = {
        number: (next_offset(number, each, landed or {}), each.end)
        for number, each in partitions.items()
    }
    return {
        number: (start, end)
        for number, (start, end) in found.items()
        if start != end or landed is None
    }


def next_offset(number: int, partition: Partition, landed: Mapping[int, int]) -> int:
    """Returns the next offset to land in a partition.

    If no partition was landed before, landing starts with the first event that the topic still
    holds. A partition that was added later is landed from offset 0.
    """
    return landed.get(number, 0 if landed else partition.begin)


def count(ranges: Mapping[int, tuple[int, int]]) -> int:
    """The number of waiting events, given the result of `waiting`."""
    return sum(max(0, end - start) for start, end in ranges.values())
