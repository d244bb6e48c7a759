"""The files of dbt's manifest of a domain.

Belongs here: where they are, whether they are up to date, and what is kept of them. Not here: what
a manifest says (manifest.py), or making it (meshhouse/dbt/).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from meshhouse.repository.environment import workspace
from meshhouse.repository.macros import internal_packages
from meshhouse.repository.model import Domain
from meshhouse.repository.project import project_fingerprint
from meshhouse.repository.read import Repository

_FINGERPRINT = "meshhouse.fingerprint"
ESSENCE = "meshhouse.manifest.json"
"""What the platform reads of a manifest: 90 KB instead of the 700 KB that dbt writes for ten
models, of which most is the SQL of macros that come with dbt."""
_NOT_READ = ("child_map", "parent_map", "group_map", "docs", "selectors", "exposures", "metrics",
             "saved_queries", "semantic_models")  # fmt: skip


def manifest_path(repository: Repository, domain: str) -> Path:
    """Where dbt writes a domain's manifest."""
    return target_folder(repository, domain) / "manifest.json"


def target_folder(repository: Repository, domain: str) -> Path:
    """Where dbt writes a domain's artifacts; one folder per environment, as schemas differ."""
    return workspace(repository.folder(domain) / "target", repository.environment)


def is_fresh(repository: Repository, domain: Domain) -> bool:
    """Whether the manifest was made from the current files."""
    manifest = manifest_path(repository, domain.name)
    path = manifest.with_name(_FINGERPRINT)
    return (
        manifest.exists()
        and manifest.with_name(ESSENCE).exists()
        and path.exists()
        # A plain `dbt` command also writes the manifest, maybe from code since reverted.
        and manifest.stat().st_mtime_ns <= path.stat().st_mtime_ns
        and path.read_text() == project_fingerprint(repository, domain)
    )


def mark_fresh(repository: Repository, domain: Domain, fingerprint: str) -> None:
    """Records the fingerprint of the files that the manifest was made from."""
    path = manifest_path(repository, domain.name)
    content = json.loads(path.read_bytes())
    path.with_name(ESSENCE).write_text(json.dumps(_essence(content)))
    path.with_name(_FINGERPRINT).write_text(fingerprint)


def _essence(content: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest without what the platform never reads."""
    adapter = content["metadata"].get("adapter_type")
    return {
        **{key: value for key, value in content.items() if key not in _NOT_READ},
        "macros": {
            identifier: {key: macro[key] for key in ("name", "package_name")}
            if macro["package_name"] in internal_packages(adapter)
            else macro
            for identifier, macro in content["macros"].items()
        },
    }
