"""A small mesh with one product whose rows tests choose, and sinks."""

from __future__ import annotations

import json
import os
import signal
import uuid
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from meshhouse.engines.duckdb.engine import DuckDBEngine, work_file
from meshhouse.events import open_source
from meshhouse.repository import Column, Domain, Product, Repository, Sink
from meshhouse.sql import quote
from tests.support.killing import forked

COLUMNS = (Column("id", "bigint"), Column("name", "varchar"), Column("paid", "decimal(12,2)"))
MORE = Column("note", "varchar")


class SinkMesh:
    """Publishes rows of `shop.orders` without dbt, and knows its sinks."""

    def __init__(self, root: Path, *sinks: Sink) -> None:
        root.mkdir(parents=True, exist_ok=True)
        (root / "dbt_project.yml").write_text("name: mesh\n")
        self.repository = Repository(root)
        self.product = Product(
            domain="shop", model="orders", version=1, is_latest=True, description="", group=None,
            columns=COLUMNS, contract=True, grain=("id",), promises={}, path=Path("orders.yml"),
            line=1, sql_path=Path("orders.sql"), sinks=tuple(sinks),
        )  # fmt: skip

    @property
    def domain(self) -> Domain:
        return Domain("shop", self.repository.root, (), {}, (), (self.product,), (), ())

    def engine(self) -> DuckDBEngine:
        return DuckDBEngine(self.repository)

    def with_columns(self, *columns: Column) -> None:
        self.product = replace(self.product, columns=columns)

    def publish(self, rows: str, names: str = "id, name, paid") -> int:
        """Publishes `values` as rows; returns the number of the publication."""
        path = work_file(self.repository.home, "shop")
        path.parent.mkdir(parents=True, exist_ok=True)
        casts = ", ".join(
            quote(each.name) if "<" in each.data_type  # nested, in DuckDB's own spelling
            else f"cast({quote(each.name)} as {each.data_type}) as {quote(each.name)}"
            for each in self.product.columns
        )  # fmt: skip
        with closing(duckdb.connect(str(path))) as connection:
            connection.execute("create schema if not exists shop_build")
            connection.execute(
                f"create or replace table shop_build.orders as select {casts} "
                f"from (values {rows}) as t({names})"
            )
        engine = self.engine()
        candidate = engine.stage(self.product)
        entry = {
            "domain": "shop", "product": "orders", "rows": candidate.rows, "kind": "publish",
            "version": 1, "snapshot_id": candidate.staged.snapshot_id,
            "finished_at": datetime.now(UTC), "publication_id": str(uuid.uuid4()),
        }  # fmt: skip
        engine.ledger.commit([candidate.staged], {"publications": [entry]})
        return int(engine.ledger.entries("publications", "shop")[-1]["number"])

    def deliver(self, **options):
        from meshhouse.sinks import deliver

        return deliver(self.repository, self.engine(), [self.domain], **options)

    def deliver_and_be_killed(self) -> None:
        """Delivers in a process that is killed after the commit and before its record."""

        def killed_before_the_record():
            from meshhouse.sinks.deliver import _OneSink

            _OneSink._record = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
            self.deliver()

        _, status = os.waitpid(forked(killed_before_the_record), 0)
        assert os.WTERMSIG(status) == signal.SIGKILL

    def states(self):
        from meshhouse.sinks import sink_states

        return sink_states(self.engine().ledger, [self.domain])

    def events(self, topic: str) -> list[tuple]:
        """Key, value and headers of each event, in order."""
        source = open_source(self.repository.root, self.repository.home)
        described = source.describe(topic)
        ranges = {n: (each.begin, each.end) for n, each in described.partitions.items()}
        return [
            (
                json.loads(event["key"]),
                None if event["value"] is None else json.loads(event["value"]),
                {each["key"]: each["value"].decode() for each in event["headers"]},
            )
            for batch in source.read(topic, ranges, 1 << 20)
            for event in batch.events.to_pylist()
        ]
