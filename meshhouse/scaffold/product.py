"""A new product: its SQL with explicit columns, and its declaration.

Belongs here: what it reads, which columns it has, its grain and its descriptions. Not here: the
texts (meshhouse/templates/product/), or finding the columns (columns.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from meshhouse.errors import UsageError
from meshhouse.repository import Column, Domain, Product, RawTable, Repository, names, printable
from meshhouse.repository.edit import scalar
from meshhouse.repository.keys import CLASSIFICATION, UNIT
from meshhouse.repository.staging import column_sql
from meshhouse.repository.types import parse_type
from meshhouse.scaffold.columns import columns_of_model, columns_of_product
from meshhouse.scaffold.reference import Reference, new_reference, staging_model
from meshhouse.scaffold.templates import refuse_unwritable, rendered

_OF_EVENTS = ("event_at", "landed_at", "event_partition", "event_offset")
"""Columns of a staging model by which its newest event for each key is known."""


@dataclass(frozen=True)
class Source:
    """What a new product reads."""

    model: str
    """A model of the product's own domain."""
    columns: tuple[Column, ...]
    grain: tuple[str, ...] = ()
    """Of the product that it is; empty if nobody has declared one."""
    new: Mapping[Path, str] = field(default_factory=dict)
    """Files that it needs and that do not exist."""
    changed: Mapping[Path, str] = field(default_factory=dict)
    """Files that exist -> their new text."""

    @property
    def is_of_events(self) -> bool:
        """Whether it has a row for each event, so that a key may occur twice."""
        return {each.name for each in self.columns} >= set(_OF_EVENTS)


def check_product_name(domain: Domain, name: str) -> None:
    """Refuses a name that no new product of a domain can have.

    Raises:
        UsageError: with the reason.
    """
    if problem := names.bad_name("product", name):
        raise UsageError(problem)
    if name in _models(domain):
        raise UsageError(f"{domain.name} has a model `{name}` already. Choose another name.")
    if not domain.owners:
        raise UsageError(
            f"{domain.name} declares no group, so the product would have no owner. Declare "
            "`groups:` in models/domain.yml first."
        )


def readable(repository: Repository, domain: Domain) -> list[str]:
    """What a product of a domain can be made from, as `--from` takes it."""
    return [
        *(raw.relation for raw in domain.raw_tables),
        *sorted(_models(domain) - {each.model for each in domain.products}),
        *(each.relation for other in repository.domains for each in other.products),
    ]


def source_of(repository: Repository, domain: Domain, origin: str) -> Source:
    """What `--from` names: a product, a raw table, a topic, or a model of the domain.

    Raises:
        UsageError: it names nothing that the domain can read.
    """
    provider, dot, name = origin.partition(".")
    if dot and provider in repository.domain_names:
        found = repository.reading(provider).product(name)
        if found is not None:
            return _of_product(repository, domain, found)
    for raw in domain.raw_tables:
        if origin in (raw.relation, raw.topic):
            return _of_raw(repository, domain, raw)
    own = domain.product(origin)
    if own is not None:
        return _of_product(repository, domain, own)
    if origin in _models(domain):
        return Source(origin, columns_of_model(repository, domain, origin))
    known = ", ".join(readable(repository, domain)) or "nothing yet; see `mesh new topic`"
    raise UsageError(
        f"`{printable(origin)}` is neither a product, nor a raw table, topic or model of "
        f"{domain.name}. It can read: {known}."
    )


def _models(domain: Domain) -> set[str]:
    """The models of a domain; a private one needs no declaration."""
    return {
        *(path.stem for path in (domain.path / "models").rglob("*.sql")),
        *domain.private_models,
        *(each.model for each in domain.products),
    }


def _of_product(repository: Repository, domain: Domain, product: Product) -> Source:
    columns = columns_of_product(repository, product)
    if product.domain == domain.name:
        return Source(product.model, columns, product.grain)
    model = staging_model(product)
    if model in _models(domain):
        return Source(model, columns_of_model(repository, domain, model), product.grain)
    made: Reference = new_reference(repository, domain, product, [each.name for each in columns])
    return Source(model, columns, product.grain, made.new, made.changed)


def _of_raw(repository: Repository, domain: Domain, raw: RawTable) -> Source:
    model = f"stg_{raw.name}"
    if model in _models(domain):
        return Source(model, columns_of_model(repository, domain, model))
    raise UsageError(
        f"{raw.relation} has no staging model `{model}`, which renames its columns. Write "
        f"models/staging/{model}.sql, or name another model with --from."
    )


def new_product(
    domain: Domain, name: str, source: Source, grain: Sequence[str], description: str = ""
) -> Mapping[Path, str]:
    """The files of a new product, without those of its source.

    Args:
        domain: the product's domain.
        name: of the product.
        source: what it reads.
        grain: the columns that identify a row.
        description: what it is; a sentence that states the grain is added if it has none.

    Raises:
        UsageError: the grain names a column that the source lacks.
    """
    check_product_name(domain, name)
    newest = source.is_of_events
    columns = [each for each in source.columns if not newest or each.name not in _OF_EVENTS]
    known = [each.name for each in columns]
    for column in grain:
        if column not in known:
            raise UsageError(
                f"`{source.model}` has no column `{printable(column)}`, which the grain names. "
                f"Columns: {', '.join(known)}."
            )
    refuse_unwritable(description)
    said = " ".join(description.split()) or (
        f"{_words(name).capitalize()} of the domain {domain.name}, made from {source.model}."
    )
    if "one row per" not in said.lower():
        said += f" One row per {' and '.join(_words(each) for each in grain)}."
    group = domain.name if domain.name in domain.owners else next(iter(domain.owners))
    values = {
        "name": name,
        "description": said,
        "group": group,
        "source": source.model,
        "grain": list(grain),
        "grain_yaml": f"[{', '.join(scalar(each, in_brackets=True) for each in grain)}]",
        "newest_of": f"[{', '.join(map(_in_jinja, grain))}]" if newest else "",
        "columns": [_column(each, each.name in grain) for each in columns],
    }
    return {domain.path / path: text for path, text in rendered("product", values).items()}


def _column(column: Column, in_grain: bool) -> Mapping[str, object]:
    marks = ((CLASSIFICATION, column.classification), (UNIT, column.unit))
    described = " ".join(column.description.split())
    if not described or "{{" in described or "{%" in described:
        described = f"{_words(column.name).capitalize()}."
    return {
        "name": column.name,
        "sql": column_sql(column.name),
        "sql_type": _sql_type(column.data_type),
        "data_type": column.data_type,
        "description": described,
        "required": in_grain or column.required,
        "meta": ", ".join(
            f"{key.name}: {scalar(value, in_brackets=True)}" for key, value in marks if value
        ),
    }


def _sql_type(data_type: str) -> str:
    kind = parse_type(data_type)
    if kind.is_nested:
        return f"{{{{ engine_type('{data_type}') }}}}"
    if kind.kind == "timestamptz":
        return "{{ type_timestamptz() }}"
    return str(kind).replace(",", ", ")


def _in_jinja(name: str) -> str:
    """A column as an argument of a macro."""
    found = column_sql(name)
    return found.strip("{} ") if found.startswith("{{") else repr(found)


def _words(name: str) -> str:
    return name.replace("_", " ").strip()
