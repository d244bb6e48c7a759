"""The files of the next version of a product: YAML edited as text, SQL and checks copied.

Belongs here: what is written, and why it cannot be. Not here: whether the product is published, or
writing the files (cli/new.py).

The YAML is edited line by line, so comments and formatting stay. The result is read again and
compared with what was meant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from meshhouse.errors import UsageError
from meshhouse.repository.edit import indented, inserted, last_line
from meshhouse.repository.model import Domain, Product
from meshhouse.repository.yaml import display_path

_COLUMNS = """\
columns:
  # All columns of the model, without those in `exclude`. Declare new and changed ones below.
  - include: all
"""


@dataclass(frozen=True)
class NewVersion:
    """The next version of a model, not written yet."""

    number: int
    files: Mapping[Path, str]
    """File -> its new text."""
    changed: tuple[Path, ...]
    """Those of the files that exist already."""


def new_version(domain: Domain, product: Product) -> NewVersion:
    """The files of the next version of a product's model.

    Args:
        domain: the product's domain.
        product: the version to copy.

    Raises:
        UsageError: a file of the next version exists, or the YAML cannot be edited.
    """
    text = product.path.read_text()
    model = _model(product, text)
    numbers = [int(each["v"]) for each in _plain(model).get("versions") or ()]
    number = max(numbers, default=1) + 1
    folder = product.sql_path.parent
    sql = folder / f"{product.model}_v{number}.sql"
    checks = folder / f"{product.model}_v{number}.checks.yml"
    for path in (sql, checks):
        if path.exists():
            raise UsageError(
                f"{display_path(path)} exists already, and would be overwritten. Remove it, or "
                "declare the version that it belongs to."
            )
    if not product.sql_path.exists():
        raise UsageError(f"{display_path(product.sql_path)} does not exist, so it has no copy.")
    declared = _declared(product, text, model, number)
    _verify(product, text, declared, number)
    files = {product.path: declared, sql: product.sql_path.read_text()}
    changed = [product.path]
    if product.checks_path.exists():
        said = product.checks_path.read_text()
        files[checks] = _renamed(said, product, f"{product.model}_v{number}")
        own = _renamed(said, product, f"{product.model}_v{product.version}")
        if own != said:  # the name without a number will show another version one day
            files[product.checks_path] = own
            changed.append(product.checks_path)
    others = {each.path for each in domain.products} - {product.path}
    assert not others & set(files)
    return NewVersion(number, files, tuple(changed))


def _declared(product: Product, text: str, model: yaml.MappingNode, number: int) -> str:
    """The YAML file with the next version."""
    lines = text.splitlines(keepends=True)
    end = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    indent = " " * model.start_mark.column
    keys = {key.value: (key, value) for key, value in model.value}
    if "versions" not in keys:
        added = (
            f"latest_version: 1\nversions:\n  - v: 1\n    defined_in: {product.sql_path.stem}\n"
            f"  - v: {number}\n{indented(_COLUMNS, '    ')}"
        )
        return inserted(lines, last_line(model), indented(added, indent), end)
    key, versions = keys["versions"]
    if versions.flow_style or any(each.flow_style for each in versions.value):
        raise UsageError(
            f"{display_path(product.path)}:{key.start_mark.line + 1}: `versions` is written in "
            "one line, which this command cannot extend. Write one line for each key."
        )
    source = next(each for each in versions.value if _number(each) == product.version)
    dash = " " * (source.start_mark.column - 2)
    entry = f"- v: {number}\n{_rest(lines, source)}"
    extended = inserted(lines, last_line(versions), indented(entry, dash), end)
    if "latest_version" in keys:
        return extended
    lines = extended.splitlines(keepends=True)
    latest = f"{indent}latest_version: {product.latest_version}\n"
    return inserted(lines, key.start_mark.line - 1, latest, end)


def _rest(lines: list[str], source: yaml.MappingNode) -> str:
    """What a version declares, without what the next one must not have in common with it."""
    column, last = source.start_mark.column, last_line(source)
    kept = []
    starts = [key.start_mark.line for key, _ in source.value]
    for (key, _), end in zip(source.value, [*starts[1:], last + 1], strict=True):
        if key.value in ("v", "defined_in", "deprecation_date"):
            continue
        block = [line.rstrip("\r\n") for line in lines[key.start_mark.line : end]]
        kept += ["  " + line[column:] if line.strip() else "" for line in block]
    if not any(key.value == "columns" for key, _ in source.value):
        kept += indented(_COLUMNS, "  ").splitlines()
    return "".join(f"{line}\n" for line in kept)


def _number(entry: yaml.MappingNode) -> int | None:
    return next((int(value.value) for key, value in entry.value if key.value == "v"), None)


def _model(product: Product, text: str) -> yaml.MappingNode:
    """The model's entry in the YAML file."""
    root = yaml.compose(text, Loader=yaml.CSafeLoader)
    models = next(value for key, value in root.value if key.value == "models")
    for entry in models.value:
        if any(key.value == "name" and value.value == product.model for key, value in entry.value):
            if entry.flow_style:
                raise UsageError(
                    f"{display_path(product.path)}:{entry.start_mark.line + 1}: the model is "
                    "written in braces, which this command cannot extend. Write one line for "
                    "each key."
                )
            return entry
    raise UsageError(f"{display_path(product.path)} does not declare `{product.model}`.")


def _renamed(text: str, product: Product, name: str) -> str:
    """Checks that read their own product, so that they read it under another name."""
    names = "|".join(map(re.escape, {product.model, product.name}))
    pattern = rf"(?<![\w.]){re.escape(product.domain)}(_published)?\.({names})(?!\w)"
    return re.sub(pattern, lambda found: f"{product.domain}{found[1] or ''}.{name}", text)


def _verify(product: Product, before: str, after: str, number: int) -> None:
    """Compares the edited file with the one before it.

    Raises:
        UsageError: the edit did not have exactly the effect that it was meant to have.
    """
    old, new = (yaml.load(text, Loader=yaml.CSafeLoader) for text in (before, after))
    versions = []
    for content in (old, new):
        model = next(each for each in content["models"] if each.get("name") == product.model)
        versions.append([each["v"] for each in model.pop("versions", [{"v": 1}])])
        if model.pop("latest_version", product.latest_version) != product.latest_version:
            versions.append([])
    if old != new or len(versions) != 2 or versions[1] != [*versions[0], number]:
        raise UsageError(
            f"{display_path(product.path)} cannot be extended without changing other parts of it. "
            f"Add `v: {number}` to `versions` of `{product.model}` by hand."
        )


def _plain(node: yaml.Node) -> Any:
    """The value of a node."""
    return yaml.load(yaml.serialize(node), Loader=yaml.CSafeLoader)
