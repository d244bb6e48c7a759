"""What this process is for: a code server shows all domains, a run needs only its own.

Belongs here: which run this process executes, and which domains a code location is about. Not
here: the assets of those domains (mesh.py).

Dagster loads a code location again in the process of each run and, with some executors, of each
step; in a run twice. It passes the run's selection on only after that, so the location cannot ask
for it. The callers of the location hold the run, whatever the launcher and the executor are. Where
none of them holds one, all domains are loaded: that is slower, and right.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import dagster as dg

from meshhouse.dagster.abandoned import show_life
from meshhouse.dagster.jobs import WHOLE_MESH, domain_job
from meshhouse.dagster.translator import safe_name
from meshhouse.repository import Repository

LOCATION = "location_"
"""Prefix of a code location that is about one domain."""
MakeDefinitions = Callable[[Repository, Sequence[str] | None], dg.Definitions]
"""The definitions of the domains of these names; of all domains for None."""

_HELD_AS = "dagster_run"
"""What Dagster calls the run, in functions and in the command of a step's process."""
_loaded: dict[str, dg.Definitions] = {}


def whole_location(make: MakeDefinitions) -> dg.Definitions:
    """All domains; in the process of a run, the domains that the run is about."""
    return _location(make, None)


def domain_location(name: str, make: MakeDefinitions) -> Callable[[], dg.Definitions]:
    """One domain, as a code location that a workspace names `location_<domain>`.

    Raises:
        AttributeError: the name is not of that form.
    """
    if not name.startswith(LOCATION):
        raise AttributeError(f"There is no `{name}`.")
    domain = name.removeprefix(LOCATION)
    return dg.definitions(lambda: _location(make, [domain]))


def _location(make: MakeDefinitions, domains: Sequence[str] | None) -> dg.Definitions:
    repository = Repository.find()
    run = run_of_this_process()
    if run is None:
        return make(repository, domains)
    if run.run_id not in _loaded:
        show_life(repository, run.run_id)
        _loaded[run.run_id] = make(repository, domains_of(repository, run) or domains)
    return _loaded[run.run_id]


def run_of_this_process() -> dg.DagsterRun | None:
    """The run for which this code location is loaded; None in a code server or a command."""
    frame = sys._getframe()
    while frame is not None:
        held = frame.f_locals
        for found in (held.get(_HELD_AS), getattr(held.get("self"), _HELD_AS, None)):
            if isinstance(found, dg.DagsterRun):
                return found
        frame = frame.f_back
    return None


def domains_of(repository: Repository, run: dg.DagsterRun) -> list[str] | None:
    """The domains whose assets and checks a run selects; None where it may be about all.

    An asset of no domain is one that the mesh's owner added, which is always loaded.
    """
    if run.job_name == WHOLE_MESH:  # only a location of all domains has this job
        return None
    selected = {key.path[0] for key in run.asset_selection or ()}
    selected |= {check.asset_key.path[0] for check in run.asset_check_selection or ()}
    selected = selected or {run.job_name}  # without a selection, a job runs all of its assets
    found = []
    for name in repository.domain_names:
        safe = safe_name(name)
        if selected & {name, safe, domain_job(safe)}:  # each key begins with its domain
            found.append(name)
    return found or None
