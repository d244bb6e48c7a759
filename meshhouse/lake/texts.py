"""What people say about a table, in the words that every Iceberg reader knows.

Belongs here: comment, owner and contact as properties, descriptions as docs of columns, and
which columns hold no null. Not here: reading declarations (repository/), or when a state is
shown (engines/, landing/).

Columns stay optional. Iceberg forbids to make an optional column required: whoever reads
changes reads older files, which may hold nulls, with the newest schema. So a property names
the columns without a null, and is counted for each state that is shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pyiceberg.schema import Schema

from meshhouse.repository.model import Column, Product

if TYPE_CHECKING:
    from pyiceberg.io import FileIO
    from pyiceberg.manifest import DataFile, ManifestFile

COMMENT = "comment"
OWNER = "owner"
"""Spark and Trino show properties of these two names as comment and owner of a table."""
CONTACT = "meshhouse.contact"
NOT_NULL = "meshhouse.not-null-columns"
"""A list in JSON: columns that must not be null by contract or grain, and hold no null."""
LONGEST = 4_000
"""Characters of a text. Metadata files repeat it in each schema, and every reader reads them."""


@dataclass(frozen=True)
class Texts:
    """What is declared about a product for its readers."""

    comment: str = ""
    owner: str = ""
    contact: str = ""
    docs: Mapping[str, str] = field(default_factory=dict)
    """Column in lower case -> description, of columns that have one."""
    promised: frozenset[str] = frozenset()
    """Columns in lower case that must hold no null."""

    @classmethod
    def of(cls, product: Product) -> Texts:
        """Of a product as `Manifest.described` gives it."""
        required = {column.name for column in product.columns if column.required}
        return cls(
            comment=bounded(product.description),
            owner=bounded(str(product.owner.get("name") or "")),
            contact=bounded(str(product.owner.get("email") or "")),
            docs=docs_of(product.columns),
            promised=frozenset(name.lower() for name in required | {*product.grain}),
        )

    def as_said(self, properties: Mapping[str, str], schema: Schema) -> Texts:
        """The texts that a table has already; declared is only what must hold no null."""
        return replace(
            self,
            comment=properties.get(COMMENT, ""),
            owner=properties.get(OWNER, ""),
            contact=properties.get(CONTACT, ""),
            docs={each.name.lower(): each.doc for each in schema.fields if each.doc},
        )

    def properties(self, before: Mapping[str, str], without_null: Iterable[str]) -> dict[str, str]:
        """Properties of a table with these texts in place of earlier ones.

        Args:
            before: the properties as they are.
            without_null: what `columns_without_null` found in the state that is to be shown.
        """
        names = list(without_null)
        said = {
            COMMENT: self.comment,
            OWNER: self.owner,
            CONTACT: self.contact,
            NOT_NULL: json.dumps(names) if names else "",
        }
        others = {name: text for name, text in before.items() if name not in said}
        return {**others, **{name: text for name, text in said.items() if text}}

    def columns_without_null(self, schema: Schema, files: Iterable[DataFile]) -> list[str]:
        """Promised columns of which every file says that it holds no null.

        Args:
            schema: what the files hold.
            files: all of a state; one that says nothing of a column proves nothing.
        """
        names = {each.field_id: each.name for each in schema.fields
                 if each.name.lower() in self.promised}  # fmt: skip
        for file in files if names else ():
            counts = file.null_value_counts or {}
            names = {number: name for number, name in names.items() if counts.get(number) == 0}
        return list(names.values())


def docs_of(columns: Iterable[Column]) -> dict[str, str]:
    """Column in lower case -> description, of columns that have one."""
    return {each.name.lower(): bounded(each.description) for each in columns if each.description}


def bounded(text: str) -> str:
    """A text that every catalog keeps: PostgreSQL, behind many services, refuses NUL."""
    text = text.replace("\0", "")
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def with_docs(schema: Schema, docs: Mapping[str, str]) -> Schema:
    """The same columns with these docs and no others.

    Args:
        schema: any.
        docs: column in lower case -> text.
    """
    fields = [
        each.model_copy(update={"doc": docs.get(each.name.lower())}) for each in schema.fields
    ]
    return Schema(
        *fields, schema_id=schema.schema_id, identifier_field_ids=schema.identifier_field_ids
    )


def data_files(io: FileIO, manifests: Iterable[ManifestFile]) -> list[DataFile]:
    """The data files that manifests list."""
    from pyiceberg.manifest import ManifestContent

    return [
        entry.data_file
        for manifest in manifests
        if manifest.content == ManifestContent.DATA
        for entry in manifest.fetch_manifest_entry(io, discard_deleted=True)
    ]
