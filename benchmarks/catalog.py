"""The catalog of 5,000 products with 20 columns each: how long its site takes, and how large it is.

Documents are generated, so the figures are those of the writer and the pages. What reading
documents from declarations and the ledger costs, catalog_gather.py measures.
"""

from __future__ import annotations

import gzip
import random
import resource
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from meshhouse.catalog import site
from meshhouse.catalog.digests import Digests
from meshhouse.catalog.documents import (
    ChangedFacts,
    CheckFacts,
    ColumnFacts,
    ColumnUse,
    ContractChangeFacts,
    CostFacts,
    DomainFacts,
    Mesh,
    Owner,
    PolicyFacts,
    ProductFacts,
    PromiseFacts,
    PublicationFacts,
    ReaderFacts,
    Step,
    TopicFacts,
    VersionFacts,
)
from meshhouse.garbage import look_seldom

DOMAINS, EACH, COLUMNS = 100, 50, 20
PUBLICATIONS, CHECKS = 90, 24
CONTRACT_CHANGES = 2
"""Publications of each product that changed its contract, each with a page."""
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
WORDS = (
    "order", "basket", "store", "customer", "household", "campaign", "coupon", "ticket", "chat",
    "product", "price", "stock", "supplier", "invoice", "payment", "refund", "shipment", "route",
    "driver", "vehicle", "visit", "session", "click", "search", "offer", "segment", "member",
    "point", "reward", "claim", "policy", "premium", "branch", "account", "ledger", "entry",
    "budget", "forecast",
)  # fmt: skip
KINDS = ("bigint", "string", "decimal(12,2)", "timestamptz", "boolean", "date")
OWNER = Owner("Team of a domain", "team@example.com", "#data-team")


def main() -> None:
    """Measures, and prints one line for each figure."""
    look_seldom()  # as `mesh` does
    mesh = synthetic()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "site")
        built = measured("full build", mesh, folder, 60)
        print(f"  {built.pages:,} files, {built.bytes / 2**20:.0f} MiB; aim at most 120 MiB")
        measured("nothing changed", mesh, folder)
        digests = Digests()
        mesh = published(mesh, 1)
        built = measured("after one publication, new process", mesh, folder, 2, digests)
        print(f"  {len(built.written)} files written")
        mesh = published(mesh, 2)
        measured("after one publication, same process", mesh, folder, 2, digests)
        first = first_load(folder)
        print(f"first load: {first / 1024:.0f} KiB compressed; aim at most 160 KiB")


def measured(
    name: str, mesh: Mesh, folder: Path, aim: int | None = None, digests: Digests | None = None
) -> site.Built:
    """Builds, and prints wall time and CPU time, with that of its processes."""
    before, started = cpu(), time.perf_counter()
    built = site.build(mesh, folder, digests=digests)
    wall, spent = time.perf_counter() - started, cpu() - before
    wanted = f"; aim at most {aim} s" if aim else ""
    print(f"{name}: {wall:.1f} s, CPU {spent:.1f} s{wanted}", flush=True)
    return built


