"""How to read a product: text that a reader copies and runs.

Belongs here: which blocks a product has, and the values in them. Not here: markup. The texts are
templates/snippets/, because what they name belongs to engines and tools.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from meshhouse.catalog.documents import ProductFacts
from meshhouse.catalog.pages.render import text
from meshhouse.repository.staging import column_sql

_HARMLESS = re.compile(r"[A-Za-z_][A-Za-z0-9_ .-]{0,99}")
"""Names that mean nothing in dbt's templates and end no quotes."""


@dataclass(frozen=True)
class Snippet:
    """One block of text."""

    kind: str
    """Names the block for tests and links, such as `sql`."""
    title: str
    language: str
    text: str
    note: str = ""
    """What must be so for the block to work."""
    file: str = ""
    """Where the text goes, if it is a file."""


def snippets(product: ProductFacts, storage: str) -> list[Snippet]:
    """The blocks of a product's page.

    Args:
        product: which one.
        storage: see `Mesh.storage`.
    """
    values = {"product": product, "ref": reference(product), "columns": _columns(product)}

    def of(file: str) -> str:
        return text(f"snippets/{file}", **values).rstrip("\n")

    found = [
        Snippet("sql", "SQL", "sql", of("query.sql"),
                "In the shell that mesh sql opens, or as its argument. DuckDB answers."
                if storage != "warehouse" else "In a worksheet, in the mesh's database."),
        Snippet("shell", "Terminal", "sh", of("terminal.sh"), "Inside the repository."),
    ]  # fmt: skip
    if storage != "warehouse":
        found.append(
            Snippet("python", "Python", "python", of("python.py.txt"),
                    "All products as of one time, in a DuckDB connection.")
        )  # fmt: skip
    found += [
        Snippet("dependencies", "dbt: name the domain", "yaml", of("dependencies.yml.txt"),
                file="dependencies.yml"),
        Snippet("dbt", "dbt: a staging model", "sql", of("staging.sql"),
                file=f"models/staging/stg_{product.domain}__{product.model}.sql"),
    ]  # fmt: skip
    if storage == "lake":
        note = "With PySpark 4.1 and Java 17 or 21, where the mesh's folder is."
        found.append(Snippet("pyspark", "Spark", "python", of("spark.py.txt"), note))
    return found


def reference(product: ProductFacts) -> str:
    """The arguments of dbt's `ref` in another domain."""
    version = "" if product.is_latest else f", v={product.version}"
    return f"'{product.domain}', '{product.model}'{version}"


def _columns(product: ProductFacts) -> list[str]:
    """The columns for SQL in dbt; none if one of them could be more than a name there."""
    names = [column.name for column in product.columns]
    if not all(map(_HARMLESS.fullmatch, names)):
        return []
    return [column_sql(name) for name in names]
