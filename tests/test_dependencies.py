"""Every package that the platform imports is one that its installation brings.

An environment with the packages of the demo and the tests hides one that is missing.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from itertools import chain

from tests.test_rooms import FILES, ROOT

OWN = {"meshhouse", "dbt_meshhouse", "orchestration"}
PARTS = {
    # Packages of a project that the dependency on its main package always brings.
    "botocore": "boto3",
    "dagster-shared": "dagster",
    "dbt-adapters": "dbt-core",
    "dbt-common": "dbt-core",
    "psycopg2-binary": "dagster-postgres",
    "py4j": "pyspark",
    "snowflake-connector-python": "dbt-snowflake",
}


def test_every_package_that_is_imported_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = chain.from_iterable(project["optional-dependencies"].values())
    written = [*project["dependencies"], *extras]
    declared = {re.split(r"[^\w.-]", each)[0].lower() for each in written}
    brings = packages_distributions()
    missing = {}
    for path in (each for each in FILES if "templates" not in each.parts):
        for name in sorted(imported(ast.parse(path.read_text()))):
            found = {each.lower().replace("_", "-") for each in brings.get(name, [name])}
            if not declared & {PARTS.get(each, each) for each in found}:
                missing[name] = path.relative_to(ROOT).as_posix()
    assert missing == {}


def imported(module: ast.Module) -> set[str]:
    """The packages that a module imports anywhere, without Python's and the project's."""
    names = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {each.partition(".")[0] for each in names} - OWN - set(sys.stdlib_module_names)
