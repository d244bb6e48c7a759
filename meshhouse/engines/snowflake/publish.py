"""The statements that show one generation of a product to its readers in Snowflake.

Belongs here: SQL text, and nothing that runs it: what fakesnow cannot run is tested by
its text. Does not: deciding what is shown.

Every statement may be repeated, so that a publication that was stopped can be finished.
"""

from __future__ import annotations

from collections.abc import Mapping

from meshhouse import settings
from meshhouse.engines.snowflake.database import SCHEMA
from meshhouse.engines.snowflake.session import Session, literal, quote
from meshhouse.repository import Product
from meshhouse.repository.environment import stored_schema

TAGS = {
    "domain": "The domain that owns the data.",
    "owner": "Whom to ask.",
    "version": "The product's version.",
    "classification": "What kind of data a column holds.",
}
"""Tag -> what it says; they are kept in the schema of the ledger."""


def generation(product: Product, state: int | str) -> str:
    """The relation that keeps one generation of a product: never changed, private."""
    return generation_of(product.relation, state)


def generation_of(relation: str, state: int | str) -> str:
    """See `generation`; for a relation that is known by name only."""
    domain, _, name = relation.partition(".")
    return f"{domain}_generations.{name}__{int(state)}"


def has_tags() -> bool:
    """Whether products bear tags: Snowflake's Standard Edition has none."""
    return settings.value("MESH_SNOWFLAKE_TAGS").lower() not in ("off", "false", "0")


def tag_statements(session: Session) -> list[str]:
    """Makes the tags that published products bear."""
    if not has_tags():
        return []
    return [
        f"create tag if not exists {session.name(SCHEMA, name)} comment = {literal(comment)}"
        for name, comment in TAGS.items()
    ]


def show_statements(
    session: Session,
    product: Product,
    state: int,
    owner: Mapping[str, str],
    environment: str = "",
) -> list[str]:
    """Shows one generation as `<domain>.<product>`, with comments and tags from its YAML.

    The clone copies no data, keeps who may read the product, and has the tags of what it
    clones, so that no policy on them is ever without them. A product with
    `config.meta.shared` has a secure view of explicit columns, `<domain>_shared.<product>`,
    which can be added to a share.

    Args:
        session: names are in its database.
        product: what is shown.
        state: the generation.
        owner: name and e-mail.
        environment: where it is shown; empty for production.
    """
    shown = session.relation(stored_schema(environment, product.relation))
    kept = session.relation(stored_schema(environment, generation(product, state)))
    statements = _tagging(session, product, kept, owner) if has_tags() else []
    statements += [
        # The first of them gets the grants that the schema gives to future tables.
        f"create table if not exists {shown} clone {kept}",
        f"create or replace table {shown} clone {kept} copy grants",
        f"comment on table {shown} is {literal(product.description)}",
    ]
    described = [column for column in product.columns if column.description]
    if described:
        comments = ", ".join(
            f"{quote(column.name)} comment {literal(column.description)}" for column in described
        )
        statements.append(f"alter table {shown} alter {comments}")
    if product.shared and not environment:
        view = session.name(f"{product.domain}_shared", product.name)
        columns = ", ".join(quote(column.name) for column in product.columns)
        query = f"comment = {literal(product.description)} as select {columns} from {shown}"
        statements.append(f"create secure view if not exists {view} {query}")
        statements.append(f"create or replace secure view {view} copy grants {query}")
    return statements


def _tagging(session: Session, product: Product, table: str, owner: Mapping[str, str]) -> list[str]:
    tags = {
        "domain": product.domain,
        "owner": " ".join(part for part in (owner.get("name"), owner.get("email")) if part),
        "version": str(product.version),
    }
    return [
        f"alter table {table} set tag {_tags(session, tags)}",
        *(
            f"alter table {table} modify column {quote(column.name)} "
            f"set tag {_tags(session, {'classification': column.classification})}"
            for column in product.columns
            if column.classification
        ),
    ]


def _tags(session: Session, tags: Mapping[str, str]) -> str:
    return ", ".join(
        f"{session.name(SCHEMA, name)} = {literal(value)}" for name, value in tags.items() if value
    )
