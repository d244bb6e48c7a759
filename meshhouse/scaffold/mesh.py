"""A new mesh, with one domain that works.

Belongs here: which files it has, where it cannot be, and the sample events. Not here: the texts
(meshhouse/templates/mesh/).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from meshhouse.errors import UsageError
from meshhouse.events import event_log, uses_kafka
from meshhouse.repository import Repository
from meshhouse.scaffold.templates import rendered

SAMPLE_TOPIC = "shop.orders"
SAMPLE_KEY = "order_id"
SAMPLE_FILE = Path("domains/shop/samples/orders.jsonl")


def new_mesh(folder: Path) -> Mapping[Path, str]:
    """The files of a new mesh.

    Args:
        folder: where the mesh will be; other files may be there.

    Raises:
        UsageError: the folder belongs to a mesh.
    """
    folder = folder.resolve()
    try:
        around = Repository.find(folder)
    except UsageError:
        around = None
    if around is not None and around.root == folder:
        raise UsageError(f"{folder} is a mesh already. `mesh new domain NAME` adds a domain to it.")
    if around is not None:
        raise UsageError(
            f"{folder} is inside the mesh {around.root}. Choose a folder outside of it, or use "
            "`mesh new domain NAME` to add a domain."
        )
    values = {
        "project": _project_name(folder.name),
        "title": folder.name or "mesh",
        "platform": version("meshhouse"),
    }
    return {folder / path: text for path, text in rendered("mesh", values).items()}


def send_samples(folder: Path) -> int:
    """Writes the sample events to the embedded log of a new mesh.

    Returns:
        Their number; 0 if the environment names another place for events, to which nobody has
        asked for made-up orders.
    """
    if os.environ.get("MESH_HOME") or uses_kafka(folder):
        return 0
    lines = (folder / SAMPLE_FILE).read_bytes().splitlines()
    events = [(str(json.loads(line)[SAMPLE_KEY]).encode(), line) for line in lines]
    now = int(datetime.now(UTC).timestamp() * 1000)
    log = event_log(folder / ".mesh")
    log.create_topic(SAMPLE_TOPIC)
    return log.append_events(SAMPLE_TOPIC, [(*each, now, []) for each in events], "mesh init")


def _project_name(folder: str) -> str:
    """The folder's name as pyproject.toml allows it."""
    return re.sub(r"[^A-Za-z0-9]+", "-", folder).strip("-").lower() or "mesh"
