"""One finding of `mesh check`: the place, the problem and the remedy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from meshhouse.repository import display_path, printable


@dataclass(frozen=True, order=True)
class Finding:
    """A place in the repository that needs a change."""

    path: Path
    line: int
    problem: str
    remedy: str

    def __str__(self) -> str:
        remedy = f" {self.remedy}" if self.remedy else ""
        return f"{display_path(self.path)}:{self.line}: {printable(self.problem + remedy)}"
