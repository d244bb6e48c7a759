"""Documents: what the catalog knows of products, domains and topics, as plain facts.

Belongs here: frozen dataclasses. Not here: where facts come from (gather/), their form as JSON
(exports/facts.py), or how people see them (pages/).

A document holds facts, not sentences that age: a page computes "3 h ago" when it is read. Whatever
is unknown is None or empty, and pages say "unknown".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from typing import Any

from pydantic import TypeAdapter

STATES = (
    "damaged", "failed", "late", "never published", "not declared", "no promise", "fresh",
    "retired",
)  # fmt: skip
"""States of products, the worst first."""


@dataclass(frozen=True)
class Owner:
    """Who answers for a domain or product."""

    name: str = ""
    email: str = ""
    contact: str = ""


@dataclass(frozen=True)
class ColumnUse:
    """One model of another domain that reads a column."""

    reader: str
    """`domain.model`."""
    how: tuple[str, ...]
    """See `governance/readers.py`."""
    into: tuple[str, ...] = ()
    """The reader's columns that the values reach."""


@dataclass(frozen=True)
class ColumnFacts:
    """One column of a product or topic."""

    name: str
    type: str
    description: str = ""
    required: bool = False
    unique: bool = False
    classification: str = ""
    unit: str = ""
    accepted: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    """Topic fields and columns of other products behind it, as `domain.table.column`."""
    lineage_known: bool = True
    null_share: float | None = None
    distinct: int | None = None
    top: tuple[tuple[str, int], ...] = ()
    """The most frequent values with their counts; never of protected columns."""
    readers: tuple[ColumnUse, ...] = ()


@dataclass(frozen=True)
class CheckFacts:
    """One check of a product, with its last result."""

    id: str
    name: str
    column: str
    source: str
    """Where it comes from, such as `soda`, `dbt` or `contract`."""
    severity: str
    result: str
    """`passed`, `warned`, `failed` or `not run`; `not recorded` of a dbt test that only warns."""
    found: str = ""
    """The measured number, as the audit recorded it."""


@dataclass(frozen=True)
class PromiseFacts:
    """One service-level objective with its last 30 days."""

    objective: str
    target: float
    measured: float | None
    met: bool | None
    at: datetime | None
    budget_left_percent: float | None
    days: tuple[tuple[date, str], ...] = ()
    """Day -> `kept`, `broken` or `not measured`, oldest first."""


@dataclass(frozen=True)
class PublicationFacts:
    """One publication in a product's history."""

    number: int
    kind: str
    at: datetime
    version: int
    rows: int | None
    bytes: int | None
    score: float | None
    run_id: str
    done_by: str = ""
    changes: tuple[str, ...] = ()
    """What it changed for consumers, as sentences."""
    shows: int | None = None
    """Number of the publication that readers see again after a rollback."""
    undid: int | None = None
    """Number of the publication that a rollback took back."""
    back: tuple[str, ...] = ()
    """What a rollback does to columns, as sentences: which are back, gone, or as they were."""
    has_page: bool = False
    """Whether it changed the contract and is among `ProductFacts.contract_changes`."""


@dataclass(frozen=True)
class ChangedFacts:
    """One change of a contract, as the publication recorded it or as both contracts show it."""

    key: str
    """Kind and subject, such as `S1:amount`; the kind alone if the subject is protected."""
    verdict: str
    what: str
    effect: str = ""
    is_silent: bool = False
    hits: tuple[str, ...] | None = None
    """Columns of readers, `domain.model.column`; None if they were not recorded."""
    allowed: str = ""
    """What let it pass: a waiver or a confirmation, with its reason, as a sentence."""


@dataclass(frozen=True)
class ContractChangeFacts:
    """What one publication or rollback changed in the contract of its product."""

    number: int
    kind: str
    at: datetime
    before: int
    """Number of the publication that readers saw until then."""
    version: int
    owner: str = ""
    bump: str = ""
    """The smallest version step that all changes allow; empty if it is not known."""
    parts: tuple[str, ...] = ()
    """Parts of the contract that differ, such as `columns`."""
    is_kept: bool = True
    """Whether the ledger has both contracts. If not, only what was recorded is known."""
    done_by: str = ""
    rows: tuple[int | None, int | None] = (None, None)
    """Before and after."""
    back: tuple[str, ...] = ()
    """See `PublicationFacts`."""
    changes: tuple[ChangedFacts, ...] = ()


