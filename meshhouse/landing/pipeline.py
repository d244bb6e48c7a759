"""A pipeline that reads, decodes and commits at the same time.

Belongs here: two threads that decode batches and one that commits them, while the caller reads the
next; a limit on waiting batches bounds memory. Not here: reading batches (land.py, follow.py), or
when a continuous landing commits (follow.py).
"""

from __future__ import annotations

import gc
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from types import TracebackType

from meshhouse.events.source import EventBatch
from meshhouse.landing.decode import Decoded, Decoder
from meshhouse.landing.pending import Committed, Pending
from meshhouse.landing.target import RawTarget
from meshhouse.repository import RawTable

BATCH_BYTES = 8 * 1024 * 1024
"""Size of the event values in one batch, which one core decodes."""
COMMIT_BYTES = 32 * 1024 * 1024
"""Size of decoded rows per commit: large enough for useful files, small enough for memory."""
_DECODERS = 2
_AHEAD = 4
_UNSTAMPED = datetime(1970, 1, 1, tzinfo=UTC)


class _Interpreter:
    """Settings of the Python interpreter while at least one pipeline runs, in any thread.

    Garbage collection: clients create a few objects per event, none of them in a cycle. Python's
    default, a collection every 700 objects, took a third of the CPU time of landing with
    confluent-kafka. Switch interval: a decoder needs the interpreter lock about 60 times per batch,
    each time briefly. Waiting Python's default of 5 ms each time, while the client holds the lock,
    would take three times as long as decoding.
    """

    _COLLECT_AFTER = (200_000, 50, 100)
    _SWITCH_SECONDS = 0.0005

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pipelines = 0
        self._before = gc.get_threshold(), sys.getswitchinterval()

    def enter(self) -> None:
        """Counts a pipeline that starts; the first one changes the settings."""
        with self._lock:
            if not self._pipelines:
                self._before = gc.get_threshold(), sys.getswitchinterval()
                gc.set_threshold(*self._COLLECT_AFTER)
                sys.setswitchinterval(self._SWITCH_SECONDS)
            self._pipelines += 1

    def leave(self) -> None:
        """Counts a pipeline that ends; the last one restores the settings."""
        with self._lock:
            self._pipelines -= 1
            if not self._pipelines:
                threshold, interval = self._before
                gc.set_threshold(*threshold)
                sys.setswitchinterval(interval)


_INTERPRETER = _Interpreter()

OnCommit = Callable[[Pending, Committed], None]


class Pipeline:
    """Decodes batches of events and commits them to one raw table, in order."""

    def __init__(
        self,
        raw: RawTable,
        target: RawTarget,
        on_commit: OnCommit,
        commit_bytes: int = COMMIT_BYTES,
    ) -> None:
        """`on_commit` is called in the caller's thread, in the order of commits."""
        self._raw = raw
        self._target = target
        self._on_commit = on_commit
        self._commit_bytes = commit_bytes
        self._positions: dict[int, int] = {}
        self._pending = Pending()
        self._decoding: deque[tuple[int, EventBatch, Future[Decoded]]] = deque()
        self._committing: tuple[Pending, Future[Committed]] | None = None
        self._decoders = ThreadPoolExecutor(_DECODERS, thread_name_prefix="decode")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._local = threading.local()

    def __enter__(self) -> Pipeline:
        _INTERPRETER.enter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _INTERPRETER.leave()
        self._decoders.shutdown(cancel_futures=True)
        self._writer.shutdown()  # waits for a running commit

    @property
    def waiting_events(self) -> int:
        """Number of events that were added and are not committed yet."""
        decoding = sum(batch.events.num_rows for _, batch, _ in self._decoding)
        return self._pending.events + decoding

    def begin(self, positions: Mapping[int, int]) -> None:
        """Sets the offsets of partitions before their first batch."""
        self._positions.update(positions)

    def add(self, batch: EventBatch) -> None:
        """Adds a batch that continues the previous one of its partition."""
        start = self._positions[batch.partition]
        if batch.next_offset <= start:
            return
        self._positions[batch.partition] = batch.next_offset
        self._decoding.append((start, batch, self._decoders.submit(self._decode, batch)))
        while self._decoding and (len(self._decoding) >= _AHEAD or self._decoding[0][2].done()):
            self._take()
            if self._pending.bytes >= self._commit_bytes:
                self._submit()

    def flush(self) -> None:
        """Starts a commit of all added batches; does not wait until it is written."""
        while self._decoding:
            self._take()
        if self._pending.offsets:
            self._submit()

    def settle(self) -> None:
        """Reports a finished commit, if there is one; never waits.

        Raises:
            MeshError: the commit failed.
        """
        if self._committing is not None and self._committing[1].done():
            self._finish()

    def drain(self) -> None:
        """Commits all added batches and waits for the commit."""
        self.flush()
        self._finish()

    def abandon(self) -> None:
        """Drops the batches that are not committed; the caller reads them again."""
        for _, _, future in self._decoding:
            future.cancel()
        self._decoding.clear()
        self._pending = Pending()
        self._positions.clear()
        committing, self._committing = self._committing, None
        if committing is not None:
            committing[1].exception()  # only waits: the table's offsets show whether it succeeded

    def _decode(self, batch: EventBatch) -> Decoded:
        import pyarrow as pa

        if not hasattr(self._local, "decoder"):
            self._local.decoder = Decoder(self._raw)
        events = pa.Table.from_batches([batch.events])
        # The commit sets the time; see `stamped`.
        return self._local.decoder.decode(batch.partition, events, _UNSTAMPED)

    def _take(self) -> None:
        start, batch, future = self._decoding.popleft()
        self._pending.add(start, batch, future.result())

    def _submit(self) -> None:
        self._finish()
        pending, self._pending = self._pending, Pending()
        self._committing = pending, self._writer.submit(self._target.commit, pending)

    def _finish(self) -> None:
        if self._committing is not None:
            pending, future = self._committing
            self._committing = None
            self._on_commit(pending, future.result())
