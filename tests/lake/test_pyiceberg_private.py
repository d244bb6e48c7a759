"""Private names of pyiceberg are used in one module, for one release of pyiceberg."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from pydoc import locate

import pytest

import meshhouse
from meshhouse.lake import pyiceberg_private
from meshhouse.lake.pyiceberg_private import PRIVATE, VERSION

SOURCES = Path(meshhouse.__file__).parent
MODULE = Path(pyiceberg_private.__file__)
ATTRIBUTES = {"_apply", "_create_session", "_delete_old_metadata", "_fos", "_session"}


def test_the_private_names_were_compared_with_the_installed_pyiceberg() -> None:
    installed = version("pyiceberg")
    assert installed == VERSION, (
        f"pyiceberg {installed} is installed; {MODULE.name} was compared with {VERSION}. Compare "
        "both releases of `_OverwriteFiles` and its base class (are the parts that Exchange and "
        "Relayout copy or replace the same?), `Transaction._apply`, `Table._do_commit` (does it "
        "still call `_delete_old_metadata`?), `RestCatalog._create_session` and the Parquet "
        "writer's `_fos`. Run tests/lake and tests/maintenance, then set VERSION."
    )


@pytest.mark.parametrize("owner", PRIVATE)
def test_pyiceberg_has_the_methods_that_are_replaced(owner: str) -> None:
    found = locate(owner)
    assert found is not None, owner
    assert [name for name in PRIVATE[owner] if not hasattr(found, name)] == []


def test_no_other_module_uses_private_names_of_pyiceberg() -> None:
    sources = {path: path.read_text() for path in SOURCES.rglob("*.py") if path != MODULE}
    used = {
        str(path.relative_to(SOURCES)): names
        for path, source in sources.items()
        if "pyiceberg" in source and (names := sorted(private_names(ast.parse(source))))
    }
    assert used == {}, f"Move these uses to {MODULE.name}."


def test_the_search_finds_each_kind_of_use() -> None:
    source = """
from pyiceberg.table.update.snapshot import _OverwriteFiles
from pyiceberg.table import Table
transaction._apply(())
self._catalog._session.post()
self._session = 1
class Catalog:
    def _delete_old_metadata(self): ...
"""
    found = sorted(private_names(ast.parse(source)))
    assert found == ["_OverwriteFiles", "_apply", "_delete_old_metadata", "_session"]


def private_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pyiceberg"):
            parts = [*str(node.module).split("."), *(each.name for each in node.names)]
            yield from (part for part in parts if part.startswith("_"))
        elif isinstance(node, ast.FunctionDef) and node.name in ATTRIBUTES:
            yield node.name
        elif isinstance(node, ast.Attribute) and node.attr in ATTRIBUTES:
            is_own = isinstance(node.value, ast.Name) and node.value.id == "self"
            if not is_own:
                yield node.attr
