"""Figures of the mesh for Prometheus.

Belongs here: which figure has which name and labels. Not here: what the figures are (gather/), or
how they are served (cli/metrics.py).

A product has about 30 series: labels are names of domains, products, topics, promises and
consumers, never text of events or of people.

Names follow https://prometheus.io/docs/practices/naming/.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from meshhouse.catalog.documents import CostFacts, Mesh, ProductFacts
from meshhouse.usage.usage import OTHERS

MOST_CONSUMERS = 10
"""Consumers of a product that have a series; the others share one."""
MOST_REASONS = 5
"""Reasons of rejected events of a topic that have a series. Values of events are left out of them
before they get here."""
Values = Iterable[tuple[tuple[str, ...], float | None]]
"""Values of labels -> value; None if it is unknown, then there is no series."""


def exposition(mesh: Mesh, now: datetime | None = None) -> bytes:
    """The figures in Prometheus' text format.

    Args:
        mesh: the documents.
        now: for ages; by default the time of the call.
    """
    return generate_latest(registry_of(lambda: families(mesh, now or datetime.now(UTC))))


def registry_of(found: Callable[[], Iterable[Metric]]) -> CollectorRegistry:
    """What Prometheus' library serves.

    Args:
        found: called for each scrape.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(found))
    return registry


class _Collected(Collector):
    def __init__(self, found: Callable[[], Iterable[Metric]]) -> None:
        self._found = found

    def collect(self) -> Iterable[Metric]:
        return self._found()


class Scrapes:
    """Gathers the documents again when something changed, or when they are old."""

    def __init__(
        self,
        gather: Callable[[], Mesh],
        position: Callable[[], object],
        say: Callable[[Exception], None],
        seconds: float = 60,
    ) -> None:
        """Takes what it calls.

        Args:
            gather: makes the documents.
            position: something that differs after each change of the ledger.
            say: gets what went wrong.
            seconds: how old documents may be; lags and lateness change without the ledger.
        """
        self._gather, self._position, self._seconds = gather, position, seconds
        self._say = say
        self._lock = threading.Lock()
        self._known: tuple[object, float, Mesh] | None = None

    def families(self) -> list[Metric]:
        """Every figure, and whether it could be gathered: `mesh_up` is 0 if not."""
        try:
            return list(families(self._mesh(), datetime.now(UTC)))
        except Exception as error:  # noqa: BLE001 - whatever it is, Prometheus must learn of it
            self._say(error)
            return [_up(0)]

    def _mesh(self) -> Mesh:
        with self._lock:  # two scrapes at once gather once
            position, now = self._position(), time.monotonic()
            known = self._known
            if known and known[0] == position and now - known[1] < self._seconds:
                return known[2]
            mesh = self._gather()
            self._known = position, now, mesh
            return mesh


def families(mesh: Mesh, now: datetime) -> Iterator[Metric]:
    """Every figure."""
    yield _up(1)
    yield from _of_products(mesh, now)
    yield from _of_use(mesh)
    yield from _of_topics(mesh, now)
    yield from _of_the_mesh(mesh)


def _up(value: float) -> Metric:
    return _family("mesh_up", "1 if the figures could be gathered, else 0.", (), (((), value),))


def _of_products(mesh: Mesh, now: datetime) -> Iterator[Metric]:
    yield _product(
        mesh, "freshness_seconds", "Seconds since a run published it or found it unchanged.",
        lambda each: _age(each.refreshed_at, now),
    )  # fmt: skip
    yield _product(
        mesh, "freshness_promise_seconds", "Age that the owner promises not to exceed.",
        lambda each: None if each.refreshed_within_hours is None
        else each.refreshed_within_hours * 3600,
    )  # fmt: skip
    yield _product(
        mesh, "published_timestamp_seconds", "When the current publication was published.",
        lambda each: each.published_at.timestamp() if each.published_at else None,
    )  # fmt: skip
    yield _product(mesh, "rows", "Rows of the current publication.", lambda each: each.rows)
    yield _product(mesh, "score", "Score of the current publication, 0 to 100.",
                   lambda each: each.score)  # fmt: skip
    yield _product(
        mesh, "checks_run", "Checks that the audit of the current publication ran.",
        lambda each: each.checks_run if each.published_at else None,
    )  # fmt: skip
    yield _product(
        mesh, "checks_failed", "Checks of it that did not pass; a publication has only warnings.",
        lambda each: each.checks_run - each.checks_passed if each.published_at else None,
    )  # fmt: skip
    yield _family(
        "mesh_product_state", "1 for the worst state that holds of a product.",
        ("domain", "product", "state"),
        (((each.domain, each.relation, each.state), 1) for each in mesh.products),
    )  # fmt: skip
    yield _family(
        "mesh_product_error_budget_left_ratio",
        "Share of a promise's error budget of 30 days that is left.",
        ("domain", "product", "objective"),
        (
            (
                (each.domain, each.relation, promise.objective),
                None if promise.budget_left_percent is None
                else promise.budget_left_percent / 100,
            )
            for each in mesh.products
            for promise in each.promises
        ),
    )  # fmt: skip
    yield _family(
        "mesh_product_promise_kept", "1 if a promise held when it was last measured, else 0.",
        ("domain", "product", "objective"),
        (
            ((each.domain, each.relation, promise.objective),
             None if promise.met is None else float(promise.met))
            for each in mesh.products
            for promise in each.promises
        ),
    )  # fmt: skip


