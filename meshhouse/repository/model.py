"""What the repository declares: domains, topics, products.

Belongs here: facts as frozen dataclasses. Not here: reading files (read.py), or anything
that has happened, such as a publication (ledger.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meshhouse.repository.yaml import DeclarationError

ROOT_DOMAIN = "mesh"
FORMATS = ("json", "avro", "protobuf", "debezium", "debezium-avro", "text")
"""Formats of events that a topic may declare."""
_MOMENTS, _DECIMALS = frozenset({"timestamp", "timestamptz"}), frozenset({"decimal"})
ENCODINGS = {
    **dict.fromkeys(("milliseconds", "microseconds", "nanoseconds"), _MOMENTS),
    **dict.fromkeys(("text", "base64"), _DECIMALS),
}
"""Encoding that a column may declare -> the types of values that it is for."""


@dataclass(frozen=True)
class Column:
    """One declared column."""

    name: str
    data_type: str
    description: str = ""
    required: bool = False
    required_line: int | None = None
    """The line that says so; None where `line` does, or where nothing does."""
    line: int = 1
    classification: str | None = None
    """The kind of data in the column, such as `personal`."""
    unit: str | None = None
    """The unit or currency of its numbers."""
    encoding: str | None = None
    """For the format `debezium`: how values without a schema are written, one of `ENCODINGS`."""


@dataclass(frozen=True)
class SourceTable:
    """A table or view of a database that events are extracted from."""

    database: str
    """`postgres` or `mysql`."""
    connection: str
    """The environment variable with the connection."""
    name: str
    """`schema.table`; in MySQL the schema is the database."""
    cursor: str | None = None
    """The column that grows with each change; None to read the whole table each time."""
    lag: float = 0
    """How far behind the greatest cursor a row may still appear, in the unit of the cursor."""
    every_hours: float = 0
    """Without a cursor: the hours between two readings of the table."""

    @property
    def identity(self) -> str:
        """The table and the cursor, which must stay for the rows that were sent to be known."""
        return f"{self.database} {self.name}" + (f" by {self.cursor}" if self.cursor else "")


@dataclass(frozen=True)
class SourceStream:
    """A Kinesis data stream that events are extracted from."""

    name: str
    region: str | None = None
    """None for the region of AWS's variables and files."""


@dataclass(frozen=True)
class Extraction:
    """Where events of a topic come from, other than from producers: files, a table or a stream."""

    files: str = ""
    """A pattern of paths, relative to the folder of the domain, or of an object store."""
    key: str | None = None
    """The column whose text is the key of an event."""
    format: str | None = None
    """What the files hold; None if their suffixes say so."""
    table: SourceTable | None = None
    """The table, if the events are its rows."""
    stream: SourceStream | None = None
    """The stream, if the events are its records."""


@dataclass(frozen=True)
class RawTable:
    """A topic and the typed table that its events land in: `<schema>.<name>`."""

    domain: str
    schema: str
    name: str
    topic: str
    columns: tuple[Column, ...]
    description: str
    changelog: bool
    """Whether an event with a null value is a deletion; otherwise it is rejected."""
    path: Path
    line: int
    format: str = "json"
    """One of `FORMATS`, unless the declaration is wrong."""
    pattern: str | None = None
    """For the format `text`: a regular expression for a line, or the name of a known one."""
    schema_path: Path | None = None
    """For the format `avro`: the schema of all events; None if each event names its schema."""
    max_rejected_percent: float = 1.0
    """If more than this share of a topic's events is rejected, a check warns."""
    warn_after: timedelta | None = None
    """dbt's `freshness` of the source: a check warns where no event landed for so long."""
    error_after: timedelta | None = None
    """As `warn_after`; then the check fails."""
    extraction: Extraction | None = None
    """What `mesh extract` and runs send to the topic."""

    @property
    def relation(self) -> str:
        """Schema and table."""
        return f"{self.schema}.{self.name}"

    @property
    def rejected(self) -> str:
        """Name of the table of rejected events, in the same schema."""
        return f"{self.name}__rejected"


@dataclass(frozen=True)
class Sink:
    """A place outside the lake that receives the changed rows of each publication."""

    kind: str
    """`postgres`, `cassandra`, `kafka` or `python`."""
    target: str
    """The table, the topic, or the Python file."""
    connection: str = ""
    """The environment variable with the connection to PostgreSQL or Cassandra."""
    clear: tuple[str, ...] = ()
    """Personal columns that it receives in clear."""
    without: tuple[str, ...] = ()
    """Columns that it does not receive."""
    line: int = 1

    @property
    def name(self) -> str:
        """Its name in the ledger and in messages."""
        place = f"{self.kind}:{self.target}"
        return f"{place}@{self.connection}" if self.connection else place


