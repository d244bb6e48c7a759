"""Which partition an event belongs to, exactly as Kafka's default partitioner decides.

Belongs here: Kafka's murmur2 and its use on a column of keys. Does not: writing.

kafka-python has the same function; importing it costs 0.5 s, and `mesh replay` needs
nothing else of it. The tests hold the two against each other.
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


# 60,000 products recur in each of 53 weeks of promotions.
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
    """The partition of one key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def by_partition(
    events: pa.RecordBatch, partitions: int, nulls_from: int = 0
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Splits `events` by key, each part in the given order; empty parts are left out.

    Events without a key go round: the first to partition `nulls_from % partitions`, the
    next to the one after it, ...
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
    # Wherever Arrow takes a Python value it first imports pandas, if that is installed, to
    # see whether the value is one of its own: 0.5 s or more at the start of a replay.
    numbers = array("i", values)
    return pa.Array.from_buffers(pa.int32(), len(numbers), [None, pa.py_buffer(numbers)])
