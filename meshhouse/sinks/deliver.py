"""Delivering what sinks have not received yet.

Belongs here: which publication comes next, the order of deliveries, and their record in the
ledger. Not here: what a sink has received (received.py), the changed rows (changes.py), or one kind
of sink (postgres.py, cassandra.py, topic.py, own.py).

Deliveries come after publication, so a sink cannot stop or delay one. The ledger holds the last
delivered publication of each sink and product. A delivery that fails is recorded and tried again
by the next run.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from meshhouse.engines import Engine
from meshhouse.errors import MeshError
from meshhouse.extras import missing
from meshhouse.governance.clear import clear_columns
from meshhouse.governance.contract import Contract
from meshhouse.heads import effective_publications, publications_of
from meshhouse.locks import lock
from meshhouse.repository import Domain, Product, Repository, Sink
from meshhouse.sinks.cassandra import CassandraSink
from meshhouse.sinks.changes import Publications, publications
from meshhouse.sinks.delivery import ADDED, CHANGED, REMOVED, Change, Delivery, SinkWriter
from meshhouse.sinks.own import OwnSink
from meshhouse.sinks.postgres import PostgresSink
from meshhouse.sinks.received import (
    DELIVERED,
    FAILED,
    LEDGER,
    Entry,
    deliveries_of,
    last_delivered,
    shown_of,
    with_sinks,
)
from meshhouse.sinks.topic import TopicSink


@dataclass(frozen=True)
class Outcome:
    """What came of one delivery, or of a sink that could not receive one."""

    product: str
    sink: str
    number: int | None
    """The publication; None if the sink failed before one was chosen."""
    since: int | None = None
    added: int = 0
    changed: int = 0
    removed: int = 0
    columns: tuple[str, ...] = ()
    """What it received, sorted; empty if that is unknown."""
    note: str = ""
    """Why it has all rows, if that is unexpected."""
    problem: str = ""
    """Why it failed; empty if it did not."""

    @property
    def ok(self) -> bool:
        """Whether it was delivered."""
        return not self.problem


def deliver(
    repository: Repository,
    engine: Engine,
    domains: Iterable[Domain],
    say: Callable[[str], None] = lambda line: None,
    products: Sequence[str] | None = None,
    full: bool = False,
) -> list[Outcome]:
    """Delivers every publication that a sink lacks, oldest first; never raises for a sink.

    Nothing is delivered from an environment: sinks hold what production published.

    Args:
        repository: where sinks are declared.
        engine: the target in use.
        domains: whose products.
        say: receives one line before each delivery.
        products: relations of the products; None for all.
        full: deliver all rows of the newest publication again.
    """
    outcomes: list[Outcome] = []
    for domain in domains:
        chosen = with_sinks(domain, products)
        if not chosen or repository.environment:
            continue
        path = repository.workspace / "locks" / f"{domain.name}.sinks"
        with lock(path, lambda holder, name=domain.name: say(
            f"{name}: waiting for other deliveries (process {holder})"
        )):  # fmt: skip
            outcomes += _deliver_domain(repository, engine, domain, chosen, say, full)
    return outcomes


def _deliver_domain(
    repository: Repository, engine: Engine, domain: Domain, products: Sequence[Product],
    say: Callable[[str], None], full: bool,
) -> Iterator[Outcome]:  # fmt: skip
    history, past = publications_of(engine.ledger, domain.name), engine.ledger.entries(LEDGER)
    for product in products:
        entries = history.get(product.relation, [])
        if not effective_publications(entries):
            continue  # never published, or retired: consumers see nothing either
        for sink in product.sinks:
            mine = deliveries_of(past, product, sink)
            one = _OneSink(repository, engine, product, sink, shown_of(entries), mine, say)
            yield from one.deliver(full)


class _OneSink:
    """The deliveries of one product to one sink."""

    def __init__(
        self, repository: Repository, engine: Engine, product: Product, sink: Sink,
        shown: Sequence[Entry], past: Sequence[Entry], say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._repository, self._engine = repository, engine
        self._product, self._sink = product, sink
        self._shown, self._past, self._say = shown, past, say

    def deliver(self, full: bool) -> Iterator[Outcome]:
        """Delivers what the sink lacks; stops at the first failure, so that the order holds."""
        self._now: Entry | None = None
        try:
            yield from self._deliver(full)
        except MeshError as error:
            yield self._failed(" ".join(str(error).split()))
        except Exception as error:  # noqa: BLE001 - recorded and said
            # A fault of one sink must not stop the others. The text of an unknown error may hold
            # rows or credentials, so only its kind is said.
            text = missing(error) or f"unexpected {type(error).__name__}."
            yield self._failed(text)

    def _deliver(self, full: bool) -> Iterator[Outcome]:
        last = last_delivered(self._past)
        recorded = last["publication"] if last else None
        self._columns = tuple(str(last["columns"] or "").split(", ")) if last else ()
        writer = writer_of(self._repository, self._sink)
        position = writer.position(self._product.relation, recorded)
        if position != recorded:  # a delivery that no entry describes
            self._columns = ()
        numbers = [each["number"] for each in self._shown]
        at = numbers.index(position) if position in numbers and not full else None
        note = ""
        if at is not None and position != recorded and self._is_another(writer, self._shown[at]):
            note = f"publication {position}, which it has, is another one than the ledger's"
            at = None
        if at == len(numbers) - 1:
            if recorded != position:  # stored before a crash, which kept it out of the ledger
                self._now = self._shown[-1]
                yield self._done(Outcome(self._product.relation, self._sink.name, position))
            return
        lake = self._engine.lake
        if lake is None:
            raise MeshError(
                f"target `{self._engine.name}` keeps its tables outside the lake, and sinks "
                "read the lake. Deliver from there with its own tools, or remove the sink."
            )
        if position is not None and at is None and not full and not note:
            note = f"publication {position}, which it has, is not in the ledger"
        with publications(self._repository, lake, self._product.relation) as kept:
            while at is None or at < len(self._shown) - 1:
                at, before, note = self._next(kept, at, note)
                self._now = self._shown[at]
                yield self._done(self._send(writer, kept, before, note))
                note = ""

    def _is_another(self, writer: SinkWriter, entry: Entry) -> bool:
        """Whether the sink has rows of another publication with the same number.

        After a restore from a backup numbers come again. What a sink stored before a publication
        was made cannot be that publication.
        """
        stored, made = writer.stored_at(self._product.relation), entry.get("finished_at")
        return stored is not None and made is not None and stored < made

    def _next(self, kept: Publications, at: int | None, note: str
              ) -> tuple[int, Entry | None, str]:  # fmt: skip
        """Which publication comes next, the one before it (None: all rows), and why."""
        newest = len(self._shown) - 1
        if at is None:
            return newest, None, note
        before = self._shown[at]
        if not kept.has(before["snapshot_id"]):
            why = f"the rows of publication {before['number']}, which it has, are no longer kept"
            return newest, None, why
        following = next(
            number for number in range(at + 1, newest + 1)
            if number == newest or kept.has(self._shown[number]["snapshot_id"])
        )  # fmt: skip
        after = self._shown[following]
        columns = [kept.columns(each["snapshot_id"]) for each in (before, after)]
        if columns[0] != columns[1]:
            return following, None, f"its columns changed in publication {after['number']}"
        self._now = after
        if tuple(sorted(self._allowed(columns[1]))) != self._columns:
            # Else rows that did not change would keep a column that is now left out.
            return following, None, "it is declared to receive other columns than it has"
        return following, before, ""

    def _send(
        self, writer: SinkWriter, kept: Publications, before: Entry | None, note: str
    ) -> Outcome:
        assert self._now is not None
        product, number = self._product, self._now["number"]
        snapshot = self._now["snapshot_id"]
        if not kept.has(snapshot):
            raise MeshError(
                f"the rows of publication {number} are not in the lake. Run `mesh doctor`."
            )
        types = kept.columns(snapshot)
        columns = self._allowed(types)
        grain = tuple(each for each in types if each.lower() in _lower(product.grain))
        delivery = Delivery(
            product.relation, product.version, number, before["number"] if before else None,
            self._now.get("finished_at"), columns, grain,
            str(self._now.get("publication_id") or ""),
        )  # fmt: skip
        what = f"what changed since {delivery.since}" if before else "all rows"
        self._say(
            f"{product.domain}: delivering publication {number} of {product.relation} to "
            f"{self._sink.name} ({what})"
        )
        counts: Counter[str] = Counter()
        rows = (
            kept.differences(before["snapshot_id"], snapshot, columns, grain)
            if before
            else kept.rows(snapshot, columns, grain)
        )
        writer.deliver(delivery, _counted(rows, counts))
        self._columns = tuple(sorted(columns))
        return Outcome(
            product.relation, self._sink.name, number, delivery.since,
            counts[ADDED], counts[CHANGED], counts[REMOVED], self._columns, note,
        )  # fmt: skip

    def _allowed(self, types: Mapping[str, str]) -> dict[str, str]:
        """The columns that the sink receives.

        Raises:
            MeshError: it would receive personal data that its declaration does not name.
        """
        product, sink = self._product, self._sink
        if not product.grain or not _lower(product.grain) <= _lower(types):
            raise MeshError(f"{product.relation} has no grain, so its rows have no key. Declare "
                            "`grain`.")  # fmt: skip
        if left := sorted(_lower(sink.without) & _lower(product.grain)):
            raise MeshError(f"`without` names {', '.join(left)} of the grain, which is the key.")
        promised = self._now and self._now.get("contract_hash")
        text = self._engine.ledger.contract(promised) if promised else None
        contract = Contract.from_text(text) if text else None
        allowed = clear_columns(product, [contract]) | _lower(sink.clear)
        columns = {name: kind for name, kind in types.items()
                   if name.lower() not in _lower(sink.without)}  # fmt: skip
        if refused := [name for name in columns if name.lower() not in allowed]:
            raise MeshError(
                f"{', '.join(refused)} may hold personal data. Name what this sink may have in "
                "clear (`clear`), and leave out the others (`without`)."
            )
        return columns

    def _done(self, outcome: Outcome) -> Outcome:
        self._record(DELIVERED, outcome)
        return outcome

    def _failed(self, problem: str) -> Outcome:
        number = self._now["number"] if self._now else None
        outcome = Outcome(self._product.relation, self._sink.name, number, problem=problem)
        last = self._past[-1] if self._past else {}
        # Each run tries again: the same failure is recorded once.
        if (last.get("kind"), last.get("message"), last.get("publication")) != (
            FAILED, problem, number
        ):  # fmt: skip
            self._record(FAILED, outcome)
        return outcome

    def _record(self, kind: str, outcome: Outcome) -> None:
        now = datetime.now(UTC)
        entry = {
            "run_id": str(uuid.uuid4()),
            "domain": self._product.domain,
            "product": self._product.name,
            "sink": self._sink.name,
            "kind": kind,
            "publication": outcome.number,
            "since": outcome.since,
            "added": outcome.added,
            "changed": outcome.changed,
            "removed": outcome.removed,
            "columns": ", ".join(outcome.columns) or None,
            "message": outcome.problem or outcome.note or None,
            "started_at": now,
            "finished_at": now,
        }
        self._engine.ledger.commit([], {LEDGER: [entry]})


def writer_of(repository: Repository, sink: Sink) -> SinkWriter:
    """The writer of a declared sink."""
    if sink.kind == "postgres":
        return PostgresSink(sink)
    if sink.kind == "cassandra":
        return CassandraSink(sink)
    if sink.kind == "kafka":
        return TopicSink(repository, sink.target)
    return OwnSink(repository, sink.target)


def _counted(rows: Iterator[Change], counts: Counter[str]) -> Iterator[Change]:
    for each in rows:
        counts[each.kind] += 1
        yield each


def _lower(names: Iterable[str]) -> frozenset[str]:
    return frozenset(each.lower() for each in names)
