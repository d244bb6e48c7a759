"""Descriptions of a table, stored where every Iceberg reader finds them.

Belongs here: comment, owner and contact as table properties, descriptions as column docs, and the
columns without nulls. Not here: reading declarations (repository/), or when a state becomes
visible (engines/, landing/).

Columns stay optional. Iceberg does not let an optional column become required, because the newest
schema also reads older files, which may hold nulls. So a table property lists the columns
without nulls. It is computed for each published state.
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
"""Spark and Trino show the properties `comment` and `owner` as comment and owner of a table."""
CONTACT = "meshhouse.contact"
NOT_NULL = "meshhouse.not-null-columns"
"""A JSON list: columns that must not be null by contract or grain, and hold no null."""
LONGEST = 4_000
"""Most characters of a text. Metadata files repeat texts in every schema, and readers read all."""


@dataclass(frozen=True)
class Texts:
    """What a product's declaration tells its readers."""

    comment: str = ""
    owner: str = ""
    contact: str = ""
    docs: Mapping[str, str] = field(default_factory=dict)
    """Column in lower case -> description; only columns with a description."""
    promised: frozenset[str] = frozenset()
    """Columns in lower case that must hold no null."""

    @classmethod
    def of(cls, product: Product) -> Texts:
        """The texts of a product from `Manifest.described`."""
        required = {column.name for column in product.columns if column.required}
        return cls(
            comment=bounded(product.description),
            owner=bounded(str(product.owner.get("name") or "")),
            contact=bounded(str(product.owner.get("email") or "")),
            docs=docs_of(product.columns),
            promised=frozenset(name.lower() for name in required | {*product.grain}),
        )

    def as_said(self, properties: Mapping[str, str], schema: Schema) -> Texts:
        """The texts that a table already has, with the declared `promised` columns."""
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
            before: the present properties.
            without_null: the columns that `columns_without_null` found in the state to publish.
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
        """Promised columns that have no null in any file.

        Args:
            schema: the schema of the files.
            files: all files of a state. A file without a count of nulls may hold nulls.
        """
        names = {each.field_id: each.name for each in schema.fields
                 if each.name.lower() in self.promised}  # fmt: skip
        for file in files if names else ():
            counts = file.null_value_counts or {}
            names = {number: name for number, name in names.items() if counts.get(number) == 0}
        return list(names.values())


def docs_of(columns: Iterable[Column]) -> dict[str, str]:
    """Column in lower case -> description; only columns with a description."""
    return {each.name.lower(): bounded(each.description) for each in columns if each.description}


def bounded(text: str) -> str:
    """A text that every catalog accepts: at most `LONGEST` characters, and without NUL.

    Many catalog services store texts in PostgreSQL, which refuses NUL.
    """
    text = text.replace("\0", "")
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def with_docs(schema: Schema, docs: Mapping[str, str]) -> Schema:
    """The same columns with exactly these docs.

    Args:
        schema: the columns.
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
