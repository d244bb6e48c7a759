"""How long files of tests take: the longest begin first, and `make test-fast` leaves them out.

Belongs here: the record, in seconds of one processor. Not here: what else leaves a test out of
`make test-fast` (conftest.py). A file that is not listed takes less than 10 s. `make test` ends
with the ten slowest tests; a file that appears there and is not listed here should be added.
"""

from __future__ import annotations

from pathlib import Path

_TESTS = Path(__file__).parents[1]
_SLOW = 15
_ESSENTIAL = {
    "runs/test_journey.py",
}
"""Files that `make test-fast` runs though they take long: the main story of a mesh."""
_SECONDS = {
    "journeys/test_retail.py": 300,
    "landing/test_chaos.py": 200,
}


def seconds(file: Path) -> int:
    """How long the tests of a file take together; 0 where it is not recorded."""
    return _SECONDS.get(_name(file), 0)


def is_slow(file: Path) -> bool:
    """Whether `make test-fast` leaves a file out for its length."""
    return seconds(file) > _SLOW and _name(file) not in _ESSENTIAL


def _name(file: Path) -> str:
    return file.relative_to(_TESTS).as_posix() if file.is_relative_to(_TESTS) else ""
