"""Receives what a run does, besides Dagster's log.

Belongs here: what steps report. Not here: what a person sees of it (cli/run.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from meshhouse.repository import RawTable

if TYPE_CHECKING:
    from meshhouse.landing import Landing
    from meshhouse.runs.outcome import DomainRun


class Reporter(Protocol):
    """Receives what a run does, besides Dagster's log."""

    only_in_dagster: bool
    """Whether people watch the run in Dagster, whose log then gets all that dbt says."""
    force: bool
    full_refresh: bool
    confirmed: str
    """Why every silent change of the run is meant; empty if nobody said so."""

    def landing(self, raw: RawTable) -> Any:
        """Called when a raw table is about to be landed; returns a progress callback."""
        ...

    def landed(self, landing: Landing) -> None:
        """Called when a raw table was landed."""
        ...

    def say(self, line: str) -> None:
        """Called with what a domain is doing."""
        ...

    def finished(self, run: DomainRun) -> None:
        """Called when a domain's run ended, well or not."""
        ...

    def failed(self, domain: str, message: str) -> None:
        """Called when landing or preparing a domain failed."""
        ...


class Silent:
    """A reporter for runs that only Dagster watches."""

    only_in_dagster = True
    force = False
    full_refresh = False
    confirmed = ""

    def landing(self, raw: RawTable) -> Any:  # noqa: D102
        return lambda events: None

    def landed(self, landing: Landing) -> None: ...  # noqa: D102
    def say(self, line: str) -> None: ...  # noqa: D102
    def finished(self, run: DomainRun) -> None: ...  # noqa: D102
    def failed(self, domain: str, message: str) -> None: ...  # noqa: D102
