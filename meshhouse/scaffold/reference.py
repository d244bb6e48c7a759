"""A reference: what one domain needs to read a product of another.

Belongs here: the entry in dependencies.yml and the staging model. Not here: which products a domain
may read (repository/references.py).

YAML that exists is edited line by line, so comments and formatting stay.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from meshhouse.errors import UsageError
from meshhouse.repository import Domain, Product, Repository, display_path
from meshhouse.repository.edit import inserted, last_line
from meshhouse.repository.staging import column_sql
from meshhouse.repository.yaml import DeclarationError, parse_yaml, read_text
from meshhouse.scaffold.templates import rendered

_FILE = "dependencies.yml"


@dataclass(frozen=True)
class Reference:
    """What a reference consists of, not written yet."""

    model: str
    """The staging model."""
    new: Mapping[Path, str]
    changed: Mapping[Path, str]
    """Files that exist -> their new text."""


def staging_model(product: Product) -> str:
    """The name of the staging model of another domain's product."""
    version = "" if product.is_latest else f"_v{product.version}"
    return f"stg_{product.domain}__{product.model}{version}"


def new_reference(
    repository: Repository, consumer: Domain, product: Product, columns: Collection[str]
) -> Reference:
    """The files by which a domain reads another domain's product.

    Args:
        repository: the mesh.
        consumer: the domain that reads.
        product: what it reads.
        columns: names of the columns.

    Raises:
        UsageError: the domains would depend on each other in a circle, or a file cannot be edited.
    """
    _refuse(repository, consumer, product)
    model = staging_model(product)
    version = "" if product.is_latest else f", v={product.version}"
    values = {
        "model": model,
        "arguments": f"'{product.domain}', '{product.model}'{version}",
        "columns": [column_sql(each) for each in columns],
    }
    new = {consumer.path / path: text for path, text in rendered("reference", values).items()}
    if product.domain in consumer.upstream:
        return Reference(model, new, {})
    path = consumer.path / _FILE
    text = _with_project(path, read_text(path) if path.exists() else "", product.domain)
    if path.exists():
        return Reference(model, new, {path: text})
    return Reference(model, {path: text, **new}, {})


def _refuse(repository: Repository, consumer: Domain, product: Product) -> None:
    if product.domain == consumer.name:
        raise UsageError(
            f"{product.relation} is a product of {consumer.name} itself: read it with "
            f"ref('{product.model}')."
        )
    waiting, seen = [product.domain], set()
    while waiting:
        name = waiting.pop()
        if name == consumer.name:
            raise UsageError(
                f"{product.domain} reads products of {consumer.name}, directly or through other "
                f"domains, so {consumer.name} cannot read {product.relation}: the domains would "
                "depend on each other in a circle. Move the model that needs both to a third "
                "domain."
            )
        if name not in seen and name in repository.domain_names:
            seen.add(name)
            waiting += repository.reading(name).upstream


def _with_project(path: Path, text: str, name: str) -> str:
    """The text of dependencies.yml with one more project."""
    before = parse_yaml(path, text)
    entry = f"- name: {name}\n"
    lines = text.splitlines(keepends=True)
    end = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    if not before.get("projects"):
        gap = "" if not lines or lines[-1].endswith("\n") else end
        if "projects" in before:
            raise _by_hand(path, before.line_of("projects"), name)
        after = f"{text}{gap}projects:{end}  {entry.rstrip()}{end}"
    else:
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
        projects = next(value for key, value in root.value if key.value == "projects")
        if not isinstance(projects, yaml.SequenceNode) or projects.flow_style:
            raise _by_hand(path, before.line_of("projects"), name)
        last = projects.value[-1].start_mark
        dash = lines[last.line].rfind("-", 0, last.column)
        after = inserted(lines, last_line(projects), f"{' ' * dash}{entry}", end)
    try:
        found = dict(parse_yaml(path, after))
    except DeclarationError as error:
        raise _by_hand(path, 1, name) from error
    made = found.pop("projects", None)
    others = {key: value for key, value in before.items() if key != "projects"}
    if others != found or made != [*(before.get("projects") or []), {"name": name}]:
        raise _by_hand(path, 1, name)
    return after


def _by_hand(path: Path, line: int, name: str) -> UsageError:
    return UsageError(
        f"{display_path(path)}:{line}: this file cannot be extended without changing other parts "
        f"of it. Add `- name: {name}` under `projects:` by hand, and run the same command again."
    )
