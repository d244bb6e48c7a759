"""Presses buttons of Dagster's page, through its GraphQL API and a code server, as a browser does.

python execute.py ROOT FILE REQUEST

REQUEST is JSON: {"again": "all" | "failure"} executes the newest run again, {"checks": [[asset,
check]]} executes checks, {"assets": [asset], "config": {...}} materialises. FILE gets what came of
it, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.storage.dagster_run import DagsterRun
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster_graphql.implementation.utils import GrapheneResult  # noqa: F401
from dagster_graphql.test.utils import execute_dagster_graphql

from meshhouse.dagster.run import dagster_home
from meshhouse.repository import Repository
