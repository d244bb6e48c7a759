"""What is kept of dbt's work in each run: its log, `run_results.json` and `manifest.json`.

Belongs here: the folder of a run, and how many are kept. Not here: writing the files (dbt/).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from meshhouse.repository import Repository

KEPT = 20
"""Runs of a domain whose files are kept. A manifest of dbt has 0.6 MB even for a small domain."""


def new_logs(repository: Repository, domain: str, run_id: str) -> Path:
    """Makes the folder for a run, and removes those of runs before the last `KEPT`."""
    domain_logs = repository.workspace / "logs" / domain
    folder = domain_logs / run_id
    folder.mkdir(parents=True, exist_ok=True)
    runs = sorted(
        (each for each in domain_logs.iterdir() if each.is_dir()),
        key=lambda each: each.stat().st_mtime_ns,
    )
    for old in runs[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return folder
