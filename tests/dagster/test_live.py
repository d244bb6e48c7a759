"""The log of a step says what runs, however long nothing ends."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from meshhouse.dagster.live import Live
from meshhouse.dagster.reporter import Silent
from meshhouse.dagster.storage import CannotRecord
from meshhouse.dbt.watch import NodeResult


class Log:
    """A log that knows when a line with some words has come."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._more = threading.Condition()

    def info(self, line: str) -> None:
        with self._more:
            self.lines.append(line)
            self._more.notify_all()

    def wait_for(self, *words: str) -> str:
        def found() -> str | None:
            return next((one for one in self.lines if all(each in one for each in words)), None)

        with self._more:
            assert self._more.wait_for(found, timeout=20), self.lines
            return str(found())


@pytest.fixture
def log() -> Log:
    return Log()


def live(log: Log, show: Any = lambda node: None) -> Live:
    return Live(SimpleNamespace(log=log), show, Silent(), quiet_seconds=0.05)  # type: ignore[arg-type]


def ended(unique_id: str) -> NodeResult:
    kind, _, name = unique_id.split(".")
    return NodeResult(unique_id, kind, name, "success", "", 1.0, None, None, None)


def test_a_long_build_says_how_far_it_is_and_what_runs(log):
    with live(log) as watch:
        watch.say("shop: building shop.orders")
        watch.builds({"model.shop.stg_sales", "model.shop.orders", "model.shop.totals"}, None)
        for name in ("model.shop.stg_sales", "test.shop.not_null"):
            watch.started(name)
            watch.finished(ended(name))
        watch.started("model.shop.orders")
        line = log.wait_for("shop: building shop.orders: for", "model orders for")
    assert "1 of 3 models done; 1 tests done" in line


def test_a_node_is_shown_while_the_next_one_runs(log):
    shown = threading.Event()
    with live(log, lambda node: shown.set()) as watch:
        watch.finished(ended("model.shop.stg_sales"))
        assert shown.wait(20)


def test_a_record_that_cannot_be_written_ends_the_step(log):
    def fail(node: NodeResult) -> None:
        raise CannotRecord("disk full")

    with pytest.raises(CannotRecord, match="disk full"), live(log, fail) as watch:
        watch.finished(ended("model.shop.stg_sales"))


def interrupted(watch: Live) -> None:
    watch.finished(ended("model.shop.stg_sales"))
    raise KeyboardInterrupt


def test_what_ends_the_step_is_not_hidden_by_what_cannot_be_written(log):
    def fail(node: NodeResult) -> None:
        raise CannotRecord("disk full")

    with pytest.raises(KeyboardInterrupt), live(log, fail) as watch:
        interrupted(watch)
