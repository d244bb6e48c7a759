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
            "columns": {each.name: each.type for each in schema.columns} if schema else {},
            "executable": node.is_executable,
        }
    return found


def checks(graph: Any) -> dict[str, bool]:
    """Check -> whether it blocks what follows."""
    return {
        f"{key.asset_key.to_user_string()}: {key.name}": graph.get_check_spec(key).blocking
        for key in graph.asset_check_keys
    }


def materialized(instance: dg.DagsterInstance, graph: Any) -> dict[str, dict[str, Any]]:
    """The newest metadata of every asset that was ever made."""
    found = {}
    for key in graph.get_all_asset_keys():
        event = instance.get_latest_materialization_event(key)
        if event is not None and event.asset_materialization is not None:
            metadata = event.asset_materialization.metadata
            found[key.to_user_string()] = {name: each.value for name, each in metadata.items()}
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
    graph = definitions(repository).resolve_asset_graph()
    with dg.DagsterInstance.from_config(str(dagster_home(repository))) as instance:
        told = {
            "assets": assets(graph),
            "checks": checks(graph),
            "materialized": materialized(instance, graph),
            "evaluated": evaluated(instance, graph),
            "runs": [record.dagster_run.tags for record in instance.get_run_records()],
            "said": said(instance),
            "telemetry": instance.telemetry_enabled,
        }
    Path(file).write_text(json.dumps(told, default=str))


if __name__ == "__main__":
    main(*sys.argv[1:])
