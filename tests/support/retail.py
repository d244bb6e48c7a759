"""The demo's repository, a sample of its households, and events that arrive late.

Belongs here: what the tests of the whole demo share. Not here: the tests (tests/journeys).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from meshhouse.demo import retail
from meshhouse.demo.replay import replay
from meshhouse.events import event_log
from tests.conftest import Mesh
from tests.support.tiny import ROOT

Events = Mapping[str, list[tuple[bytes, bytes | None]]]
"""Events (key, value) by topic."""
FOLDERS = ("domains", "models", "profiles")
FILES = ("dbt_project.yml", "dependencies.yml")
_SAMPLED = {
    "transactions": "household_id % 20 in (0, 1)",
    "demographics": "household_id % 20 in (0, 1)",
    "campaigns": "household_id % 20 in (0, 1)",
    "coupon_redemptions": "household_id % 20 in (0, 1)",
    "promotions": "product_id % 20 = 0",
}
"""Rows in the sample; it has the households 1, 900 and 1001, which the late events are about."""
_LINE = {
    "household_id": 900,
    "store_id": 330,
    "basket_id": 31198570044,  # the first order of the data; it has one line of 0.50
    "product_id": 999_999_999,
    "quantity": 1,
    "sales_value": 2.25,
    "retail_disc": 0,
    "coupon_disc": 0,
    "coupon_match_disc": 0,
    "week": 1,
    "transaction_timestamp": "2017-01-01T11:53:26Z",
}
_SENT = (b"900", json.dumps(_LINE).encode())
_SENT_AGAIN = (b"900", json.dumps({**_LINE, "sales_value": 2.50}).encode())
LATE_LINES = {"sales.transactions": [_SENT, _SENT, _SENT_AGAIN]}
_YOUNGER = {"household_id": 1, "age": "19-24", "income": "Under 15K"}
CHANGED_HOUSEHOLDS = {
    "customers.households": [(b"1", json.dumps(_YOUNGER).encode()), (b"1001", None)]
}


def copied_repository(folder: Path) -> Mesh:
    """A copy of the real repository's domains, without data."""
    for name in FOLDERS:
        ignored = shutil.ignore_patterns("target", "logs")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    return Mesh(folder)


def replay_sample(mesh: Mesh, folder: Path, all_households: bool = False) -> None:
    """Writes the demo's events of a tenth of the households into a mesh.

    Args:
        mesh: gets the events.
        folder: gets the sampled Parquet files.
        all_households: leave nobody out.
    """
    with duckdb.connect() as connection:
        for path in retail.data_folder().glob("*.parquet"):
            where = "true" if all_households else _SAMPLED.get(path.stem, "true")
            connection.execute(f"copy (from '{path}' where {where}) to '{folder / path.name}'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retail, "data_folder", lambda: folder)
        replay(event_log(mesh.home))


def send_late(mesh: Mesh, events: Events) -> None:
    """Sends events after the replay."""
    now = int(datetime.now(UTC).timestamp() * 1000)
    for topic, sent in events.items():
        rows = [(key, value, now, []) for key, value in sent]
        event_log(mesh.home).append_events(topic, rows, "late")
