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
    rule: str = ""
    """The policy that it breaks; empty if it breaks none."""
    is_warning: bool = False
    """Printed, without an effect on the exit code or on runs."""

    def __str__(self) -> str:
        warning = "warning: " if self.is_warning else ""
        remedy = f" {self.remedy}" if self.remedy else ""
        rule = f" [{self.rule}]" if self.rule else ""
        text = printable(warning + self.problem + remedy + rule)
        return f"{display_path(self.path)}:{self.line}: {text}"
