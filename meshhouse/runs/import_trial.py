"""Builds a project once, apart from the mesh, to learn the types of its columns.

Belongs here: a repository that holds nothing but the project, and one build in it. Not here: what
follows from it (import_project.py).

The build runs in DuckDB with seeds, and with empty tables for topics and for products of other
domains, so it needs no data, no server, and writes nothing to the lake.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from meshhouse import dbt
from meshhouse.dbt.watch import node_result
from meshhouse.engines.duckdb.trial import built_columns, create_empty, reserved_words
from meshhouse.engines.iceberg import PINS_VARIABLE
from meshhouse.repository import Repository
from meshhouse.repository.foreign.built import BuiltModel, built_models
from meshhouse.repository.manifest_file import manifest_path


@dataclass(frozen=True)
class Trial:
    """What a trial build found out."""

    models: tuple[BuiltModel, ...]
    columns: Mapping[str, Mapping[str, str]]
    """Model -> column -> type; only models that were built."""
    failures: Mapping[str, str]
    """Model -> why it was not built."""
    reserved: frozenset[str]
    """Words that cannot name a column without quotes."""


@contextmanager
def trial_repository(root: Path, apart: Path) -> Iterator[Repository]:
    """A repository for one domain, in a separate folder, with the mesh's macros and profiles."""
    (apart / "domains").mkdir(parents=True)
    for name in ("macros", "profiles", "policies"):
        if (root / name).is_dir():
            shutil.copytree(root / name, apart / name)
    if (root / "policies.yml").is_file():
        shutil.copyfile(root / "policies.yml", apart / "policies.yml")
    (apart / "dbt_project.yml").write_text("name: mesh\nprofile: meshhouse\n")
    variables = {
        "MESH_ROOT": str(apart),
        "MESH_HOME": str(apart / ".mesh"),
        "MESH_TARGET": "local",
        "MESH_ENV": "",
    }
    with dbt.environment(variables):
        yield Repository(apart)


def try_build(
    repository: Repository, domain: str, raw_tables: Mapping[str, Mapping[str, str]]
) -> Trial:
    """Builds every seed, snapshot and model of a domain.

    Args:
        repository: from `trial_repository`, with the domain in it.
        domain: the domain's name.
        raw_tables: raw table -> column -> type.

    Raises:
        DbtFailed: dbt cannot read the project.
    """
    create_empty(repository.workspace, domain, f"{domain}_raw", raw_tables)
    left_out = ("test", "unit_test", "saved_query", "exposure")
    options = [part for each in left_out for part in ("--exclude-resource-type", each)]
    nothing = repository.root / "pins.json"
    nothing.write_text("{}")  # of the lake, which has none of the tables
    dbt.parse(repository, domain)
    result = dbt.invoke(repository, domain, ["build", *options], {PINS_VARIABLE: str(nothing)})
    nodes = [node_result(each) for each in getattr(result, "results", ())]
    failures = {
        each.name: " ".join(each.message.split())
        if each.has_failed
        else "a model that it reads was not built"
        for each in nodes
        if each.has_failed or each.status == "skipped"
    }
    models = built_models(manifest_path(repository, domain), domain)
    built = built_columns(repository.workspace, domain, f"{domain}_build")
    done = {each.name for each in nodes} - failures.keys()
    return Trial(
        tuple(models),
        {each.name: built[each.relation] for each in models if each.name in done
         and each.relation in built},
        failures,
        reserved_words(),
    )  # fmt: skip
