"""The demo's own models, rendered once for all tests of governance.

Belongs here: fixtures that several files of this room use. Not here: the corpus of changes
(tests/support/changes.py).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from meshhouse.lint.sql.dialects import dialect
from meshhouse.lint.sql.rendering import render
from meshhouse.repository import Repository

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """This repository, with a home that no other test uses."""
    with pytest.MonkeyPatch.context() as patch:  # not for longer: tests of other rooms follow
        patch.setenv("MESH_HOME", str(tmp_path_factory.mktemp("home")))
        repository = Repository(ROOT)
        assert repository.home
    return repository


@pytest.fixture(scope="session")
def demo_models(demo: Repository) -> dict[str, dict[str, list[str]]]:
    """Domain -> `schema.table` of a model -> its renderings, the first build last.

    It takes 8 s of CPU for 37 models, half of them for importing dbt.
    """
    made: dict[str, dict[str, list[str]]] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MESH_HOME", str(demo.home))
        for domain in demo.domain_names:
            for each in render(demo, domain, dialect("local")):
                if each.path.suffix == ".sql":
                    made.setdefault(domain, {}).setdefault(each.relation, []).append(each.sql)
    return made
