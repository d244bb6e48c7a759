"""Small drawings inside pages: the line of past values and the strip of days.

Belongs here: coordinates and the words beside them. Not here: markup (templates/macros.html), or
drawings of lineage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

WIDTH, HEIGHT, EDGE = 160.0, 32.0, 3.0


@dataclass(frozen=True)
class Line:
    """A sparkline."""

    points: str
    """Of an SVG polyline."""
    last: tuple[float, float]


def line(values: Sequence[float | None]) -> Line | None:
    """Past values, oldest first, as a line; None if there are fewer than two."""
    known = [float(each) for each in values if each is not None]
    if len(known) < 2:
        return None
    low, high = min(known), max(known)
    step = (WIDTH - 2 * EDGE) / (len(known) - 1)
    # Equal values are drawn in the middle.
    scale = (HEIGHT - 2 * EDGE) / (high - low) if high > low else 0.0
    base = HEIGHT - EDGE if scale else HEIGHT / 2
    points = [
        (round(EDGE + step * index, 1), round(base - (value - low) * scale, 1))
        for index, value in enumerate(known)
    ]
    return Line(" ".join(f"{x:g},{y:g}" for x, y in points), points[-1])


def days_kept(days: Sequence[tuple[date, str]]) -> str:
    """The strip of a promise in words."""
    measured = [result for _, result in days if result in ("kept", "broken")]
    if not measured:
        return "not measured yet"
    kept = sum(result == "kept" for result in measured)
    unit = "day" if len(measured) == 1 else "days"
    return f"kept on {kept} of {len(measured)} measured {unit}"
