"""One look of Dagster's sensors at a mesh, as JSON. A program, like describe.py.

python automate.py ROOT FILE
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import dagster as dg

from meshhouse.dagster.home import dagster_home
from meshhouse.repository import Repository
from orchestration.definitions import definitions


def main(root: Path, told: Path) -> None:
    repository = Repository(root)
    defined = definitions(repository)
    cursors = root / "cursors.json"
    kept = json.loads(cursors.read_text()) if cursors.exists() else {}
    with dg.DagsterInstance.from_config(str(dagster_home(repository))) as instance:
        context = dg.build_sensor_context(
            instance=instance, cursor=kept.get("events_wait"), definitions=defined
        )
        looked = defined.get_sensor_def("events_wait")(context)
        for event in looked.asset_events:
            instance.report_runless_asset_event(event)
        followed = dg.evaluate_automation_conditions(
            defined,
            instance,
            cursor=dg.deserialize_value(kept["follows"]) if "follows" in kept else None,
        )
    cursors.write_text(
        json.dumps({"events_wait": looked.cursor, "follows": dg.serialize_value(followed.cursor)})
    )
    told.write_text(
        json.dumps(
            {
                "lands": [
                    {
                        "key": each.run_key,
                        "assets": sorted(key.to_user_string() for key in each.asset_selection),
                    }
                    for each in looked.run_requests
                ],
                "told": [event.asset_key.to_user_string() for event in looked.asset_events],
                "follows": sorted(
                    result.key.to_user_string()
                    for result in followed.results
                    if result.true_subset.size
                ),
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
