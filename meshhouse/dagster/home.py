"""Dagster's home folder: which one counts, and the settings that are written to a new one.

Belongs here: the folder and the text of its dagster.yaml. Not here: the instance that Dagster
makes of them (instance.py).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from meshhouse.errors import UsageError
from meshhouse.files import replace
from meshhouse.repository import Repository

VARIABLE = "DAGSTER_HOME"
SETTINGS = "dagster.yaml"

_BEFORE_LIMITS = """\
# Written by Meshhouse. Nothing about the use of this mesh leaves the machine.
telemetry:
  enabled: false
# No question for an e-mail address on the first visit.
nux:
  enabled: false
"""
_TEXT = (
    _BEFORE_LIMITS.replace(
        "# Written by Meshhouse.",
        "# Written by Meshhouse, which writes it again after an upgrade unless you edit it.\n#",
    )
    + """\
# Each run may use all cores and the memory of MESH_MEMORY_LIMIT. More runs wait in the queue.
concurrency:
  runs:
    max_concurrent_runs: {runs}
  # Steps at once in each pool. orchestration/steps.py names the pools.
  pools:
    default_limit: {steps}
    granularity: op
# Slots of a run whose process was killed are free again after a minute.
run_monitoring:
  enabled: true
  free_slots_after_run_end_seconds: 60
"""
)


def dagster_home(repository: Repository) -> Path:
    """Dagster's home folder: `DAGSTER_HOME` in production, otherwise one inside the mesh's.

    Each environment has its own: an asset is called the same in all of them, and what follows
    it in production must not start because of an environment.

    Raises:
        UsageError: `DAGSTER_HOME` does not name a folder.
    """
    chosen = os.environ.get(VARIABLE, "")
    if chosen and not repository.environment:
        return _users_home(chosen)
    home = repository.workspace / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    settings = home / SETTINGS
    wanted = _settings(os.cpu_count() or 1)
    if not settings.exists() or _written_by_us(settings.read_text("utf-8", "replace"), wanted):
        replace(settings, wanted)
    return home


def unused_home(repository: Repository) -> str:
    """What to tell a user whose `DAGSTER_HOME` does not count; empty if it counts or is unset."""
    chosen = os.environ.get(VARIABLE, "")
    own = repository.workspace / "dagster"
    if not chosen or not repository.environment or Path(chosen).expanduser() == own:
        return ""
    return (
        f"{VARIABLE} is not used in the environment {repository.environment}, so that its runs "
        f"start nothing in production. They are recorded in {own}, which has its own {SETTINGS}."
    )


def _users_home(chosen: str) -> Path:
    home = Path(chosen).expanduser()
    if not home.is_absolute():
        raise UsageError(f"{VARIABLE} is `{chosen}`: give it an absolute path, or unset it.")
    if not home.is_dir():
        raise UsageError(
            f"{VARIABLE} is `{chosen}`, where no folder is: create that folder, or unset the "
            "variable to use one inside the mesh's."
        )
    return home


def _settings(cores: int) -> str:
    return _TEXT.format(runs=max(2, cores), steps=max(1, cores // 2))


def _written_by_us(text: str, wanted: str) -> bool:
    """Whether a text differs from the wanted one and was never edited."""
    if text == wanted:
        return False
    cores = re.sub(r"(max_concurrent_runs|default_limit): \d+", r"\1: 0", text)
    return text == _BEFORE_LIMITS or cores == _TEXT.format(runs=0, steps=0)
