"""Errors of topics and of the event log.

Belongs here: errors of `events/` that other modules catch by name. Not here: errors that no module
catches by name; they are plain `MeshError`s where they are raised.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from meshhouse.errors import MeshError, UsageError


class UnknownTopic(UsageError):
    """The source has no such topic."""

    def __init__(self, topic: str, known: Sequence[str], place: str) -> None:
        held = f"It holds: {', '.join(known)}." if known else "It holds no topic yet."
        super().__init__(
            f"There is no topic `{topic}` in {place}. {held} "
            f"Correct the name, or create the topic: `mesh topic create {topic}`."
        )
        self.topic = topic


class SourceAway(MeshError):
    """The source does not answer now; its clients retry by themselves."""


class CorruptSegment(MeshError):
    """Stored events are damaged."""

    def __init__(self, path: Path, position: int, problem: str) -> None:
        super().__init__(
            f"{path} is damaged at byte {position}: {problem}. Restore the file from a copy; or, "
            f"if it is the newest segment of its folder, cut off the damage with "
            f"`truncate -s {position} '{path}'` and write the events after it again "
            "(`mesh replay` does so for the demo's topics)."
        )
        self.path = path
        self.position = position


class SequenceGap(MeshError):
    """A producer skipped events that the log never received."""

    def __init__(self, place: str, producer: str, stored: int, offered: int) -> None:
        super().__init__(
            f"Producer `{producer}` offers its event number {offered} to {place}, which holds "
            f"only {stored} of its events: the events between would be lost. Nothing was written. "
            f"Start again from event number {stored} (`next_sequence`)."
        )
        self.stored = stored
        self.offered = offered


class OffsetOutOfRange(MeshError):
    """A reader requests offsets that the partition does not hold."""

    def __init__(self, place: str, asked: tuple[int, int], held: tuple[int, int]) -> None:
        super().__init__(
            f"Offsets {asked[0]} to {asked[1]} of {place} are requested, but it holds "
            f"{held[0]} to {held[1]}. If the topic was cut or restored from an older copy, "
            "write its missing events again first."
        )
        self.asked = asked
        self.held = held


class LogUnavailable(MeshError):
    """The operating system refuses to read or write the event log."""


@contextmanager
def explained(action: str, path: Path, remedy: str) -> Iterator[None]:
    """Turns an `OSError` in the block into a message of one line that ends with `remedy`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise LogUnavailable(f"Cannot {action} {path}: {reason}. {remedy}") from error
