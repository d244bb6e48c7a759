"""Where the code of an asset is.

Belongs here: raw SQL, and references to file and line. Not here: compiled SQL, which belongs to a
run (events.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
from dagster._utils.warnings import disable_dagster_warnings

from meshhouse.dagster.events import as_sql
from meshhouse.repository import Domain, Product, Repository
from meshhouse.repository.manifest import Manifest


def model_source(
    repository: Repository, domain: Domain, manifest: Manifest, identifier: str
) -> dict[str, Any]:
    """Metadata of a model: its SQL with Jinja, and its file."""
    node = manifest.nodes[identifier]
    path = domain.path / node["original_file_path"]
    return {"raw SQL": as_sql(node["raw_code"]), **_references(repository, [(path, 1)])}


def product_source(repository: Repository, product: Product) -> dict[str, Any]:
    """Metadata of a product: the file and line that declare it, its SQL, and its checks."""
    files = [(product.path, product.line), (product.sql_path, 1)]
    if product.checks_path.exists():
        files.append((product.checks_path, 1))
    return _references(repository, files)


def _references(repository: Repository, files: list[tuple[Path, int]]) -> dict[str, Any]:
    with disable_dagster_warnings():  # one for each reference, that these classes may change
        references = [
            dg.LocalFileCodeReference(
                file_path=str(path), line_number=line, label=f"{_shown(repository, path)}:{line}"
            )
            for path, line in files
        ]
        shown = dg.CodeReferencesMetadataValue(code_references=references)
    return {"dagster/code_references": shown}


def _shown(repository: Repository, path: Path) -> Path:
    inside = path.is_relative_to(repository.root)
    return path.relative_to(repository.root) if inside else path
