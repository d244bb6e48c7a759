"""The cost of a run, compared with plain dbt; and of one more day, compared with a full run.

Every figure is the wall time of a whole process, including its start.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from meshhouse.repository import Repository

UNTIL = "2017-12-30"
"""The end of the first replay; NEXT is the day that is added."""
NEXT = "2017-12-31"


def _timed(command: list[str], folder: Path, environment: dict[str, str]) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return time.perf_counter() - started


def run_costs() -> dict[str, float]:
    """Seconds of a full run, of one more day, of a forced run, and of plain dbt.

    The forced run skips nothing. Plain dbt is the sum of one `dbt build` per domain, on the same
    inputs. Both build incremental models incrementally.
    """
    root = Repository.find().root
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "mesh"
        shutil.copytree(
            root,
            copy,
            ignore=shutil.ignore_patterns(".mesh", ".venv", ".git", "target", "logs", "tests"),
        )
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MESH_")},
            "MESH_ROOT": str(copy),
            "DBT_PROFILES_DIR": str(copy / "profiles"),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "PYTHONPATH": str(root),
        }
        mesh = [sys.executable, "-m", "meshhouse.cli.main"]
        dbt = [str(Path(sys.executable).with_name("dbt")), "--quiet", "build"]

        _timed([*mesh, "replay", "--until", UNTIL], copy, environment)
        full = _timed([*mesh, "run", "--quiet"], copy, environment)
        _timed([*mesh, "replay", "--until", NEXT], copy, environment)
        day = _timed([*mesh, "run", "--quiet"], copy, environment)
        unchanged = _timed([*mesh, "run", "--quiet"], copy, environment)
        forced = _timed([*mesh, "run", "--quiet", "--force"], copy, environment)
        plain = sum(
            _timed(dbt, copy if name == "mesh" else copy / "domains" / name, environment)
            for name in Repository.find(copy).domain_names
        )
    return {
        "full": full,
        "day": day,
        "unchanged": unchanged,
        "forced": forced,
        "plain": plain,
        "day_over_full": day / full,
        "forced_over_plain": forced / plain,
    }


if __name__ == "__main__":
    print(json.dumps(run_costs(), indent=2))