def cpu() -> float:
    """CPU seconds of this process and of those that ended."""
    used = [resource.getrusage(each) for each in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def first_load(folder: Path) -> int:
    """Compressed bytes of the home page, of what it loads, and of the list that search needs."""
    files = [folder / "index.html", *(folder / "assets").iterdir(), folder / "search" / "list.js"]
    return sum(len(gzip.compress(each.read_bytes(), 9)) for each in files)


def published(mesh: Mesh, more: int) -> Mesh:
    """The mesh after one more publication of one product."""
    at = len(mesh.products) // 2
    product = mesh.products[at]
    newest = replace(product.publications[0], number=10**6 + more, at=NOW)
    changed = replace(
        product,
        rows=product.rows + more,
        published_at=NOW + timedelta(minutes=more),
        refreshed_at=NOW + timedelta(minutes=more),
        publications=(newest, *product.publications[:-1]),
        ledger_position=10**6 + more,
    )
    products = (*mesh.products[:at], changed, *mesh.products[at + 1 :])
    return replace(mesh, products=products, built_at=NOW + timedelta(minutes=more))


class _Traces(Mapping[str, tuple[Step, ...]]):
    """A topic field, a model and the product for each column."""

    def __init__(self, columns: dict[str, str]) -> None:
        self._columns = columns

    def __len__(self) -> int:
        return len(self._columns)

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __getitem__(self, at: str) -> tuple[Step, ...]:
        root = self._columns[at]
        domain, product, column = at.split(".")
        staged = f"{domain}.stg_{product}.{column}"
        return (
            Step(root, "topic", "same value", ""),
            Step(staged, "model", "computed", f"cast({column} as bigint)", (root,)),
            Step(at, "product", "same value", column, (staged,)),
        )


def synthetic(domains: int = DOMAINS, each: int = EACH, columns: int = COLUMNS) -> Mesh:
    """Documents of a mesh, the same every time."""
    chance = random.Random(7)
    names = [f"{chance.choice(WORDS)}_{number:03}" for number in range(domains)]
    products, traces = [], {}
    for at in range(domains):
        for number in range(each):
            product = _product(chance, names, at, number, columns)
            products.append(product)
            for column in product.columns:
                traces[f"{product.relation}.{column.name}"] = column.roots[0]
    products.sort(key=lambda found: found.relation)
    return Mesh(
        built_at=NOW,
        domains=tuple(_domain(names, at, products) for at in range(domains)),
        products=tuple(products),
        topics=tuple(_topic(domain, columns) for domain in names),
        traces=_Traces(traces),
        trace_digests={found.relation: found.relation for found in products},
        policies=PolicyFacts((), ()),
    )


def _product(
    chance: random.Random, names: list[str], at: int, number: int, columns: int
) -> ProductFacts:
    domain = names[at]
    name = f"{chance.choice(WORDS)}_{chance.choice(WORDS)}s_{number:02}"
    before, after = names[at - 1], names[(at + 1) % len(names)]
    sentence = f"What a {chance.choice(WORDS)} and a {chance.choice(WORDS)} have in common."
    age = chance.random() * 30
    return ProductFacts(
        relation=f"{domain}.{name}",
        domain=domain,
        model=name,
        version=1,
        is_latest=True,
        sentence=sentence,
        description=f"{sentence} Late events correct it. One row per {name.split('_')[0]}.",
        grain=("column_00",),
        grain_text=f"One row per {name.split('_')[0]}.",
        owner=OWNER,
        state="fresh" if age < 24 else "late",
        published_at=NOW - timedelta(hours=age),
        refreshed_at=NOW - timedelta(hours=age),
        refreshed_within_hours=24.0,
        rows=chance.randrange(10**6),
        bytes=chance.randrange(10**8),
        score=100.0,
        checks_passed=CHECKS,
        checks_run=CHECKS,
        columns=tuple(_column(chance, domain, index, after) for index in range(columns)),
        checks=tuple(
            CheckFacts(f"check_{index}", f"Check {index} of {name}", f"column_{index % columns:02}",
                       "soda", "error", "passed", "found 0, must be 0")
            for index in range(CHECKS)
        ),
        promises=tuple(
            PromiseFacts(objective, 24.0, age, age < 24, NOW, 80.0,
                         tuple((date(2026, 11, 1) + timedelta(days=day), "kept")
                               for day in range(30)))
            for objective in ("refreshed_within_hours", "availability_percent")
        ),
        publications=tuple(
            PublicationFacts(10**5 - index, "publish", NOW - timedelta(hours=age + 8 * index), 1,
                             10**5 + chance.randrange(10**4), 10**7, 100.0, f"run-{index}", "ci")
            for index in range(PUBLICATIONS)
        ),
        contract_changes=tuple(_change(10**5 - 7 * at, after) for at in range(CONTRACT_CHANGES)),
        readers=(ReaderFacts(after, OWNER, (f"stg_{name}",), ("column_00", "column_01")),),
        versions=(VersionFacts(f"{domain}.{name}", 1, True, None, (after,)),),
        reads=(),
        topics=(f"{domain}_raw.events",),
        inputs=(f"{domain}_raw.events",),
        cost=CostFacts(bytes=10**7),
        ledger_position=10**5,
        classification="internal" if before else "",
    )  # fmt: skip


def _change(number: int, reader: str) -> ContractChangeFacts:
    changes = tuple(
        ChangedFacts(f"S5:column_{at:02}", "minor", f"Column `column_{at:02}` is added.",
                     "Readers of `*` get one more column.", hits=(f"{reader}.stg.column_{at:02}",))
        for at in range(3)
    )  # fmt: skip
    return ContractChangeFacts(number, "publish", NOW, number - 1, 1, "Team", "minor",
                               ("code", "columns"), done_by="ci", changes=changes)  # fmt: skip


def _column(chance: random.Random, domain: str, index: int, reader: str) -> ColumnFacts:
    return ColumnFacts(
        name=f"column_{index:02}" if index < 5 else f"{chance.choice(WORDS)}_{index:02}",
        type=chance.choice(KINDS),
        description=f"The {chance.choice(WORDS)} of the {chance.choice(WORDS)}.",
        required=index < 3,
        unique=index == 0,
        roots=(f"{domain}_raw.events.column_{index:02}",),
        null_share=0.01,
        distinct=chance.randrange(1000),
        top=tuple((word, 10) for word in chance.sample(WORDS, 5)),
        readers=(ColumnUse(f"{reader}.stg", ("select",), (f"column_{index:02}",)),)
        if index < 2
        else (),
    )


def _topic(domain: str, columns: int) -> TopicFacts:
    names = (f"column_{index:02}" for index in range(columns))
    fields = tuple(ColumnFacts(name, "bigint", "A field.") for name in names)
    return TopicFacts(domain, "events", f"{domain}.events", "json", "Events.", fields, 10**6, NOW)


def _domain(names: list[str], at: int, products: list[ProductFacts]) -> DomainFacts:
    name = names[at]
    own = [each for each in products if each.domain == name]
    return DomainFacts(
        name=name,
        description="A domain.",
        owner=OWNER,
        products=tuple(each.relation for each in own),
        topics=("events",),
        reads_from=(names[at - 1],),
        read_by=(names[(at + 1) % len(names)],),
        state="late",
        promises_kept_percent=99.0,
    )


if __name__ == "__main__":
    main()
