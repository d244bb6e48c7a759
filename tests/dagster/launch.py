"""Starts a run in a new process, as Dagster's launchers and containers do.

python launch.py ROOT FILE MODULE KEY...

MODULE holds the code location. What dbt made of other domains is removed before the start. FILE
gets the status of the run, what its steps said, and the domains that dbt parsed for it.
"""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.instance.ref import InstanceRef
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._grpc.types import ExecuteRunArgs

from meshhouse.dagster.home import dagster_home
from meshhouse.repository import Repository
from meshhouse.repository.manifest_file import manifest_path


def main(root: str, file: str, module: str, *keys: str) -> None:
    repository = Repository(Path(root))
    home = dagster_home(repository)
    job = importlib.import_module(module).defs().get_implicit_global_asset_job_def()
    pointer = ModuleCodePointer(module, "defs", working_directory=root)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        run = instance.create_run_for_job(
            job_def=job,
            asset_selection={dg.AssetKey(key.split("/")) for key in keys},
            job_code_origin=JobPythonOrigin(
                job.name, RepositoryPythonOrigin(sys.executable, pointer)
            ),
        )
        for domain in repository.domain_names:
            shutil.rmtree(repository.folder(domain) / "target", ignore_errors=True)
        origin = run.job_code_origin
        arguments = ExecuteRunArgs(origin, run.run_id, InstanceRef.from_dir(str(home)))
        subprocess.run(arguments.get_command_args(), check=True, cwd=root)
        status = instance.get_run_by_id(run.run_id).status.value
        logs = instance.all_logs(run.run_id)
    told = {
        "status": status,
        "said": [entry.user_message for entry in logs],
        "parsed": [
            name for name in repository.domain_names if manifest_path(repository, name).exists()
        ],
    }
    Path(file).write_text(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
