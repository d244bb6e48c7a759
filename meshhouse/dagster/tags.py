"""The tags of runs and assets, by which people find them in Dagster's page.

Belongs here: what each tag is called and says. Not here: what sets them.
"""

from __future__ import annotations

from meshhouse.repository import Repository

NAMED = "meshhouse/products"
"""Tag of a run of single products: their relations, with spaces between."""
LANDS = "meshhouse/landing"
"""Tag of a run that the sensor on waiting events asked for: the domain whose topics it lands."""
TARGET = "meshhouse/target"
"""Tag of every run that builds: where."""
ENVIRONMENT = "meshhouse/environment"
"""Tag of every run in an environment: which one."""
OF_DOMAIN = "meshhouse/domain."
"""Begin of the tag of every run that lands or builds: whose topics or products."""
LAYER = "meshhouse/layer"
"""Tag of every asset: `raw`, `build` or `product`."""
PRODUCT = "meshhouse/product"
"""Tag of every product."""


def environment_tag(repository: Repository) -> dict[str, str]:
    """The tag of a run in the environment in use; none in production."""
    return {ENVIRONMENT: repository.environment} if repository.environment else {}
