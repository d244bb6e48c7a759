"""Dagster's events of models and tests, recorded when dbt reports them.

Belongs here: recording an event before the step yields again, and the metadata of a model that was
built. Not here: who calls it while dbt works (live.py), or checks in general (checks.py).

A step of Dagster can yield only where it has control, and dbt has it for the whole build. So what
Dagster does with a yielded result is done here, with its own functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import dagster as dg
from dagster._core.execution.plan.execute_step import (
    _process_user_event,
    _type_check_and_store_output,
)

from meshhouse.dagster.checks import dbt_check
from meshhouse.dbt import artifacts
from meshhouse.dbt.watch import NodeResult
from meshhouse.markdown import fenced
from meshhouse.repository import Repository, printable
from meshhouse.repository.manifest import Manifest

_MOST_SQL = 50_000
"""Characters of compiled SQL that an event keeps: databases of events are slow with megabytes."""


class NodeEvents:
    """Records what dbt reports in one step."""

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        models: Mapping[str, dg.AssetSpec],
        checks: Mapping[str, dg.AssetCheckSpec],
        compiled: Callable[[str], str],
    ) -> None:
        """Of a step whose assets and checks these are.

        Args:
            context: of the step.
            models: dbt's unique id -> asset.
            checks: dbt's unique id -> check.
            compiled: gives the compiled SQL of what dbt ran just now.
        """
        self.made: set[str] = set()
        """Unique ids of the models that the events show as made."""
        self.checked: dict[str, dg.AssetCheckSpec] = {}
        """Unique id -> check, of the tests that the events show."""
        self._operation = context.op_execution_context
        self._step = self._operation.get_step_execution_context()
        self._assets = context.selected_asset_keys
        self._asked = context.selected_asset_check_keys
        self._models = models
        self._checks = checks
        self._compiled = compiled

    def record(self, node: NodeResult) -> None:
        """Records that a model or test ended."""
        model, check = self._models.get(node.unique_id), self._checks.get(node.unique_id)
        if model is not None and model.key in self._assets and node.status == "success":
            self.made.add(node.unique_id)
            made = dg.MaterializeResult(asset_key=model.key, metadata=self._metadata(node))
            for output in _process_user_event(self._step, made):
                events = _type_check_and_store_output(self._step, output)  # type: ignore[arg-type]
                self._operation._events.extend(events)
        elif check is not None and check.key in self._asked and node.status != "skipped":
            self.checked[node.unique_id] = check
            result = dbt_check(check, node)
            if node.status != "pass" and (sql := self._compiled(node.unique_id)):
                # It selects the failing rows; nobody has said which of their columns are personal.
                result = result.with_metadata({**result.metadata, "compiled SQL": as_sql(sql)})
            self._operation.log_event(result.to_asset_check_evaluation(self._step))

    def outputs(self) -> Iterator[dg.Output[None]]:
        """The outputs of recorded checks, for which Dagster looks when the step has ended."""
        layer = self._step.job_def.asset_layer
        for check in self.checked.values():
            yield dg.Output(None, output_name=layer.get_op_output_name(check.key))

    def _metadata(self, node: NodeResult) -> dict[str, Any]:
        found: dict[str, Any] = {"unchanged": False, "seconds": node.seconds}
        if node.rows is not None:
            found["dagster/row_count"] = node.rows
        if sql := self._compiled(node.unique_id):
            found["compiled SQL"] = as_sql(sql)
        return found


def compiled_sql(repository: Repository, manifest: Manifest, identifier: str) -> str:
    """The SQL that dbt has compiled of a model or test in its newest run; empty if there is none.

    dbt keeps a test of a YAML file in a folder of that file's name.
    """
    node = manifest.nodes.get(identifier)
    if node is None:  # a unit test
        return ""
    package = node["package_name"]
    path = artifacts(repository, package) / "compiled" / package / node["original_file_path"]
    if node["resource_type"] == "test" and path.is_dir():
        path = path / node["path"]
    return path.read_text(errors="replace") if path.is_file() else ""


def as_sql(text: str) -> dg.MetadataValue:
    """SQL as Dagster shows it."""
    lines = text.strip()[:_MOST_SQL].splitlines()
    return dg.MetadataValue.md(fenced(printable(line.expandtabs(4)) for line in lines))