def _of_use(mesh: Mesh) -> Iterator[Metric]:
    yield _family(
        "mesh_product_reads_30_days", "Reads of a product in the last 30 days.",
        ("domain", "product", "consumer"),
        (
            ((each.domain, each.relation, consumer), reads)
            for each in mesh.products
            for consumer, reads in _consumers(each)
        ),
    )  # fmt: skip
    yield _product(
        mesh, "unused", "1 if it is proved that nobody read the product in 90 days, else 0.",
        lambda each: None if each.use is None else float(each.use.state == "unused"),
    )  # fmt: skip
    yield _product(mesh, "cost_bytes", "Size of the current publication.",
                   lambda each: each.cost.bytes)  # fmt: skip
    yield _product(
        mesh, "cost_seconds_30_days", "Seconds of builds, audits and publications in 30 days.",
        lambda each: each.cost.seconds,
    )  # fmt: skip
    yield _product(mesh, "cost_credits_30_days", "Credits of the warehouse in 30 days.",
                   lambda each: each.cost.credits)  # fmt: skip


def _of_topics(mesh: Mesh, now: datetime) -> Iterator[Metric]:
    labels = ("domain", "table")
    yield _family(
        "mesh_landed_age_seconds", "Seconds since a run last landed the topic.", labels,
        (((each.domain, each.table), _age(each.landed_at, now)) for each in mesh.topics),
    )  # fmt: skip
    yield _family(
        "mesh_raw_rows", "Rows of the raw table.", labels,
        (((each.domain, each.table), each.rows) for each in mesh.topics),
    )  # fmt: skip
    yield _family(
        "mesh_landing_lag_events", "Events of the topic that are not landed yet.", labels,
        (((each.domain, each.table), each.lag) for each in mesh.topics),
    )  # fmt: skip
    yield _family(
        "mesh_rejected_events", "Events that did not become rows and wait for a decision.",
        (*labels, "reason"),
        (
            ((each.domain, each.table, reason), count)
            for each in mesh.topics
            for reason, count in _first(each.rejected, MOST_REASONS)
        ),
    )  # fmt: skip


def _of_the_mesh(mesh: Mesh) -> Iterator[Metric]:
    yield _family(
        "mesh_domain_broken", "1 if no run can build the domain, else 0.", ("domain",),
        (((each.name,), float(bool(each.problem))) for each in mesh.domains),
    )  # fmt: skip
    yield _family(
        "mesh_domain_promises_kept_ratio", "Share of a domain's promises that hold.", ("domain",),
        (
            ((each.name,), None if each.promises_kept_percent is None
             else each.promises_kept_percent / 100)
            for each in mesh.domains
        ),
    )  # fmt: skip
    found = mesh.operations
    if found is None:
        return
    yield _family(
        "mesh_publication_latency_seconds",
        "From a landing to the first publication that has its rows, over 30 days.", ("quantile",),
        ((("0.5",), found.latency_p50_seconds), (("0.95",), found.latency_p95_seconds)),
    )  # fmt: skip
    yield _family(
        "mesh_publications_30_days", "Publications of all products in the last 30 days.", (),
        (((), sum(count for _, count in found.publications)),),
    )  # fmt: skip
    yield _family(
        "mesh_ledger_position", "Number of the newest commit of the ledger.", (),
        (((), found.ledger_entries),),
    )  # fmt: skip
    yield _cost("bytes", "Size of what is published", found.cost_of_consumers)
    yield _cost("seconds", "Seconds of runs in 30 days", found.cost_of_consumers)
    yield _cost("credits", "Credits of the warehouse in 30 days", found.cost_of_consumers)


def _cost(kind: str, what: str, costs: Iterable[tuple[str, CostFacts]]) -> Metric:
    """Costs of consumers, those beyond the first in one series."""
    known = [(name, amount) for name, cost in costs if (amount := getattr(cost, kind)) is not None]
    shown = _first(known, MOST_CONSUMERS)
    return _family(
        f"mesh_consumer_cost_{kind}", f"{what}, shared by the consumers' reads.", ("consumer",),
        (((name,), amount) for name, amount in shown),
    )  # fmt: skip


def _consumers(product: ProductFacts) -> list[tuple[str, float]]:
    consumers = product.use.consumers if product.use else ()
    return _first([(each.name, each.reads_30_days) for each in consumers], MOST_CONSUMERS)


def _first(values: Sequence[tuple[str, float]], most: int) -> list[tuple[str, float]]:
    """The first values, and the sum of the others."""
    others = sum(amount for _, amount in values[most:])
    return [*values[:most], *([(OTHERS, others)] if len(values) > most else [])]


def _product(
    mesh: Mesh, name: str, about: str, value: Callable[[ProductFacts], float | None]
) -> Metric:
    return _family(
        f"mesh_product_{name}", about, ("domain", "product"),
        (((each.domain, each.relation), value(each)) for each in mesh.products),
    )  # fmt: skip


def _family(name: str, about: str, labels: tuple[str, ...], values: Values) -> Metric:
    family = GaugeMetricFamily(name, about, labels=labels)
    # Prometheus refuses all figures if two have the same labels, such as a reason named `others`.
    sums: Counter[tuple[str, ...]] = Counter()
    for names, amount in values:
        if amount is not None:
            # Half of a surrogate pair, in the name of a consumer, cannot be encoded.
            readable = tuple(each.encode(errors="replace").decode() for each in names)
            sums[readable] += amount  # type: ignore[assignment]
    for readable, amount in sums.items():
        family.add_metric(readable, amount)
    return family


def _age(at: datetime | None, now: datetime) -> float | None:
    """Seconds; of a time in the future, which another clock wrote, 0."""
    return None if at is None else max(0.0, (now - at).total_seconds())
