"""What can go wrong with topics, explained.

Belongs here: the failures of `events/` that others catch by name. Does not: wording of
failures that nobody tells apart (those are plain `MeshError`s where they happen).
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
            "Correct the name, or create the topic (`mesh replay` creates the demo's)."
        )
        self.topic = topic


class SourceAway(MeshError):
    """The source does not answer just now; its clients go on trying by themselves."""


class CorruptSegment(MeshError):
    """Stored events cannot be read back as they were written."""

    def __init__(self, path: Path, position: int, problem: str) -> None:
        super().__init__(
            f"{path} is damaged at byte {position}: {problem}. Restore the file from a copy; or, "
            f"if it is the newest segment of its folder, cut the damage off with "
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
            f"only {stored} of its events: those between would be lost. Nothing was written; "
            f"start again from event number {stored} (`next_sequence`)."
        )
        self.stored = stored
        self.offered = offered


class OffsetOutOfRange(MeshError):
    """A reader asks for offsets that the partition does not hold."""

    def __init__(self, place: str, asked: tuple[int, int], held: tuple[int, int]) -> None:
        super().__init__(
            f"Offsets {asked[0]} to {asked[1]} of {place} are asked for, but it holds "
            f"{held[0]} to {held[1]}. If the topic was cut or restored from an older copy, "
            "write its missing events again before reading on."
        )
        self.asked = asked
        self.held = held


class LogUnavailable(MeshError):
    """The operating system refuses to read or write the event log."""


@contextmanager
def explained(action: str, path: Path, remedy: str) -> Iterator[None]:
    """Turns an `OSError` inside the block into one line: what, where, why, and `remedy`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise LogUnavailable(f"Cannot {action} {path}: {reason}. {remedy}") from error
