"""Makes `ref('<domain>', '<product>')` read the published product, and brings what domains share.

Belongs here: dbt-core's plugin interface. Not here: which products a domain may reference
(repository/references.py), or which macros and settings domains share (repository/project.py).

dbt-core finds plugins in top-level modules whose name begins with `dbt_`. It calls `initialize`
after it has read `dbt_project.yml` and before it reads any other file, and `get_nodes` while it
parses the project.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import click
from dbt.artifacts.resources.types import AccessType
from dbt.contracts.graph.node_args import ModelNodeArgs
from dbt.flags import get_flags
from dbt.plugins.manager import dbt_hook, dbtPlugin
from dbt.plugins.manifest import PluginNodes

from meshhouse.engines import engine
from meshhouse.engines.iceberg import pinned
from meshhouse.errors import MeshError
from meshhouse.repository import Product, Repository
from meshhouse.repository.project import add_defaults, shared_macros
from meshhouse.repository.references import resolve

READING_COMMANDS = {"build", "run", "test", "show", "snapshot", "retry", "clone"}
"""dbt commands that read data, so the products they read must be published."""

_BUILDING_COMMANDS = READING_COMMANDS - {"test", "show"}


class MeshhousePlugin(dbtPlugin):
    """Injects the products of the domains named in `dependencies.yml`, and what domains share."""

    def initialize(self) -> None:
        """Adds the shared macros to the project, and the settings that all its models need.

        The macros become macros of the project itself: dbt ignores a `generate_schema_name` of a
        package, and prefers an adapter's version of a macro to that of a package.

        Raises:
            MeshError: dbt does not hand out the project.
        """
        repository = self._repository
        if repository is None:
            return
        context = click.get_current_context(silent=True)
        project = (context.obj or {}).get("project") if context else None
        if project is None:
            raise MeshError(
                "dbt does not hand its project to plugins in this way of calling it, so the macros "
                "of the platform are missing. Use the command `dbt`, dbtRunner or `mesh`."
            )
        folder = Path(project.project_root).resolve()
        known = {(folder / each).resolve() for each in project.macro_paths}
        for macros in shared_macros(repository.root):
            if macros.resolve() not in known:
                # Relative, so that no manifest holds a path of this machine.
                project.macro_paths.append(os.path.relpath(macros, folder))
        add_defaults(project.models, repository.reading(self.project_name))

    @dbt_hook
    def get_nodes(self) -> PluginNodes:
        """A node for each product; it names the published relation, never the provider's build."""
        nodes = PluginNodes()
        flags = get_flags()
        repository = self._repository
        if repository is None:
            return nodes
        consumer = repository.domain(self.project_name)
        reads = flags.WHICH in READING_COMMANDS
        target = flags.TARGET or os.environ.get("MESH_TARGET")
        chosen = engine(repository, target) if reads else None
        published = chosen.visible() if chosen else None
        products = resolve(repository, consumer, published)
        schemas = chosen.schemas_of(products) if chosen else [each.domain for each in products]
        for product, schema in zip(products, schemas, strict=True):
            nodes.add_model(_node(product, schema))
        if chosen is None:
            return nodes
        chosen.prepare_dbt(consumer)
        builds = flags.WHICH in _BUILDING_COMMANDS and not chosen.builds_apart
        if builds and pinned() is None:
            from meshhouse.runs.build_state import forget_builds

            # Plain dbt changes tables that runs extend, maybe with uncommitted code, so the next
            # run must build them from the start.
            forget_builds(chosen.build_folder(consumer.name))
        return nodes

    @cached_property
    def _repository(self) -> Repository | None:
        """The mesh; None for another dbt project in the same Python environment."""
        try:
            repository = Repository.find(Path(get_flags().PROJECT_DIR or Path.cwd()).resolve())
        except MeshError:
            return None
        return repository if self.project_name in repository.domain_names else None


def _node(product: Product, schema: str) -> ModelNodeArgs:
    # Without a group, because dagster-dbt cannot load an injected node that has one. Without a
    # database, because the consumer's target sets it (Spark has none).
    ends = product.deprecated_on
    return ModelNodeArgs(
        name=product.model,
        package_name=product.domain,
        identifier=product.name,
        schema=schema,
        version=product.version if product.versioned else None,
        latest_version=product.latest_version if product.versioned else None,
        access=AccessType.Public,
        # With a zone: dbt compares it with its own time, which has one.
        deprecation_date=datetime(ends.year, ends.month, ends.day, tzinfo=UTC) if ends else None,
    )


plugins = [MeshhousePlugin]
