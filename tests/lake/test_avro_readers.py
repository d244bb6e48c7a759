"""Readers of manifests are made once for each schema, and fit each file."""

from __future__ import annotations

import pyarrow as pa
from pyiceberg.avro import file as avro_file
from pyiceberg.avro.resolver import resolve_reader
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField, StringType

from meshhouse.lake import Lake
from meshhouse.lake.avro_readers import reader_of

A_NUMBER = Schema(NestedField(1, "id", LongType(), required=True))
A_TEXT = Schema(NestedField(1, "id", StringType(), required=True))


def test_the_same_schema_gets_the_same_reader_and_another_schema_another_one() -> None:
    assert reader_of(A_NUMBER, A_NUMBER) is reader_of(A_NUMBER, A_NUMBER)
    assert reader_of(A_NUMBER, A_NUMBER) == resolve_reader(A_NUMBER, A_NUMBER)
    assert reader_of(A_TEXT, A_TEXT) == resolve_reader(A_TEXT, A_TEXT)
    assert reader_of(A_TEXT, A_TEXT) != reader_of(A_NUMBER, A_NUMBER)


def test_commits_of_a_table_use_one_reader_for_all_its_files(tmp_path, monkeypatch) -> None:
    made = []
    lake = Lake(tmp_path)
    for number in range(4):
        _append(lake, number)
        if number == 0:
            monkeypatch.setattr(avro_file.AvroFileHeader, "get_schema", _noted(made))
    assert len(made) > 1
    assert len(set(map(id, made))) < len(made)
    assert sorted(lake.load("shop.orders").scan().to_arrow()["id"].to_pylist()) == [0, 1, 2, 3]


def _append(lake: Lake, number: int) -> None:
    table = lake.stage("shop.orders", A_NUMBER)
    base = table.metadata_location or None
    with table.transaction() as transaction:
        transaction.append(pa.table({"id": pa.array([number], pa.int64())}, _ARROW))
    lake.commit([lake.staged(table, base)])


def _noted(made: list) -> object:
    plain = avro_file.AvroFileHeader.get_schema

    def get_schema(header: avro_file.AvroFileHeader) -> Schema:
        made.append(plain(header))
        return made[-1]

    return get_schema


_ARROW = pa.schema([pa.field("id", pa.int64(), nullable=False)])
