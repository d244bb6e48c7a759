"""The frame: consecutive events as they are stored in a segment file.

Belongs here: writing and verifying the bytes of a frame. Not here: files and offsets (segment.py),
or who may write (partition.py).

A segment file consists of frames, one after another, without gaps:

    prefix   28 bytes, little endian
             magic            4  b"MHF1"
             header length    4  unsigned
             payload length   8  unsigned
             header CRC-32    4
             payload CRC-32   4
             prefix CRC-32    4  of the 24 bytes before it
    header   JSON object, UTF-8
             base_offset      offset of the first event
             count            number of events
             producer         name of the program that wrote them
             sequence         how many events this producer had written to the partition before
             first_timestamp  of the first event, milliseconds since 1970, UTC
             last_timestamp   of the last event
             producers        only in the first frame of a segment: every producer of earlier
                              segments -> [events written, last timestamp], so that the position
                              of a producer is known without reading old segments
    payload  Arrow IPC stream, zstd unless small: one batch of timestamp, key, value, headers

Three checksums, because they answer different questions. A frame that the end of the file cuts off
was torn by a crash and was never part of the log; the prefix's checksum tells it from a frame with
a damaged length. The header's checksum makes end offsets and producer positions reliable without
reading payloads.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from zlib import crc32

import pyarrow as pa

from meshhouse.events.batches import STORED_SCHEMA
from meshhouse.events.errors import CorruptSegment

MAGIC = b"MHF1"
_PREFIX = Struct("<4sIQII")
_CHECK = Struct("<I")
PREFIX_SIZE = _PREFIX.size + _CHECK.size
_WINDOW = 4096
# Starting zstd and threads takes 0.5 ms per frame, longer than writing a small frame.
_WORTH_COMPRESSING = 4096
_ONE_THREAD = pa.ipc.IpcReadOptions(use_threads=False)


@dataclass(frozen=True)
class Position:
    """A producer's position in a partition."""

    next_sequence: int = 0
    last_timestamp: int | None = None
    """Timestamp of the producer's last event there, milliseconds since 1970, UTC."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame's position in its file, and the fields of its header."""

    position: int
    payload_at: int
    end: int
    payload_crc: int
    base_offset: int
    count: int
    producer: str
    sequence: int
    last_timestamp: int
    producers: Mapping[str, tuple[int, int]] | None


def encode(
    events: pa.RecordBatch,
    base_offset: int,
    producer: str,
    sequence: int,
    producers: Mapping[str, Position] | None,
) -> bytes:
    """The bytes of one frame; `events` is a non-empty batch of `STORED_SCHEMA`."""
    sink = pa.BufferOutputStream()
    codec = pa.Codec("zstd", 1) if events.nbytes >= _WORTH_COMPRESSING else None
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with pa.ipc.new_stream(sink, STORED_SCHEMA, options=options) as writer:
        writer.write_batch(events)
    payload = sink.getvalue()
    fields: dict[str, object] = {
        "base_offset": base_offset,
        "count": events.num_rows,
        "producer": producer,
        "sequence": sequence,
        "first_timestamp": events.column("timestamp")[0].value,
        "last_timestamp": events.column("timestamp")[-1].value,
    }
    if producers is not None:
        fields["producers"] = {
            name: (reached.next_sequence, reached.last_timestamp)
            for name, reached in producers.items()
        }
    header = json.dumps(fields, separators=(",", ":")).encode()
    prefix = _PREFIX.pack(MAGIC, len(header), payload.size, crc32(header), crc32(payload))
    return b"".join([prefix, _CHECK.pack(crc32(prefix)), header, payload])


def scan(descriptor: int, path: Path, position: int, size: int) -> Iterator[Frame]:
    """Complete frames from `position` to the file's `size`, without reading payloads.

    Raises:
        CorruptSegment: the bytes are neither a frame nor the beginning of a frame.
    """
    at, window = position, b""
    while position + PREFIX_SIZE <= size:
        if position + PREFIX_SIZE > at + len(window):
            at, window = position, os.pread(descriptor, _WINDOW, position)
        prefix = window[position - at : position - at + PREFIX_SIZE]
        if len(prefix) < PREFIX_SIZE:
            return
        magic, header_size, payload_size, header_crc, payload_crc = _PREFIX.unpack_from(prefix)
        if magic != MAGIC or _CHECK.unpack_from(prefix, _PREFIX.size)[0] != crc32(
            prefix[: _PREFIX.size]
        ):
            raise CorruptSegment(path, position, "no frame begins here")
        header_at = position + PREFIX_SIZE
        payload_at = header_at + header_size
        end = payload_at + payload_size
        if end > size:
            return
        if payload_at > at + len(window):
            at, window = position, os.pread(descriptor, PREFIX_SIZE + header_size, position)
        header = window[header_at - at : payload_at - at]
        if crc32(header) != header_crc:
            raise CorruptSegment(path, position, "the frame's header fails its checksum")
        fields = json.loads(header)
        yield Frame(
            position=position,
            payload_at=payload_at,
            end=end,
            payload_crc=payload_crc,
            base_offset=fields["base_offset"],
            count=fields["count"],
            producer=fields["producer"],
            sequence=fields["sequence"],
            last_timestamp=fields["last_timestamp"],
            producers=fields.get("producers"),
        )
        position = end


def load(descriptor: int, path: Path, frame: Frame) -> pa.RecordBatch:
    """The events of a frame.

    Raises:
        CorruptSegment: the events are damaged.
    """
    payload = os.pread(descriptor, frame.end - frame.payload_at, frame.payload_at)
    if crc32(payload) != frame.payload_crc:
        raise CorruptSegment(path, frame.position, "the frame's events fail their checksum")
    with pa.ipc.open_stream(payload, options=_ONE_THREAD) as reader:
        return reader.read_next_batch()
