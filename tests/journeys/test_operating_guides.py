"""The guides for people who operate a mesh work as written."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.conftest import Mesh
from tests.support.guides import Followed
from tests.support.spark_here import needs_spark


def follow(mesh: Mesh, tmp_path: Path, page: str, replaced: dict[str, str]) -> list[str]:
    """Follows a page in a mesh that has published its products; returns what was printed."""
    mesh.sell(1, 2, 3, customer=1)
    mesh.run("run")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    guide = Followed(mesh, scratch, replaced)
    try:
        return guide.follow(page)
    finally:
        guide.stop()


def test_a_scheduler_calls_the_commands_of_its_page(mesh, tmp_path):
    [said] = follow(mesh, tmp_path, "airflow-and-cron.md", {})
    done = json.loads(said[said.index("{") : said.rindex("}") + 1])
    assert said.startswith("{"), "with --quiet, a good run prints nothing"
    assert "shop.orders" in done["unchanged"]


def test_a_team_gets_through_its_monday(mesh, tmp_path):
    morning, question, change, dropped, _, audit, product = follow(
        mesh, tmp_path, "a-teams-monday.md", {}
    )
    assert "fresh" in morning
    assert "crm" in question
    assert "3" in change
    assert "ben" in dropped
    assert "unchanged" in audit
    assert "published shop.best_customers" in product


@needs_spark
@pytest.mark.server
def test_a_cluster_from_zero_builds_what_is_published(mesh, tmp_path):
    with (
        socket.create_server(("localhost", 0)) as one,
        socket.create_server(("localhost", 0)) as two,
    ):
        master, page = (str(each.getsockname()[1]) for each in (one, two))
    replaced = {"localhost:7077": f"localhost:{master}", "--port 7077": f"--port {master}",
                "--webui-port 8080": f"--webui-port {page}"}  # fmt: skip
    version, built, read = follow(mesh, tmp_path, "spark-cluster-from-zero.md", replaced)
    assert "version 4" in version
    assert "published shop.totals" in built
    assert "shop.totals" in read
