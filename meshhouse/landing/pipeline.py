"""Reading, decoding and writing at once.

Belongs here: batches are decoded ahead by two threads and committed behind by one, while
the caller reads on; memory is bounded by what may wait between them. Does not: where
batches come from, or when to commit.
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
"""Event values decoded at once by one core."""
COMMIT_BYTES = 32 * 1024 * 1024
"""Decoded rows per commit: bounds memory, and the size of files from below."""
_DECODERS = 2
_AHEAD = 4
_UNSTAMPED = datetime(1970, 1, 1, tzinfo=UTC)


class _Interpreter:
    """Settings of the interpreter while pipelines are at work, in whatever thread.

    Clients make a few objects an event, none of them in a cycle. To look through them
    every 700 took a third of all CPU time of landing with confluent-kafka. And a decoder
    needs the interpreter lock about 60 times per batch, briefly each time: to wait 5 ms for
    each, while the client holds it, would take three times as long as to decode.
    """

    _COLLECT_AFTER = (200_000, 50, 100)
    _SWITCH_SECONDS = 0.0005

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pipelines = 0
        self._before = gc.get_threshold(), sys.getswitchinterval()

    def enter(self) -> None:
        """One more pipeline is at work."""
        with self._lock:
            if not self._pipelines:
                self._before = gc.get_threshold(), sys.getswitchinterval()
                gc.set_threshold(*self._COLLECT_AFTER)
                sys.setswitchinterval(self._SWITCH_SECONDS)
            self._pipelines += 1

    def leave(self) -> None:
        """One pipeline fewer."""
        with self._lock:
            self._pipelines -= 1
            if not self._pipelines:
                threshold, interval = self._before
                gc.set_threshold(*threshold)
                sys.setswitchinterval(interval)


_INTERPRETER = _Interpreter()

OnCommit = Callable[[Pending, Committed], None]


class Pipeline:
    """From batches of events to commits of one raw table, in order."""

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
        self._writer.shutdown()  # a commit is never left half way

    @property
    def waiting_events(self) -> int:
        """Events that were read and are not committed yet."""
        decoding = sum(batch.events.num_rows for _, batch, _ in self._decoding)
        return self._pending.events + decoding

    def begin(self, positions: Mapping[int, int]) -> None:
        """Says where partitions stand before their first batch."""
        self._positions.update(positions)

    def add(self, batch: EventBatch) -> None:
        """Takes a batch that goes on where the last one of its partition ended."""
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
        """Starts to commit everything that was added; does not wait for the disk."""
        while self._decoding:
            self._take()
        if self._pending.offsets:
            self._submit()

    def settle(self) -> None:
        """Reports a commit that is done, if there is one; never waits.

        Raises:
            MeshError: it failed.
        """
        if self._committing is not None and self._committing[1].done():
            self._finish()

    def drain(self) -> None:
        """Commits everything that was added and waits until it is."""
        self.flush()
        self._finish()

    def abandon(self) -> None:
        """Forgets what was added and not committed; it will be read again."""
        for _, _, future in self._decoding:
            future.cancel()
        self._decoding.clear()
        self._pending = Pending()
        self._positions.clear()
        committing, self._committing = self._committing, None
        if committing is not None:
            committing[1].exception()  # waits; what became of it, the table says

    def _decode(self, batch: EventBatch) -> Decoded:
        import pyarrow as pa

        if not hasattr(self._local, "decoder"):
            self._local.decoder = Decoder(self._raw)
        events = pa.Table.from_batches([batch.events])
        # The commit knows the time; see RawTarget.
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