@dataclass(frozen=True)
class ReaderFacts:
    """One domain that reads the product."""

    domain: str
    owner: Owner
    models: tuple[str, ...]
    columns: tuple[str, ...]
    reads_30_days: int | None = None
    last_read: datetime | None = None


@dataclass(frozen=True)
class VersionFacts:
    """One version of the product's model."""

    relation: str
    version: int
    is_latest: bool
    deprecated_on: date | None
    readers: tuple[str, ...] = ()
    """Domains that still read it."""


@dataclass(frozen=True)
class CostFacts:
    """What a product costs; see operations for how it is measured."""

    bytes: int | None = None
    seconds: float | None = None
    """Seconds of builds and audits in the last 30 days."""
    credits: float | None = None


@dataclass(frozen=True)
class ConsumerFacts:
    """One consumer's reads of a product."""

    name: str
    """A domain, a consumer that a reader declared, or `people`: names of people stay private."""
    reads_30_days: int
    reads_90_days: int
    last_read: datetime | None


@dataclass(frozen=True)
class UseFacts:
    """Who read a product in the last 90 days."""

    state: str
    """`used`, `unused`, or `not proved`: it was not seen to be read, which proves nothing."""
    why: str
    consumers: tuple[ConsumerFacts, ...] = ()
    columns_30_days: tuple[tuple[str, int], ...] = ()
    """Column -> reads, the most read first."""
    reads_30_days: int = 0
    recorded_since: date | None = None


@dataclass(frozen=True)
class OperationsFacts:
    """What owners and operators look at: the last 30 days of the whole mesh."""

    since: date
    publications: tuple[tuple[date, int], ...] = ()
    """Day -> publications, oldest first."""
    latency_p50_seconds: float | None = None
    """From a landing to the first publication of a product that reads it; None if there was none.
    An event waits in its topic before it lands: that is the lag."""
    latency_p95_seconds: float | None = None
    cost_of_domains: tuple[tuple[str, CostFacts], ...] = ()
    cost_of_consumers: tuple[tuple[str, CostFacts], ...] = ()
    """Both sum to `cost`."""
    cost: CostFacts = field(default_factory=CostFacts)
    ledger_entries: int = 0
    """Commits of the ledger so far."""


@dataclass(frozen=True)
class SampleFacts:
    """Rows that were taken when it was published, without columns whose values are protected."""

    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str | None, ...], ...] = ()


@dataclass(frozen=True)
class ProductFacts:
    """A product as its page shows it."""

    relation: str
    domain: str
    model: str
    version: int
    is_latest: bool
    sentence: str
    """The first sentence of the description."""
    description: str
    grain: tuple[str, ...]
    grain_text: str
    owner: Owner
    state: str
    """`fresh`, `late`, `failed`, `never published`, `retired`, `damaged`, `no promise`, or `not
    declared` if no run publishes it any more: the worst that holds."""
    why: str = ""
    """What is behind a bad state, in one sentence."""
    back_until: date | None = None
    """The last day on which a retired product can surely be brought back."""
    published_at: datetime | None = None
    refreshed_at: datetime | None = None
    refreshed_within_hours: float | None = None
    rows: int | None = None
    bytes: int | None = None
    score: float | None = None
    checks_passed: int = 0
    checks_run: int = 0
    deprecated_on: date | None = None
    classification: str = ""
    """The most protected class of its columns."""
    tags: tuple[str, ...] = ()
    columns: tuple[ColumnFacts, ...] = ()
    checks: tuple[CheckFacts, ...] = ()
    promises: tuple[PromiseFacts, ...] = ()
    publications: tuple[PublicationFacts, ...] = ()
    """Newest first, at most 90."""
    contract_changes: tuple[ContractChangeFacts, ...] = ()
    """Publications and rollbacks that changed the contract, newest first, at most 5."""
    older_contract_changes: int = 0
    """Those that are left out."""
    readers: tuple[ReaderFacts, ...] = ()
    versions: tuple[VersionFacts, ...] = ()
    reads: tuple[str, ...] = ()
    """Relations of other domains that it is built from."""
    topics: tuple[str, ...] = ()
    """Raw tables of its domain that it is built from, `schema.table`."""
    inputs: tuple[str, ...] = ()
    """What its models read without another product in between: products of all domains, and raw
    tables as `schema.table`; see `inputs.py`."""
    cost: CostFacts = field(default_factory=CostFacts)
    use: UseFacts | None = None
    """None if the recorded reads could not be read."""
    sample: SampleFacts | None = None
    ledger_position: int = 0
    """Number of the last commit that says anything of this product."""
    yours: str = ""
    """`owned` or `read` by the domain for which the catalog is made; empty otherwise."""


