"""Code locations of a workspace with one for each domain.

Belongs here: the workspace file. Not here: what a location loads (process.py).
"""

from __future__ import annotations

from pathlib import Path

import yaml

from meshhouse.dagster.origin import MODULE
from meshhouse.dagster.process import LOCATION
from meshhouse.files import replace
from meshhouse.repository import Repository


def workspace_file(repository: Repository) -> Path:
    """Writes a workspace in which each domain is a code location: a process that may fail alone."""
    locations = [
        {
            "python_module": {
                "module_name": MODULE,
                "attribute": f"{LOCATION}{name}",
                "location_name": name,
                "working_directory": str(repository.root),
            }
        }
        for name in repository.domain_names
    ]
    path = repository.workspace / "workspace.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, yaml.safe_dump({"load_from": locations}, sort_keys=False))
    return path
