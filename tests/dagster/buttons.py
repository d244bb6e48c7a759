"""Presses buttons of Dagster's page through its GraphQL API. A program of one process.

python buttons.py ROOT FILE REQUEST...

Each REQUEST is JSON, and one of: {"again": "ALL_STEPS" or "FROM_FAILURE"} executes the newest run
again; {"checks": ["asset: check"]} executes checks alone; {"assets": [key], "config": {...}}
materialises; {"look": true} presses nothing. FILE gets a list of what came of them, or what the
newest run did.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.instance import InstanceRef
from dagster._core.launcher.sync_in_memory_run_launcher import SyncInMemoryRunLauncher
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.run_coordinator import DefaultRunCoordinator
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster_graphql.test.utils import execute_dagster_graphql

from meshhouse.dagster.home import dagster_home
from meshhouse.repository import Repository

LOCATION = "orchestration.definitions"
AGAIN = """mutation ($again: ReexecutionParams!) {
  launched: launchPipelineReexecution(reexecutionParams: $again) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  }
}"""
LAUNCH = """mutation ($launch: ExecutionParams!) {
  launched: launchPipelineExecution(executionParams: $launch) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on InvalidSubsetError { message }
  }
}"""
TIMELINE = """query ($run: ID!) {
  run: runOrError(runId: $run) {
    ... on Run { repositoryOrigin { repositoryName repositoryLocationName } }
  }
}"""


def press(context: Any, request: dict[str, Any]) -> str:
    """Presses a button; returns the id of the run that it starts."""
    if "look" in request:
        return newest(context)
    if "again" in request:
        again = {"parentRunId": newest(context), "strategy": request["again"]}
        done = execute_dagster_graphql(context, AGAIN, {"again": again})
    else:
        checks = [each.partition(": ") for each in request.get("checks", ())]
        selector = {
            "repositoryName": "__repository__",
            "repositoryLocationName": LOCATION,
            "jobName": "__ASSET_JOB",
            "assetSelection": [{"path": each.split("/")} for each in request.get("assets", ())],
            "assetCheckSelection": [
                {"assetKey": {"path": asset.split("/")}, "name": name} for asset, _, name in checks
            ],
        }
        if not checks:
            del selector["assetCheckSelection"]
        launch = {"selector": selector, "runConfigData": request.get("config", {})}
        done = execute_dagster_graphql(context, LAUNCH, {"launch": launch})
    launched = done.data["launched"]
    if launched["__typename"] != "LaunchRunSuccess":
        raise SystemExit(json.dumps(launched))
    return launched["run"]["runId"]


def newest(context: Any) -> str:
    """The id of the newest run."""
    return context.instance.get_runs(limit=1)[0].run_id


def outcome(context: Any, run_id: str) -> dict[str, Any]:
    """What a run did, as its events say."""
    instance = context.instance
    run = instance.get_run_by_id(run_id)
    told: dict[str, Any] = {
        "status": run.status.value,
        "tags": run.tags,
        "origin": execute_dagster_graphql(context, TIMELINE, {"run": run_id}).data["run"][
            "repositoryOrigin"
        ],
        "steps": [], "checks": {}, "made": {}, "failures": [], "said": [], "order": [],
    }  # fmt: skip
    for entry in instance.all_logs(run_id):
        event = entry.dagster_event
        if event is None:
            told["said"].append(entry.user_message)
            told["order"].append(entry.user_message)
        elif event.event_type is dg.DagsterEventType.STEP_START:
            told["steps"].append(event.step_key)
        elif event.event_type is dg.DagsterEventType.STEP_FAILURE:
            data = event.step_failure_data.user_failure_data
            told["failures"].append(data.description if data else event.step_failure_data.error)
        elif event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            data = event.asset_check_evaluation_data
            key = f"{data.asset_key.to_user_string()}: {data.check_name}"
            assert key not in told["checks"], f"{key} was evaluated twice in one run"
            told["order"].append(key)
            told["checks"][key] = {
                "published": data.target_materialization_data is not None,
                "passed": data.passed,
                "description": data.description,
                **{name: plain(each) for name, each in data.metadata.items()},
            }
        elif event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION:
            made = event.step_materialization_data.materialization
            key = made.asset_key.to_user_string()
            told["order"].append(key)
            assert key not in told["made"], f"{key} was made twice in one run"
            told["made"][key] = {name: plain(each) for name, each in made.metadata.items()}
    return told


def plain(value: dg.MetadataValue) -> Any:
    """A metadata value as JSON."""
    if isinstance(value, dg.TableMetadataValue):
        return [record.data for record in value.records]
    if isinstance(value, dg.TableColumnLineageMetadataValue):
        return sorted(value.value.deps_by_column)
    return value.value


def main(root: str, file: str, *requests: str) -> None:
    home = dagster_home(Repository(Path(root)))
    # A run is executed here and at once: neither a code server nor a queue is waited for.
    classes = {"run_launcher": SyncInMemoryRunLauncher, "run_coordinator": DefaultRunCoordinator}
    overrides = {name: {"module": each.__module__, "class": each.__name__}
                 for name, each in classes.items()}  # fmt: skip
    loadable = LoadableTargetOrigin(executable_path=sys.executable, module_name=LOCATION)
    target = InProcessWorkspaceLoadTarget(
        InProcessCodeLocationOrigin(loadable, location_name=LOCATION)
    )
    with (
        dg.DagsterInstance.from_ref(
            InstanceRef.from_dir(str(home), overrides=overrides)
        ) as instance,
        WorkspaceProcessContext(instance, target) as process,
    ):
        told = []
        for request in map(json.loads, requests):
            context = process.create_request_context()
            told.append(outcome(context, press(context, request)))
    Path(file).write_text(json.dumps(told, default=str))


if __name__ == "__main__":
    main(*sys.argv[1:])