@dataclass(frozen=True)
class TopicFacts:
    """A topic and its raw table."""

    domain: str
    table: str
    """Name of the raw table without its schema."""
    topic: str
    format: str
    description: str
    columns: tuple[ColumnFacts, ...]
    rows: int | None = None
    landed_at: datetime | None = None
    lag: int | None = None
    """Events that wait; None if nobody asked."""
    rejected: tuple[tuple[str, int], ...] = ()
    """Reason -> events."""
    products: tuple[str, ...] = ()
    """Products of its domain that are built from it."""


@dataclass(frozen=True)
class DomainFacts:
    """A domain and what it owns."""

    name: str
    description: str
    owner: Owner
    products: tuple[str, ...]
    topics: tuple[str, ...]
    """Raw tables, without their schema."""
    reads_from: tuple[str, ...]
    """Domains whose products it reads."""
    read_by: tuple[str, ...]
    state: str
    """The worst state of its products, or `no products`."""
    promises_kept_percent: float | None = None
    waivers: tuple[str, ...] = ()
    """Open waivers, as sentences."""
    problem: str = ""
    """Why no run can build it; empty if it is fine."""
    is_removed: bool = False
    """Whether nothing declares it any more; what it published can still be read."""


@dataclass(frozen=True)
class FindingFacts:
    """One finding of `mesh check`."""

    file: str
    """Relative to the root of the repository."""
    line: int
    rule: str
    """The policy that is broken; empty if it is none."""
    severity: str
    """`error` or `warn`."""
    problem: str
    remedy: str


@dataclass(frozen=True)
class RuleFacts:
    """One rule that `policies.yml` names."""

    name: str
    severity: str
    asks: str
    """What the rule asks, in one sentence."""


@dataclass(frozen=True)
class PolicyFacts:
    """The rules of the federation, and how the declarations keep them."""

    rules: tuple[RuleFacts, ...]
    findings: tuple[FindingFacts, ...]


@dataclass(frozen=True)
class Step:
    """One step of a column's way from topic fields to a product."""

    at: str
    """`domain.model.column`, or `domain.product.column` with the product's relation, or
    `schema.table.column` of a raw table. Without a column: the number of its rows."""
    kind: str
    """`topic`, `seed`, `model` or `product`."""
    how: str
    """`same value`, `computed`, `counted`, `constant` or `unknown`."""
    sql: str
    """The expression; empty for a topic field."""
    inputs: tuple[str, ...] = ()
    """`at` of the steps before whose values it has."""
    filters: tuple[str, ...] = ()
    """`at` of the steps before that only decide which values count."""


@dataclass(frozen=True)
class Mesh:
    """All documents of one catalog."""

    built_at: datetime
    domains: tuple[DomainFacts, ...]
    products: tuple[ProductFacts, ...]
    topics: tuple[TopicFacts, ...]
    traces: Mapping[str, tuple[Step, ...]] = field(default_factory=dict)
    """`domain.product.column` in lower case -> its steps, the column itself last. Found when asked
    for; see `traces.py`."""
    trace_digests: Mapping[str, str] = field(default_factory=dict)
    """Relation of a product -> a digest of everything that decides the traces of its columns."""
    consumer: str = ""
    """The domain for which the catalog is made; empty for everyone."""
    environment: str = ""
    """Empty for production."""
    operations: OperationsFacts | None = None
    """None if nobody gathered it."""
    policies: PolicyFacts | None = None
    """None if the declarations were not checked."""
    listed: frozenset[str] | None = None
    """The domains of which anything changed since the build before; None if that is not known.
    Then `products` has whole documents of these domains and of those that they are shown with. Of
    others, it has what pages of the whole mesh show."""
    entries: int | None = None
    """Publications of all products; None if `products` has them all."""
    storage: str = "lake"
    """Where published tables are: `lake` (Iceberg in a folder, with a catalog file), `store`
    (Iceberg in an object store or with a catalog service) or `warehouse` (the engine's tables)."""


@cache
def adapter(kind: type) -> TypeAdapter[Any]:
    """What reads and writes documents of a class as JSON, and knows their schema."""
    return TypeAdapter(kind)


def is_listed(mesh: Mesh, domain: str) -> bool:
    """Whether pages of a domain may have changed since the build before."""
    return mesh.listed is None or domain in mesh.listed
