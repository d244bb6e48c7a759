"""What dbt says while it works.

Belongs here: reading dbt's events and its results of nodes. Not here: calling dbt (__init__.py), or
showing what it says (dagster/).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from meshhouse.engines.failures import plain

_TABLES = ("table", "incremental", "snapshot", "seed")
"""Materializations of which counting rows costs little."""


@dataclass(frozen=True)
class NodeResult:
    """The result of one model or test."""

    unique_id: str
    resource_type: str
    name: str
    status: str
    """dbt's status: success, pass, warn, fail, error, skipped."""
    message: str
    seconds: float
    failures: int | None
    rows: int | None
    compiled_sql: str | None

    @property
    def has_failed(self) -> bool:
        """Whether the node itself failed; a skipped node has not failed."""
        return self.status not in ("success", "pass", "warn", "no-op", "skipped")


class Watch(Protocol):
    """Receives what a run does while it works.

    dbt calls `line`, `started` and `finished`, in several threads. It would take what they raise
    for a failure of a model, so they raise nothing.
    """

    def say(self, line: str) -> None:
        """What a step is about to do, for people."""
        ...

    def builds(self, models: Collection[str], logs: Path | None) -> None:
        """The unique ids of what dbt is about to build, and where its log will be."""
        ...

    def line(self, level: str, text: str) -> None:
        """A line of dbt's log; its level is `debug`, `info`, `warn` or `error`."""
        ...

    def started(self, unique_id: str) -> None:
        """A model or test has begun."""
        ...

    def finished(self, node: NodeResult) -> None:
        """A model or test has ended. Its compiled SQL is unknown; its rows are counted."""
        ...


class Unwatched:
    """For runs at which nobody looks."""

    def say(self, line: str) -> None: ...  # noqa: D102
    def builds(self, models: Collection[str], logs: Path | None) -> None: ...  # noqa: D102
    def line(self, level: str, text: str) -> None: ...  # noqa: D102
    def started(self, unique_id: str) -> None: ...  # noqa: D102
    def finished(self, node: NodeResult) -> None: ...  # noqa: D102


UNWATCHED = Unwatched()


def pass_on(event: Any, watch: Watch) -> None:
    """Tells a watch what one of dbt's events says."""
    if watch is UNWATCHED:  # nobody wants the rows to be counted
        return
    if event.info.name == "NodeStart":
        watch.started(event.data.node_info.unique_id)
    elif event.info.name == "NodeFinished":
        watch.finished(_finished(event.data))
    elif event.info.msg:
        watch.line(event.info.level, event.info.msg)


def _finished(data: Any) -> NodeResult:
    node, result = data.node_info, data.run_result
    is_table = node.materialized in _TABLES and result.status == "success"
    return NodeResult(
        unique_id=node.unique_id,
        resource_type=node.resource_type,
        name=node.node_name,
        status=result.status,
        message=message(result.message),
        seconds=float(result.execution_time),
        failures=result.num_failures if node.resource_type in ("test", "unit_test") else None,
        rows=_counted(node.node_relation.relation_name) if is_table else None,
        compiled_sql=None,
    )


def _counted(relation: str) -> int | None:
    """The rows of a table that dbt has just built; None if they cannot be counted.

    DuckDB lets nobody else open its file until dbt ends, so dbt's own connection counts.
    """
    from dbt.adapters.factory import FACTORY

    try:
        [adapter] = FACTORY.adapters.values()
        with adapter.connection_named(f"rows of {relation}"):
            _, found = adapter.execute(f"select count(*) from {relation}", fetch=True)
        return int(found.rows[0][0])
    except Exception:  # noqa: BLE001 - a figure for people, which no build must fail for
        return None


def node_result(result: Any) -> NodeResult:
    """The result of a node, from dbt's result of the command."""
    node = result.node
    rows = (result.adapter_response or {}).get("rows_affected")
    return NodeResult(
        unique_id=node.unique_id,
        resource_type=str(node.resource_type),
        name=node.name,
        status=str(result.status),
        message=message(result.message),
        seconds=float(result.execution_time),
        failures=result.failures,
        rows=int(rows) if isinstance(rows, int) and rows >= 0 else None,
        compiled_sql=getattr(node, "compiled_code", None),
    )


_TRACE = re.compile(r" > in macro | at [\w.$/<>]+\([\w.$ ]+(:\d+)?\)")
"""The start of a stack trace: of dbt's macros, or of a server in Java."""


def message(text: object) -> str:
    """Dbt's message in one line, without stack traces."""
    return plain(_TRACE.split(" ".join(str(text or "").split()), maxsplit=1)[0])
