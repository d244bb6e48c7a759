"""Private names of pyiceberg are used in one module, for one release of pyiceberg."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from pydoc import locate

import pyarrow as pa
import pytest
from pyiceberg.schema import Schema
from pyiceberg.table.update import update_table_metadata
from pyiceberg.types import LongType, NestedField

import meshhouse
from meshhouse.lake import Lake, pyiceberg_private
from meshhouse.lake.pyiceberg_private import PRIVATE, VERSION, metadata_after

SOURCES = Path(meshhouse.__file__).parent
MODULE = Path(pyiceberg_private.__file__)
ATTRIBUTES = {"_apply", "_create_session", "_delete_old_metadata", "_fos", "_session"}


def test_the_private_names_were_compared_with_the_installed_pyiceberg() -> None:
    installed = version("pyiceberg")
    assert installed == VERSION, (
        f"pyiceberg {installed} is installed; {MODULE.name} was compared with {VERSION}. Compare "
        "both releases of `update_table_metadata` (`metadata_after` repeats it; do its parts still "
        "leave their input as it is?), `_OverwriteFiles` and its base class (are the parts that "
        "Exchange and Relayout copy or replace the same?), `Transaction._apply`, "
        "`Table._do_commit` (does it still call `_delete_old_metadata`?), "
        "`RestCatalog._create_session` and the Parquet writer's `_fos`. Run tests/lake and "
        "tests/maintenance, then set VERSION."
    )


def test_metadata_after_changes_is_pyicebergs_and_leaves_the_metadata_before_as_it_is(tmp_path):
    lake = Lake(tmp_path)
    columns = Schema(NestedField(1, "id", LongType(), required=False))
    table = lake.stage("shop.orders", columns)
    base = table.metadata_location or None
    with table.transaction() as first:
        first.append(pa.table({"id": [1, 2]}))
    lake.commit([lake.staged(table, base)])
    table = lake.stage("shop.orders", columns)
    before = table.metadata.model_dump_json()
    with table.transaction() as change:
        change.delete("id = 1")
        change.append(pa.table({"id": [3]}))
        change.set_properties({"a": "b"})
        plain = update_table_metadata(table.metadata, change._updates, False, "before.json")
        found = metadata_after(table.metadata, change._updates, "before.json")
        assert found == plain
        assert len(found.snapshots) > 1
        assert table.metadata.model_dump_json() == before


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
