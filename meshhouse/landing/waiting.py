"""Do events wait?

Belongs here: the answer, as one pure function over the partitions of a topic and the offsets that
were landed. Not here: asking a topic (events/), or what landing does about it (land.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from meshhouse.events.source import Partition


def waiting(
    partitions: Mapping[int, Partition], landed: Mapping[int, int] | None
) -> dict[int, tuple[int, int]]:
    """Where landing has something to do; empty where it has nothing to do.

    Args:
        partitions: of the topic, as they are now.
        landed: next offset of each partition that was landed; None for a table that does not exist.

    Returns:
        Partition -> next offset to land and end of the partition. The end is smaller where the
        topic has lost events, which landing reports. A table that does not exist is made from
        every partition, empty or not.
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
    """Where landing goes on in a partition.

    Where no partition was landed, landing begins with the first event that the topic still holds.
    A partition that was added later is landed from 0, the first offset of every partition.
    """
    return landed.get(number, 0 if landed else partition.begin)


def count(ranges: Mapping[int, tuple[int, int]]) -> int:
    """How many events wait, given the result of `waiting`."""
    return sum(max(0, end - start) for start, end in ranges.values())
