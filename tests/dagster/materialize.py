"""Materialises assets as a run of Dagster does, from definitions that it loads itself.

python materialize.py ROOT FILE KEY...
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import dagster as dg

from meshhouse.dagster.home import dagster_home
from meshhouse.repository import Repository
from orchestration.definitions import definitions


def main(root: str, file: str, *keys: str) -> None:
    repository = Repository(Path(root))
    defined = definitions(repository)
    selection = dg.AssetSelection.assets(*(dg.AssetKey(key.split("/")) for key in keys))
    with dg.DagsterInstance.from_config(str(dagster_home(repository))) as instance:
        result = defined.get_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            asset_selection=sorted(selection.resolve(defined.resolve_asset_graph())),
            raise_on_error=False,
        )
    failures = result.filter_events(lambda each: each.is_step_failure)
    messages = [str(each.step_failure_data.user_failure_data.description) for each in failures]
    Path(file).write_text(json.dumps({"success": result.success, "failures": messages}))


if __name__ == "__main__":
    main(*sys.argv[1:])
