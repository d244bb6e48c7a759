"""What a step does, in Dagster's log and events while it does it.

Belongs here: the thread that records beside the work, and the line that says what runs when nothing
else is said. Not here: the events themselves (events.py).

dbt reports from several threads, and recording an event can wait for a disk or a server, so one
thread records everything in its order.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from meshhouse.dagster.reporter import Reporter
from meshhouse.dbt.watch import NodeResult
from meshhouse.runs.domain_plan import DomainPlan

QUIET_SECONDS = 8.0
"""After how long without a line the log says what runs; people are promised one every 10 s."""
_MOST_NAMED = 3


class Live:
    """Shows a step of a domain; a `Watch` of its run."""

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        show: Callable[[NodeResult], None],
        reporter: Reporter,
        quiet_seconds: float = QUIET_SECONDS,
    ) -> None:
        """Begins when it is entered, and has recorded everything when it is left.

        Args:
            context: of the step.
            show: records that a model or test ended.
            reporter: what people see of the run besides Dagster.
            quiet_seconds: after how long without a line one says what runs.
        """
        self.logs: Path | None = None
        self._context = context
        self._show = show
        self._reporter = reporter
        self._quiet_seconds = quiet_seconds
        self._work: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._record, name="mesh-live", daemon=True)
        self._failed: BaseException | None = None
        self._doing = ""
        self._since = self._said_at = time.monotonic()
        self._models: frozenset[str] = frozenset()
        self._running: dict[str, float] = {}
        self._ended: list[str] = []

    def __enter__(self) -> Live:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        self._work.put(None)
        self._thread.join()
        if self._failed is not None and kind is None:
            raise self._failed

    def say(self, line: str) -> None:
        """See `Watch`."""
        self._doing, self._since = line, time.monotonic()
        self._log("info", line)
        self._reporter.say(line)

    def plan(self, plan: DomainPlan) -> None:
        """Logs what the run does about each product, and why."""
        for line in plan.lines():
            self._log("info", line)

    def builds(self, models: Collection[str], logs: Path | None) -> None:
        """See `Watch`."""
        self._models, self.logs = frozenset(models), logs
        if logs is not None:
            self._log("info", f"dbt's log and artifacts of this run: {logs}")

    def line(self, level: str, text: str) -> None:
        """See `Watch`. Only warnings are logged where people look elsewhere."""
        if level in ("warn", "error"):
            self._log("warning" if level == "warn" else "error", text)
        elif level == "info" and self._reporter.only_in_dagster and text.strip():
            self._log("info", text)

    def started(self, unique_id: str) -> None:
        """See `Watch`."""
        self._running[unique_id] = time.monotonic()

    def finished(self, node: NodeResult) -> None:
        """See `Watch`."""
        self._running.pop(node.unique_id, None)
        self._ended.append(node.unique_id)
        self._work.put(partial(self._show, node))

    def _log(self, level: str, text: str) -> None:
        self._work.put(partial(self._say_now, level, text))

    def _say_now(self, level: str, text: str) -> None:
        getattr(self._context.log, level)(text)
        self._said_at = time.monotonic()

    def _record(self) -> None:
        """Works until there is nothing more to record; an error is kept for the step's end."""
        while True:
            wait = self._said_at + self._quiet_seconds - time.monotonic()
            try:
                work = self._work.get(timeout=max(wait, 0.01))
            except queue.Empty:
                work = partial(self._say_now, "info", self._what_runs())
            if work is None:
                return
            try:
                work()
            # A record that cannot be written ends the run; it is raised where the step waits.
            except BaseException as error:  # noqa: BLE001
                self._failed = self._failed or error
                self._said_at = time.monotonic()

    def _what_runs(self) -> str:
        """One line: what the step does, how far it is, and for how long."""
        now = time.monotonic()
        parts = [f"{self._doing or 'preparing'}: for {now - self._since:.0f} s now"]
        if self._models:
            ended = list(self._ended)
            models = len(self._models.intersection(ended))
            parts.append(f"{models} of {len(self._models)} models done")
            if tests := len(set(ended) - self._models):
                parts.append(f"{tests} tests done")
        running = sorted(self._running.copy().items(), key=lambda each: each[1])
        parts += [f"{_short(name)} for {now - at:.0f} s" for name, at in running[:_MOST_NAMED]]
        if len(running) > _MOST_NAMED:
            parts.append(f"{len(running) - _MOST_NAMED} more")
        return "; ".join(parts)


def _short(unique_id: str) -> str:
    """`model.shop.orders` -> `model orders`."""
    kind, _, *name = unique_id.split(".")
    return f"{kind} {'.'.join(name)}"
