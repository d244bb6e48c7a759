"""The process of a run loads only the domains that the run is about."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from meshhouse.dagster.apart import LOADED
from meshhouse.dagster.locations import workspace_file
from tests.conftest import WARM, Mesh

LAUNCH = Path(__file__).with_name("launch.py")


def launch(mesh: Mesh, module: str, *keys: str) -> dict:
    told = mesh.root / "launched.json"
    output = mesh.root / "launch.out", mesh.root / "launch.err"
    process = WARM.start(
        [str(LAUNCH), str(mesh.root), str(told), module, *keys], mesh.root, mesh.environment, output
    )
    assert WARM.wait(process, 300) == 0, output[1].read_text()
    return json.loads(told.read_text())


@pytest.mark.parametrize("module", ["orchestration.definitions", "tests.dagster.apart"])
def test_a_run_loads_its_domain_alone_whatever_the_executor(sold: Mesh, module):
    sold.sell(4)
    keys = ["shop/raw.sales", "shop/build.stg_sales", "shop/build.orders", "shop/orders"]
    done = launch(sold, module, *keys)
    assert done["status"] == "SUCCESS", done["said"]
    assert sold.row("select count(*) from shop.orders") == (4,)
    assert done["parsed"] == ["shop"]
    in_own_processes = [each for each in done["said"] if "in subprocess" in each]
    assert len(in_own_processes) == (2 if module == "tests.dagster.apart" else 0)


def test_a_run_of_the_job_of_the_whole_mesh_finds_its_job(mesh: Mesh):
    """The page selects each of its assets, as if the run were about single domains."""
    import dagster as dg

    from meshhouse.dagster.process import domains_of

    selected = frozenset({dg.AssetKey(["shop", "orders"])})
    of = {
        name: domains_of(mesh.repository, dg.DagsterRun(name, asset_selection=selected))
        for name in ("whole_mesh", "run_shop", "__ASSET_JOB")
    }
    assert of == {"whole_mesh": None, "run_shop": ["shop"], "__ASSET_JOB": ["shop"]}


def test_each_domain_alone_is_a_code_location(mesh: Mesh, monkeypatch):
    """What `mesh dev --locations per-domain` serves; test_page.py looks at a real page."""
    from orchestration import definitions as project

    monkeypatch.setenv("MESH_ROOT", str(mesh.root))
    jobs = {}
    for location in yaml.safe_load(workspace_file(mesh.repository).read_text())["load_from"]:
        module = location["python_module"]
        assert module["module_name"] == project.__name__
        found = getattr(project, module["attribute"])()
        name = module["location_name"]
        made = found.resolve_asset_graph().executable_asset_keys
        assert {key.path[0] for key in made} == {name}
        jobs[name] = {job.name for job in found.resolve_all_job_defs()}
    assert set(jobs) == {"shop", "crm", "mesh"}
    assert [name for name, each in jobs.items() if "maintenance" in each] == ["mesh"]
    assert all(f"run_{name}" in each and "whole_mesh" not in each for name, each in jobs.items())
    with pytest.raises(AttributeError, match="no `elsewhere`"):
        getattr(project, "elsewhere")  # noqa: B009 - the name is the one that Dagster looks up


def test_the_server_of_parallel_steps_finds_every_module_that_it_loads_early() -> None:
    # multiprocessing ignores a module that is missing; each step would then load it by itself.
    assert [each for each in LOADED if find_spec(each) is None] == []
