"""A writer changes only its own tables, and no table has files outside its lake."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField

from meshhouse.errors import MeshError, UsageError
from meshhouse.lake import Lake, ownership
from meshhouse.lake.ledger import LakeLedger
from meshhouse.lake.states import write_metadata
from meshhouse.lake.views import plain_path
from meshhouse.ledger import Staged
from meshhouse.maintenance import maintain
from tests.support import killing

SCHEMA = Schema(NestedField(1, "id", LongType()))
NAMES = st.text(st.characters(codec="utf-8"), max_size=12)


@pytest.mark.parametrize("relation", ["shop.orders", "shop_raw.sales", "shop_build.orders"])
def test_a_domain_writes_to_its_own_schemas(tmp_path, relation):
    assert Lake(tmp_path).stage(relation, SCHEMA, writer="shop").name() == tuple(
        relation.split(".")
    )


@pytest.mark.parametrize(
    "relation",
    ["crm.orders", "shop2.orders", "shop_raw2.x", "crm_raw.sales", "crm_build.x",
     "meshhouse.landings", "ana__shop.orders", "SHOP.orders"],
)  # fmt: skip
def test_a_domain_cannot_write_to_other_schemas(tmp_path, relation):
    with pytest.raises(UsageError, match=r"was not written"):
        Lake(tmp_path).stage(relation, SCHEMA, writer="shop")
    staged = Staged(relation, None, "file:///nowhere", 1)
    with pytest.raises(UsageError, match=r"was not written"):
        LakeLedger(Lake(tmp_path)).commit([staged], {"runs": [{"domain": "shop"}]})
    assert Lake(tmp_path).states() == {}


def test_only_the_ledger_writes_to_its_schema(tmp_path):
    with pytest.raises(UsageError, match="the ledger's"):
        Lake(tmp_path).stage("meshhouse.landings", SCHEMA)
    with pytest.raises(UsageError, match="the ledger's"):
        LakeLedger(Lake(tmp_path)).commit([Staged("meshhouse.runs", None, "x", 1)], {})


@pytest.mark.parametrize(
    "relation",
    ["../../out.x", "shop_raw./etc/x", "shop_raw...", "a", "a.b.c", ".x.y", "shop_raw.", ".x",
     "shop_raw.a\\b", "shop_raw.a\0b", "shop_raw.a\nb", "shop_raw." + "x" * 300],
)  # fmt: skip
def test_a_name_that_could_lead_elsewhere_names_no_table(tmp_path, relation):
    with pytest.raises(UsageError, match="cannot name a table"):
        Lake(tmp_path / "home").stage(relation, SCHEMA)
    assert not [*tmp_path.rglob("*.json")]


@given(schema=NAMES, table=NAMES)
def test_no_name_leads_out_of_the_warehouse(schema, table):
    try:
        ownership.check_name(f"{schema}.{table}")
    except UsageError:
        return
    folder = Path("/home/lake", schema, table)
    assert folder.resolve().parent.parent == Path("/home/lake")


def place_elsewhere(lake: Lake, **changes) -> str:
    """Registers a table whose metadata names other folders."""
    table = lake.stage("lab.numbers", SCHEMA)
    table.metadata_location = write_metadata(table)
    path = Path(plain_path(table.metadata_location))
    metadata = {**json.loads(gzip.decompress(path.read_bytes())), **changes}
    path.write_bytes(gzip.compress(json.dumps(metadata).encode()))
    lake.commit([lake.staged(table, None)])
    return table.metadata_location


@pytest.mark.parametrize("how", ["absolute", "dots", "link", "property", "bucket"])
def test_a_table_with_files_elsewhere_is_neither_written_nor_maintained(tmp_path, how):
    outside = tmp_path / "outside"
    (outside / "metadata").mkdir(parents=True)
    kept = outside / "metadata" / "00000-lost.metadata.json"
    kept.write_text("{}")
    lake = Lake(tmp_path / "home")
    (tmp_path / "home/lake").mkdir(parents=True)
    (tmp_path / "home/lake/link").symlink_to(outside)
    changes = {
        "absolute": {"location": f"file://{outside}"},
        "dots": {"location": f"file://{lake.warehouse}/../../outside"},
        "link": {"location": f"file://{lake.warehouse}/link"},
        "property": {"properties": {"write.data.path": str(outside)}},
        "bucket": {"location": "s3://bucket/of/others"},
    }[how]
    place_elsewhere(lake, **changes)
    with pytest.raises(MeshError, match="which is not in this lake"):
        lake.stage("lab.numbers", SCHEMA)
    with pytest.raises(MeshError, match="which is not in this lake"):
        maintain(lake)
    assert kept.exists()


def test_publication_and_landing_are_checked(tmp_path):
    killing.write_events(tmp_path, 100)
    killing.finish(tmp_path)
    assert killing.problems(tmp_path) == []
