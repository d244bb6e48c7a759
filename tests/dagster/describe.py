"""Tells what Dagster knows of a mesh, as JSON. A program: Dagster stays out of the tests' process.

python describe.py ROOT FILE
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import dagster as dg

from meshhouse.dagster.home import dagster_home
from meshhouse.repository import Repository
from orchestration.definitions import definitions


def assets(graph: Any) -> dict[str, dict[str, Any]]:
    found = {}
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        schema = node.metadata.get("dagster/column_schema")
        found[key.to_user_string()] = {
            "uses": sorted(each.to_user_string() for each in node.parent_keys),
            "group": node.group_name,
            "owners": list(node.owners),
            "kinds": sorted(node.kinds),
            "description": node.description,
            "tags": dict(node.tags),
            "table": node.metadata.get("dagster/table_name"),
            "meta": node.metadata.get("meta"),
            "fresh": hours(node.freshness_policy),
            "one row per": list(schema.constraints.other) if schema else [],
            "constraints": {each.name: constraints(each) for each in schema.columns}
            if schema
            else {},
            "column tags": {each.name: dict(each.tags) for each in schema.columns if each.tags}
            if schema
            else {},
            "columns": {each.name: each.type for each in schema.columns} if schema else {},
            "executable": node.is_executable,
        }
    return found


def hours(policy: Any) -> float | None:
    """After how many hours without a materialisation an asset is late."""
    return policy.fail_window.to_timedelta().total_seconds() / 3600 if policy else None


def constraints(column: dg.TableColumn) -> list[str]:
    says = column.constraints
    return [
        name for name, holds in (("not null", not says.nullable), ("unique", says.unique)) if holds
    ]


def jobs(defined: dg.Definitions) -> dict[str, list[str]]:
    """Job -> the assets that it makes."""
    found = {}
    for job in defined.get_repository_def().get_all_jobs():
        made = job.asset_layer.executable_asset_keys
        found[job.name] = sorted(key.to_user_string() for key in made)
    return found


def checks(graph: Any) -> dict[str, bool]:
    """Check -> whether it blocks what follows."""
    return {
        f"{key.asset_key.to_user_string()}: {key.name}": graph.get_check_spec(key).blocking
        for key in graph.asset_check_keys
    }


def shown(value: Any) -> Any:
    """A value of metadata as JSON takes it."""
    if not isinstance(value, dg.TableColumnLineage):
        return value
    return {
        column: [f"{each.asset_key.to_user_string()}: {each.column_name}" for each in sources]
        for column, sources in value.deps_by_column.items()
    }


def materialized(instance: dg.DagsterInstance, graph: Any) -> dict[str, dict[str, Any]]:
    """The newest metadata of every asset that was ever made."""
    found = {}
    for key in graph.get_all_asset_keys():
        event = instance.get_latest_materialization_event(key)
        if event is not None and event.asset_materialization is not None:
            metadata = event.asset_materialization.metadata
            found[key.to_user_string()] = {
                name: shown(each.value) for name, each in metadata.items()
            }
    return found


def evaluated(instance: dg.DagsterInstance, graph: Any) -> dict[str, bool | None]:
    """The newest outcome of every check; None where a run left it out."""
    found = {}
    summaries = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        list(graph.asset_check_keys)
    )
    for key, record in summaries.items():
        event = record.event.dagster_event if record.event else None
        done = event is not None and event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION
        passed = event.asset_check_evaluation_data.passed if done else None
        found[f"{key.asset_key.to_user_string()}: {key.name}"] = passed
    return found


def said(instance: dg.DagsterInstance) -> list[str]:
    """What steps wrote into the logs of runs."""
    runs = [record.dagster_run.run_id for record in instance.get_run_records()]
    entries = [entry for run in runs for entry in instance.all_logs(run)]
    return [entry.user_message for entry in entries if entry.dagster_event is None]


def main(root: str, file: str) -> None:
    repository = Repository(Path(root))
    defined = definitions(repository)
    graph = defined.resolve_asset_graph()
    with dg.DagsterInstance.from_config(str(dagster_home(repository))) as instance:
        told = {
            "assets": assets(graph),
            "checks": checks(graph),
            "jobs": jobs(defined),
            "schedules": {
                each.name: [each.job_name, each.default_status.value]
                for each in defined.get_repository_def().schedule_defs
            },
            "materialized": materialized(instance, graph),
            "evaluated": evaluated(instance, graph),
            "runs": [record.dagster_run.tags for record in instance.get_run_records()],
            "said": said(instance),
            "telemetry": instance.telemetry_enabled,
        }
    Path(file).write_text(json.dumps(told, default=str))


if __name__ == "__main__":
    main(*sys.argv[1:])
