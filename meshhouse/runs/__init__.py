"""Runs: what a run is about, what it does, and what consumers see after it.

Where to look: selection.py turns names into domains and products. domain_plan.py finds out what is
known of a domain, plan.py decides from it what is built and why, forecast.py does both for
`mesh run --dry-run`. run.py has the steps of one domain's run, outcome.py what came of them,
publication.py the publication and rollback, history.py what the ledger says of earlier ones.
parse.py keeps manifests fresh, build_state.py and code_notes.py remember earlier builds,
status.py is for `mesh status`. gate.py judges candidates by what is published. diff.py, row_diff.py
and two_states.py are for `mesh diff`, published_check.py for `mesh check`.

Not here: landing events (landing/), what a check means (audit/), or Dagster's assets (dagster/).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meshhouse.runs.run import run_domain

__all__ = ["run_domain"]


def __getattr__(name: str) -> Any:
    """Loads `run_domain` at its first use: dbt's plugin needs build_state.py alone, in 0.02 s."""
    if name == "run_domain":
        from meshhouse.runs.run import run_domain

        return run_domain
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
