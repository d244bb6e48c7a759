"""Time travel gives the rows of an earlier snapshot, under the right columns."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import IcebergType, IntegerType, LongType, NestedField, StringType

from meshhouse.lake import Lake
from meshhouse.lake.adopt import adopt
from meshhouse.lake.time_travel import as_of
from meshhouse.lake.views import connect_memory, plain_path

SHOWN = "shop.orders"


def publish(lake: Lake, builds: Path, fields: list[tuple[str, IcebergType]], *row: object) -> int:
    """Publishes a table that was built from scratch, so its field ids start at one."""
    built = Lake(builds, name="engine").stage(
        "shop_build.orders",
        Schema(*(NestedField(n, name, kind) for n, (name, kind) in enumerate(fields, start=1))),
    )
    columns = {name: [value] for (name, _), value in zip(fields, row, strict=True)}
    built.append(pa.Table.from_pydict(columns, schema=built.schema().as_arrow()))
    staged = adopt(lake, SHOWN, built)
    lake.commit([staged])
    return staged.snapshot_id


MANY = 2**40
ID, COUNT, NAME = ("id", IntegerType()), ("count", LongType()), ("name", StringType())


@pytest.mark.parametrize(
    ("before", "now", "seen"),
    [
        ([ID, COUNT], [COUNT, ID], {"id": 1, "count": MANY}),
        ([ID, COUNT], [("count", IntegerType()), ("id", LongType())], {"id": 1, "count": MANY}),
        ([ID, COUNT], [ID, ("count", IntegerType())], {"id": 1, "count": MANY}),
        ([ID, COUNT], [("id", LongType()), COUNT, NAME], {"id": 1, "count": MANY, "name": None}),
    ],
    ids=["other names", "other names and types", "a narrower type", "columns that came later"],
)
def test_rows_of_an_earlier_snapshot_have_the_right_columns(tmp_path, before, now, seen):
    lake = Lake(tmp_path / "mesh")
    then = publish(lake, tmp_path / "first", before, 1, MANY)
    publish(lake, tmp_path / "second", now, *[None] * len(now))
    past = as_of(lake.pointers()[SHOWN], then, tmp_path / "pins")
    with connect_memory() as connection:
        found = connection.execute(f"select * from iceberg_scan('{plain_path(past)}')")
        names = [column[0] for column in found.description]
        assert dict(zip(names, found.fetchone(), strict=True)) == seen


def test_an_existing_file_is_not_overwritten_because_a_run_may_be_reading_it(tmp_path):
    lake = Lake(tmp_path / "mesh")
    then = publish(lake, tmp_path / "first", [ID], 1)
    publish(lake, tmp_path / "second", [ID], 2)

    def pin() -> Path:
        return Path(plain_path(as_of(lake.pointers()[SHOWN], then, tmp_path / "pins")))

    path = pin()
    first, text = path.stat(), path.read_text()
    assert (pin(), path.stat()) == (path, first)
    path.write_text("half of")
    with path.open() as reader:
        pin()
        assert (reader.read(), path.read_text()) == ("half of", text)
    assert list(path.parent.iterdir()) == [path]
