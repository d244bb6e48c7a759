"""The partition of an event, exactly as Kafka's default partitioner chooses it.

Belongs here: Kafka's murmur2, and applying it to a column of keys. Not here: writing events
(partition.py).

kafka-python has the same function, but importing it takes 0.5 s, and `mesh replay` needs nothing
else from it. A test compares the two.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import repeat
from struct import iter_unpack

import pyarrow as pa
import pyarrow.compute as pc

_MASK = 0xFFFFFFFF
_M = 0x5BD1E995


# The demo's promotions have 60,000 keys that recur in each of 53 weeks.
@lru_cache(maxsize=131_072)
def murmur2(key: bytes) -> int:
    """Kafka's hash of a key (`org.apache.kafka.common.utils.Utils.murmur2`), unsigned."""
    size = len(key)
    whole = size & ~3
    mixed = 0x9747B28C ^ size
    for (word,) in iter_unpack("<I", key[:whole]):
        word = (word * _M) & _MASK
        word = ((word ^ (word >> 24)) * _M) & _MASK
        mixed = ((mixed * _M) & _MASK) ^ word
    if size > whole:
        mixed = ((mixed ^ int.from_bytes(key[whole:], "little")) * _M) & _MASK
    mixed = ((mixed ^ (mixed >> 13)) * _M) & _MASK
    return mixed ^ (mixed >> 15)


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def by_partition(
    events: pa.RecordBatch, partitions: int, nulls_from: int = 0
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Splits `events` by partition, in their order; partitions without events are left out.

    Events without a key are distributed in rotation: the first goes to partition
    `nulls_from % partitions`, the second to the next partition, and so on.
    """
    if partitions == 1:
        if events.num_rows:
            yield 0, events
        return
    keys = events.column("key").dictionary_encode()
    owners = _numbers(partition_of(key, partitions) for key in keys.dictionary.to_pylist())
    chosen = owners.take(keys.indices)
    if chosen.null_count:
        turns = _numbers((nulls_from + turn) % partitions for turn in range(chosen.null_count))
        chosen = pc.replace_with_mask(chosen, pc.is_null(chosen), turns)
    for partition in range(partitions):
        this = _numbers(repeat(partition, len(chosen)))
        part = events.filter(pc.equal(chosen, this))
        if part.num_rows:
            yield partition, part


def _numbers(values: Iterable[int]) -> pa.Array:
    # Arrow imports pandas, if it is installed, at the first conversion of Python values, to check
    # for pandas' types: 0.5 s or more at the start of a replay.
    numbers = array("i", values)
    return pa.Array.from_buffers(pa.int32(), len(numbers), [None, pa.py_buffer(numbers)])
