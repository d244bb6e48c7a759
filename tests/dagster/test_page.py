"""A real `mesh dev`: one code location for each domain, runs on PostgreSQL, one page for a mesh."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from typing import Any
from urllib.request import Request, urlopen

from meshhouse.locks import holders
from tests.conftest import Mesh
from tests.support import postgres_here
from tests.support.browser import until

LOCATIONS = """query { workspaceOrError { ... on Workspace { locationEntries {
  name loadStatus locationOrLoadError { __typename } } } } }"""
LAUNCH = """mutation ($launch: ExecutionParams!) { launched: launchPipelineExecution(
  executionParams: $launch) { __typename ... on LaunchRunSuccess { run { runId } } } }"""
STATUS = "query ($run: ID!) { run: runOrError(runId: $run) { ... on Run { status } } }"


class Page:
    """The page's API."""

    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}/graphql"

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = Request(self._address, body, {"Content-Type": "application/json"})
        with urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())["data"]

    def locations(self) -> dict[str, str] | None:
        """Name -> what was loaded, as soon as all are."""
        try:
            entries = self.ask(LOCATIONS)["workspaceOrError"]["locationEntries"]
        except OSError:
            return None
        if not entries or any(each["loadStatus"] != "LOADED" for each in entries):
            return None
        return {each["name"]: each["locationOrLoadError"]["__typename"] for each in entries}

    def ended(self, run: str) -> str | None:
        status = self.ask(STATUS, run=run)["run"]["status"]
        return status if status in ("SUCCESS", "FAILURE", "CANCELED") else None


def test_each_domain_is_a_location_and_one_of_them_runs_on_postgresql(mesh: Mesh, tmp_path):
    mesh.sell(1, 2)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    home = tmp_path / "home"
    home.mkdir()
    with postgres_here.running() as server:
        (home / "dagster.yaml").write_text(server.settings())
        place = {"DAGSTER_HOME": str(home), "DAGSTER_PG_PASSWORD": server.password}
        command = mesh.command("dev", "--port", str(port), "--locations", "per-domain")
        with (tmp_path / "log").open("w") as log:
            running = subprocess.Popen(
                command,
                cwd=mesh.root,
                env={**mesh.environment, **place},
                stdout=log,
                stderr=log,
                # As a script starts it with `&`; stopping it must work there too.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
            )
        try:
            page = Page(port)
            found = until(page.locations, 400)
            assert found == dict.fromkeys(["shop", "crm", "mesh"], "RepositoryLocation")
            selector = {
                "repositoryName": "__repository__", "repositoryLocationName": "shop",
                "jobName": "run_shop",
            }  # fmt: skip
            launch = {"selector": selector, "runConfigData": {}}
            launched = page.ask(LAUNCH, launch=launch)["launched"]
            run = launched["run"]["runId"]
            assert until(lambda: page.ended(run), 400) == "SUCCESS"
            assert mesh.row("select count(*) from shop.orders") == (2,)
            [(recorded,)] = server.query("select count(*) from runs where status = 'SUCCESS'")
            assert recorded == 1
            # What `mesh run` does is in the same record.
            mesh.run("run", "shop", "--force", environment=place)
            [(recorded,)] = server.query("select count(*) from runs where status = 'SUCCESS'")
            assert recorded == 2
            again = mesh.run("dev", "--port", str(port), code=2, environment=place)
            assert again.stderr.startswith(f"mesh: Port {port} of 127.0.0.1 cannot be used")
            assert holders(mesh.home / "locks" / "dev") == [running.pid]
        finally:
            os.kill(running.pid, signal.SIGTERM)
            running.wait(120)
    assert holders(mesh.home / "locks" / "dev") == []