@dataclass(frozen=True)
class Product:
    """A dbt model with `access: public`."""

    domain: str
    model: str
    version: int
    is_latest: bool
    columns: tuple[Column, ...]
    description: str
    group: str | None
    contract: bool
    grain: tuple[str, ...]
    promises: Mapping[str, Any]
    path: Path
    """Its YAML file."""
    line: int
    sql_path: Path
    deprecation_date: str | None = None
    versioned: bool = False
    latest_version: int = 1
    threshold: float = 0.0
    """The score below which a candidate is not published."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Key or kind of a check -> its weight in the score; 1 for others."""
    shared: bool = False
    """Whether other accounts are offered the product, on targets that support it."""
    renamed_from: str | None = None
    """The relation that its model had before, `domain.model`; None if it was not renamed."""
    owner: Mapping[str, str] = field(default_factory=dict)
    """Name and e-mail address of its owner; empty until `Manifest.described` fills it in."""
    may_be_empty: bool = False
    """Whether a candidate without rows may be published."""
    sinks: tuple[Sink, ...] = ()
    """What receives its changed rows after each publication."""
    meta_lines: Mapping[str, int] = field(default_factory=dict)
    """Key of `config.meta`, or of its promises -> its line in the YAML file."""

    @property
    def name(self) -> str:
        """The name for consumers; that of a version has its number: `orders_v2`."""
        return self.build_name

    @property
    def relation(self) -> str:
        """Published schema and table."""
        return f"{self.domain}.{self.name}"

    @property
    def plain_relation(self) -> str:
        """The relation without the number of a version."""
        return f"{self.domain}.{self.model}"

    @property
    def former_relation(self) -> str | None:
        """The relation before the product was renamed or moved; None if it was not."""
        if self.renamed_from is None:
            return None
        return f"{self.renamed_from}_v{self.version}" if self.versioned else self.renamed_from

    @property
    def former(self) -> Product | None:
        """The product under the name before it was renamed, for readers that still use it."""
        if self.renamed_from is None:
            return None
        domain, _, model = self.renamed_from.partition(".")
        return replace(self, domain=domain, model=model, renamed_from=None)

    @property
    def aliases(self) -> tuple[str, ...]:
        """Other relations that show the same.

        These are the latest version's name without a number, and the names before a renaming.
        """
        has_plain = self.versioned and self.is_latest
        plain = (self.plain_relation, self.renamed_from) if has_plain else ()
        return tuple(dict.fromkeys(each for each in (*plain, self.former_relation) if each))

    @property
    def relations(self) -> tuple[str, ...]:
        """Every relation under which consumers find it, its own first."""
        return (self.relation, *self.aliases)

    @property
    def deprecated_on(self) -> date | None:
        """The last day on which the product is promised; None if it is not deprecated."""
        if self.deprecation_date is None:
            return None
        return datetime.fromisoformat(self.deprecation_date).date()

    def called(self, relation: str) -> Product:
        """The product under one of its names, for what must be written under that name."""
        if relation == self.relation:
            return self
        domain, _, name = relation.partition(".")
        return replace(self, domain=domain, model=name, versioned=False, renamed_from=None)

    @property
    def build_name(self) -> str:
        """Name of the built table in the domain's own schema, as dbt aliases it."""
        return f"{self.model}_v{self.version}" if self.versioned else self.model

    @property
    def checks_path(self) -> Path:
        """The Soda checks beside the SQL."""
        return self.sql_path.with_name(f"{self.sql_path.stem}.checks.yml")


@dataclass(frozen=True)
class CrossReference:
    """A two-argument `ref` found in a model: `ref('<domain>', '<product>')`."""

    domain: str
    product: str
    path: Path
    line: int
    version: int | None = None


@dataclass(frozen=True)
class UnknownKey:
    """A key of a YAML file that neither the mesh nor dbt reads."""

    path: Path
    line: int
    problem: str
    remedy: str
    is_style: bool
    """The key is an extra key of the author, not a misspelt one: a run ignores it."""


@dataclass(frozen=True)
class Domain:
    """One domain: a dbt project and what it declares."""

    name: str
    path: Path
    upstream: tuple[str, ...]
    """Domains whose products it uses, from `dependencies.yml`."""
    owners: Mapping[str, Mapping[str, str]]
    """dbt groups: name -> owner's `name` and `email`."""
    raw_tables: tuple[RawTable, ...]
    products: tuple[Product, ...]
    private_models: tuple[str, ...]
    references: tuple[CrossReference, ...]
    description: str = ""
    yaml_files: tuple[Path, ...] = field(default=(), compare=False)
    problems: tuple[DeclarationError, ...] = field(default=(), compare=False)
    """What makes its declarations unusable; the other fields hold what could be read."""
    unknown_keys: tuple[UnknownKey, ...] = field(default=(), compare=False)

    @property
    def build_schema(self) -> str:
        """The schema that dbt builds in; private to the domain."""
        return f"{self.name}_build"

    def product(self, name: str) -> Product | None:
        """The product that consumers call `name`; without a number, the latest version."""
        relation = f"{self.name}.{name}"
        return next((each for each in self.products if relation in each.relations), None)

    def owner(self, product: Product | None = None) -> Mapping[str, str]:
        """Name and e-mail of a product's owner; by default, the owner of the first group."""
        if product is not None and product.group in self.owners:
            return self.owners[product.group]
        return next(iter(self.owners.values()), {})
