"""The columns of what a new model reads.

Belongs here: of another domain's product, what consumers see now, or else what is declared; of a
model of the domain itself, what its SQL yields. Not here: what is written about them (product.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import duckdb
import pyarrow as pa

from meshhouse import sql
from meshhouse.engines import engine
from meshhouse.engines.types import duckdb_type
from meshhouse.errors import UsageError
from meshhouse.governance.contract import Contract
from meshhouse.lake.views import connect_memory
from meshhouse.landing.decode import METADATA_COLUMNS
from meshhouse.landing.plain import arrow_type
from meshhouse.lint.sql.rendering import FirstBuild, first_builds
from meshhouse.repository import Column, Domain, Product, Repository
from meshhouse.repository.staging import snake_case
from meshhouse.repository.types import parse_type

_MAKES_NULLS = re.compile(r"\b(?:join|union|grouping|nullif)\b", re.IGNORECASE)
"""Words of SQL that may yield nulls where the columns that are read have none."""
_DATABASE = "work"
"""What the target `local` calls its database."""


def columns_of_product(repository: Repository, product: Product) -> tuple[Column, ...]:
    """The columns that consumers of a product see; the declared ones if it was never published."""
    head = engine(repository).ledger.heads(product.domain).get(product.relation)
    if head is None or not head.is_published or not head.contract:
        return product.columns
    return tuple(
        Column(
            name=str(each["name"]),
            data_type=str(each["type"]),
            description=str(each.get("description") or ""),
            required=bool(each.get("required")),
            classification=each.get("classification"),
        )
        for each in Contract.from_text(head.contract).columns.values()
    )


def columns_of_model(repository: Repository, domain: Domain, model: str) -> tuple[Column, ...]:
    """The columns of a domain's model, by its SQL over empty tables.

    What the columns mean comes from the columns of the same name that the model is made of.

    Raises:
        UsageError: the SQL does not run, or a type does not exist on every target.
        DbtFailed: the domain's SQL does not render.
    """
    models = first_builds(repository, domain.name)
    wanted = next((each for each in models if each.name == model), None)
    if wanted is None:
        raise UsageError(f"`{model}` of {domain.name} is not a model in SQL. Name another one.")
    given = list(_given(repository, domain))
    with connect_memory() as connection:
        connection.execute(f"attach ':memory:' as {_DATABASE}")
        connection.execute(f"use {_DATABASE}")
        for relation, columns in given:
            _make(connection, relation, columns)
        described = _described(connection, models, wanted)
    # A staging model may show `orderId` as `order_id`.
    meanings = {snake_case(each.name, ()): each for _, columns in given for each in columns}
    meanings |= {column.name: column for _, columns in given for column in columns}
    meanings |= {"landed_at": Column("landed_at", "", "When it landed in the mesh (UTC).")}
    found = []
    for name, kind in described:
        meaning = meanings.get(name, Column(name, ""))
        required = meaning.required and not _MAKES_NULLS.search(wanted.sql)
        kind = _declared(model, name, kind)
        found.append(replace(meaning, name=name, data_type=kind, required=required))
    return tuple(found)


def _given(repository: Repository, domain: Domain) -> Iterator[tuple[str, Sequence[Column]]]:
    """What a domain's models are made of: relation -> its columns."""
    for raw in domain.raw_tables:
        added = [Column(name, str(kind)) for name, kind in METADATA_COLUMNS]
        yield raw.relation, [*raw.columns, *added]
    for product in repository.provided(domain):
        for relation in product.relations:
            yield relation, columns_of_product(repository, product)


def _make(connection: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[Column]) -> None:
    schema, _, name = relation.partition(".")
    fields = [(each.name, arrow_type(parse_type(each.data_type))) for each in columns]
    connection.execute(f"create schema if not exists {sql.quote(schema)}")
    connection.register("empty", pa.schema(fields).empty_table())
    connection.execute(
        f"create or replace table {sql.quote(schema)}.{sql.quote(name)} as from empty"
    )


def _described(
    connection: duckdb.DuckDBPyConnection, models: Sequence[FirstBuild], wanted: FirstBuild
) -> list[tuple[str, str]]:
    """Name and type of each column of a model; models come before those that read them."""
    for each in models:
        schema, _, name = each.relation.partition(".")
        relation = f"{sql.quote(schema)}.{sql.quote(name)}"
        try:
            connection.execute(f"create schema if not exists {sql.quote(schema)}")
            connection.execute(f"create or replace table {relation} as {each.sql}")
        except duckdb.Error as error:
            if each is wanted:
                text = " ".join(str(error).split())
                raise UsageError(
                    f"The columns of `{each.name}` are unknown, because its SQL does not run: "
                    f"{text[:200]} Correct it first."
                ) from error
            continue  # another model that the wanted one does not need
        if each is wanted:
            break
    rows = connection.execute(f"describe {relation}").fetchall()
    return [(str(row[0]), str(row[1])) for row in rows]


def _declared(model: str, name: str, kind: str) -> str:
    declared = duckdb_type(kind)
    try:
        return str(parse_type(declared))
    except ValueError as error:
        raise UsageError(f"Column `{name}` of `{model}`: {error} Cast it there first.") from error
