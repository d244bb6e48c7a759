"""A catalog service instead of a file: atomic commits, conflicts and error messages."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pyarrow as pa
import pytest
import requests
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.sorting import SortField, SortOrder
from pyiceberg.table.update import (
    AddPartitionSpecUpdate,
    AddSortOrderUpdate,
    SetDefaultSortOrderUpdate,
    SetDefaultSpecUpdate,
    update_table_metadata,
)
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import LongType, NestedField, StringType

from meshhouse.engines.builds import work_lake
from meshhouse.errors import MeshError, UsageError
from meshhouse.events import EventLog
from meshhouse.lake import Lake
from meshhouse.lake.rewrite import exchange_files
from meshhouse.lake.texts import COMMENT, NOT_NULL, OWNER, Texts, with_docs
from meshhouse.lake.views import connect_memory, create_views
from meshhouse.lake.zero_copy import register_snapshot
from meshhouse.landing.target import Fenced
from meshhouse.ledger import Conflict, Staged
from meshhouse.maintenance import maintain
from meshhouse.repository import Column, RawTable
from meshhouse.repository.environment import workspace
from tests.support.landing_place import RAW, Place
from tests.support.nessie import Nessie

URI = "PYICEBERG_CATALOG__MESH__URI"
SCHEMA = Schema(NestedField(1, "id", LongType()))
WIDE = Schema(*SCHEMA.fields, NestedField(2, "name", StringType()))
_NUMBERS = itertools.count()


@pytest.fixture
def lake(nessie: Nessie, monkeypatch, tmp_path: Path) -> Lake:
    monkeypatch.setenv(URI, nessie.uri)
    return Lake(tmp_path)


@pytest.fixture
def schema() -> str:
    """A new schema, because tests share the service."""
    return f"shop{next(_NUMBERS)}"


def add(lake: Lake, relation: str, *ids: int, columns: Schema = SCHEMA) -> Staged:
    """Stages a table with more rows; text columns are made from the id."""
    table = lake.stage(relation, columns)
    base = table.metadata_location or None
    rows = [{"id": number, "name": str(number)} for number in ids]
    with table.transaction() as transaction:
        transaction.append(pa.Table.from_pylist(rows, schema=table.schema().as_arrow()))
    return lake.staged(table, base)


def rows(lake: Lake, relation: str, what: str = "id") -> list:
    """Values of one column."""
    with connect_memory() as connection:
        create_views(connection, {relation: lake.state(relation)})
        found = connection.execute(f"select {what} from {relation} order by all").fetchall()
    return [value for (value,) in found]


def test_tables_are_made_and_moved_by_one_transaction(lake, schema, nessie):
    orders, totals = f"{schema}.orders", f"{schema}.totals"
    staged = [add(lake, orders, 1), add(lake, totals, 1)]
    assert orders not in lake.states()
    # Iceberg's Java library refuses a metadata file that lists a schema twice.
    candidate = lake.load(orders, staged[0].state).metadata
    parts = (candidate.schemas, candidate.partition_specs, candidate.sort_orders)
    assert [len(each) for each in parts] == [1, 1, 1]
    lake.commit(staged)
    lake.commit([add(lake, orders, 2), add(lake, totals, 2)])
    assert rows(lake, orders) == rows(lake, totals) == [1, 2]
    assert nessie.commits()[:2] == [{orders, totals}, {orders, totals}]
    assert not lake.catalog_path.exists()


def test_of_two_rivals_one_is_refused_with_all_its_changes(lake, schema):
    orders, totals = f"{schema}.orders", f"{schema}.totals"
    lake.commit([add(lake, orders, 1), add(lake, totals, 1)])
    ours = [add(lake, orders, 2), add(lake, totals, 2)]
    lake.commit([add(lake, totals, 3)])
    with pytest.raises(Conflict) as refused:
        lake.commit(ours)
    assert refused.value.relations == (totals,)
    assert (rows(lake, orders), rows(lake, totals)) == ([1], [1, 3])


def test_a_conflict_after_the_last_check_is_refused_by_the_service(lake, schema, monkeypatch):
    orders, totals = f"{schema}.orders", f"{schema}.totals"
    lake.commit([add(lake, orders, 1), add(lake, totals, 1)])
    ours, rival = [add(lake, orders, 2), add(lake, totals, 2)], add(lake, totals, 3)
    post, waiting = requests.Session.post, [rival]

    def late(session, url, **options):
        while waiting:
            lake.commit([waiting.pop()])
        return post(session, url, **options)

    monkeypatch.setattr(requests.Session, "post", late)
    with pytest.raises(Conflict):
        lake.commit(ours)
    assert (rows(lake, orders), rows(lake, totals)) == ([1], [1, 3])


def test_a_table_that_is_only_read_must_not_change_meanwhile(lake, schema, monkeypatch):
    orders, alias = f"{schema}.orders", f"{schema}.alias"
    lake.commit([add(lake, orders, 1)])
    snapshot = lake.load(orders).current_snapshot().snapshot_id

    def read() -> Staged:
        state = lake.state(orders)
        return Staged(orders, state, state, snapshot)

    lake.commit([read(), add(lake, alias, 1)])
    assert lake.load(orders).current_snapshot().snapshot_id == snapshot
    rival, ours = add(lake, orders, 2), [read(), add(lake, alias, 2)]
    post, waiting = requests.Session.post, [rival]

    def late(session, url, **options):
        while waiting:
            lake.commit([waiting.pop()])
        return post(session, url, **options)

    monkeypatch.setattr(requests.Session, "post", late)
    with pytest.raises(Conflict):
        lake.commit(ours)
    assert (rows(lake, orders), rows(lake, alias)) == ([1, 2], [1])


def test_two_who_make_the_same_table_do_not_both_succeed(lake, schema):
    first, second = (add(lake, f"{schema}.orders", number) for number in (1, 2))
    lake.commit([first])
    with pytest.raises(Conflict):
        lake.commit([second])
    assert rows(lake, f"{schema}.orders") == [1]


def test_columns_may_be_added_and_properties_removed(lake, schema):
    relation = f"{schema}.orders"
    lake.commit([add(lake, relation, 1)])
    lake.commit([add(lake, relation, 2, columns=WIDE)])
    assert rows(lake, relation, "coalesce(name, 'none')") == ["2", "none"]
    table = lake.load(relation)
    base = table.metadata_location
    with table.transaction() as transaction:
        transaction.set_properties({"meshhouse.kind": "raw", "other": "1"})
    lake.commit([lake.staged(table, base)])
    table = lake.load(relation)
    base = table.metadata_location
    with table.transaction() as transaction:
        transaction.remove_properties("other")
    lake.commit([lake.staged(table, base)])
    properties = lake.load(relation).properties
    assert (properties["meshhouse.kind"], "other" in properties) == ("raw", False)


def test_descriptions_are_kept_and_may_change_back(lake, schema, tmp_path):
    relation = f"{schema}.orders"
    for number, text in enumerate(("Which.", "What.", "Which.", None)):
        staged = add(lake, relation, number, columns=with_docs(SCHEMA, {"id": text}))
        assert len(lake.load(relation, staged.state).metadata.schemas) == 1 or number
        lake.commit([staged])
        [field] = lake.load(relation).schema().fields
        assert (field.field_id, field.doc) == (1, text)
    built = Lake(tmp_path / "engine", name="engine")
    built.commit([add(built, "built.orders", 9)])
    texts = Texts("Orders, \x1b[1m ☃", "ann", docs={"id": "Two\nlines"}, promised=frozenset({"id"}))
    for shown in (relation, f"{schema}.others"):
        lake.commit([register_snapshot(lake, shown, built.load("built.orders"), texts)])
        table = lake.load(shown)
        assert [(each.field_id, each.doc) for each in table.schema().fields] == [(1, "Two\nlines")]
        said = [table.properties[each] for each in (COMMENT, OWNER, NOT_NULL)]
        assert said == [texts.comment, "ann", '["id"]']
        assert rows(lake, shown) == [9]


def test_an_answer_that_is_lost_is_found_out(lake, schema, monkeypatch):
    relation = f"{schema}.orders"
    lake.commit([add(lake, relation, 1)])
    post = requests.Session.post

    def lost(session, url, **options):
        post(session, url, **options)
        raise requests.exceptions.ReadTimeout

    staged = add(lake, relation, 2)
    monkeypatch.setattr(requests.Session, "post", lost)
    lake.commit([staged])
    assert rows(lake, relation) == [1, 2]

    def never(session, url, **options):
        raise requests.exceptions.ReadTimeout

    staged = add(lake, relation, 3)
    monkeypatch.setattr(requests.Session, "post", never)
    with pytest.raises(MeshError, match="gave no clear answer"):
        lake.commit([staged])
    assert lake.shows(staged), "the request may still be done, so its files must stay"


@pytest.fixture
def raw(schema: str) -> RawTable:
    return replace(RAW, domain=schema, schema=f"{schema}_raw")


@pytest.fixture
def place(lake: Lake, tmp_path: Path) -> Place:
    made = Place(EventLog(tmp_path / "events"), lake)
    made.log.create_topic(RAW.topic, 2)
    return made


def test_landing_goes_on_where_it_stood_and_a_rival_is_fenced(place, raw, tmp_path, monkeypatch):
    place.sell(1, 2)
    place.land(raw)
    place.sell(3)
    lands, rival = Lake.commit, Lake(tmp_path / "rival")

    def overtaken(lake, changes, keep=()):
        if lake is place.lake and place.log.describe(RAW.topic) and not done:
            done.append(True)
            Place(place.log, rival).land(raw)
        return lands(lake, changes, keep)

    done: list[bool] = []
    monkeypatch.setattr(Lake, "commit", overtaken)
    with pytest.raises(Fenced):
        place.land(raw)
    monkeypatch.undo()
    place.land(raw)
    assert rows(place.lake, raw.relation, "sale_id") == [1, 2, 3]


def test_maintenance_merges_files_and_removes_none(place, raw, store):
    for number in range(9):
        place.sell(number)
        place.land(raw)
    now = timedelta(0)
    [done] = maintain(place.lake, [raw.relation], older_than=now, retention=now)
    assert (done.files_before, done.files_after, done.orphans_removed) == (9, 1, 0)
    assert rows(place.lake, raw.relation, "sale_id") == list(range(9))
    wider = replace(raw, columns=(*raw.columns, Column("note", "string")))
    place.sell(9)
    place.land(wider)
    assert rows(place.lake, raw.relation, "sale_id") == list(range(10))


def test_maintenance_keeps_replaced_builds_because_a_branch_of_the_service_may_use_them(
    lake, schema, tmp_path, monkeypatch
):
    here = lake.in_environment(schema)  # other tests keep tables in production
    builds = work_lake(workspace(tmp_path, schema), "shop")
    for number in range(3):
        builds.commit([add(builds, f"{schema}__shop_build.orders", number)])
    before = sorted(builds.warehouse.rglob("*"))
    now = timedelta(0)
    assert maintain(here, older_than=now, retention=now) == []
    assert sorted(builds.warehouse.rglob("*")) == before


def build(builds: Lake, relation: str, ids: list[int], *fields: PartitionField) -> Table:
    """Replaces a built table's rows, in partitions of these fields, sorted if there are any."""
    table = builds.stage(relation, WIDE)
    base = table.metadata_location or None
    specs, orders = table.metadata.partition_specs, table.metadata.sort_orders
    order = SortOrder(*(SortField(each.source_id, each.transform) for each in fields),
                      order_id=len(orders))  # fmt: skip
    told: list = [
        AddPartitionSpecUpdate(spec=PartitionSpec(*fields, spec_id=len(specs))),
        SetDefaultSpecUpdate(spec_id=-1),
        AddSortOrderUpdate(sort_order=order),
        SetDefaultSortOrderUpdate(sort_order_id=-1),
    ]
    if fields:
        table.metadata = update_table_metadata(table.metadata, tuple(told))
    with table.transaction() as transaction:
        old = [task.file for task in table.scan().plan_files()] if base else []
        if old:
            exchange_files(transaction, old, [])
        names = [str(each) for each in ids]
        transaction.append(pa.table({"id": pa.array(ids, pa.int64()), "name": names}))
    builds.commit([builds.staged(table, base)])
    return builds.load(relation)


BY_ID = PartitionField(1, 1000, IdentityTransform(), "id")
BY_NAME = PartitionField(2, 1001, IdentityTransform(), "name")


@pytest.mark.parametrize(
    "ways",
    [
        pytest.param([(), (BY_ID,), ()], id="there and back"),
        pytest.param([(BY_ID,), (BY_ID, BY_NAME)], id="from the first on"),
    ],
)
def test_a_table_may_be_partitioned_in_another_way_each_time(lake, schema, tmp_path, ways):
    relation, builds = f"{schema}.orders", Lake(tmp_path / "engine", name="engine")
    # Builds before the first publication have already used ids.
    build(builds, relation, [0], BY_NAME)
    for number, fields in enumerate(ways):
        ids = [10 * number + each for each in range(3)]
        lake.commit([register_snapshot(lake, relation, build(builds, relation, ids, *fields))])
        table = lake.load(relation)
        assert sorted(table.scan().to_arrow()["id"].to_pylist()) == rows(lake, relation) == ids
        assert table.scan(f"id = {ids[1]}").to_arrow()["id"].to_pylist() == [ids[1]]
        assert [each.name for each in table.spec().fields] == [each.name for each in fields]
        assert [each.source_id for each in table.sort_order().fields] == [
            each.source_id for each in fields
        ]
    lake.commit([add(lake, relation, 99, columns=WIDE)])  # rows without a partition
    assert rows(lake, relation) == [*ids, 99]


def failure(tmp_path: Path) -> str:
    with pytest.raises(MeshError) as raised:
        Lake(tmp_path).states()
    assert "\n" not in str(raised.value)
    assert "hidden" not in str(raised.value)
    return str(raised.value)


def test_a_service_that_is_away_is_named_without_what_else_its_address_holds(monkeypatch, tmp_path):
    monkeypatch.setenv(URI, "http://someone:hidden@127.0.0.1:9/iceberg")
    assert failure(tmp_path) == (
        "The catalog service at http://127.0.0.1:9 does not answer. Check the network and "
        f"{URI}; then run the same command again."
    )


def test_a_value_that_is_not_an_address_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv(URI, "sqlite:////hidden/catalog.db")
    with pytest.raises(UsageError, match="Write `https://host/path`"):
        Lake(tmp_path).states()


@pytest.fixture
def answering() -> Iterator[Callable[..., str]]:
    """Starts a server with one answer to all requests; `config` answers the first one."""
    servers = []

    def make(code: int, body: dict, config: dict | None = None) -> str:
        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                is_config = self.path.startswith("/v1/config") and config is not None
                data = json.dumps(config if is_config else body).encode()
                self.send_response(200 if is_config else code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.do_GET()

            def log_message(self, *_: object) -> None: ...

        server = HTTPServer(("127.0.0.1", 0), Answers)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield make
    for server in servers:
        server.shutdown()


def test_a_refusal_names_where_credentials_are_set(answering, monkeypatch, tmp_path):
    refusal = {"error": {"message": "who is hidden", "type": "NotAuthorized", "code": 401}}
    monkeypatch.setenv("PYICEBERG_CATALOG__MESH__TOKEN", "hidden")
    monkeypatch.setenv(URI, answering(401, refusal))
    said = failure(tmp_path)
    assert "refuses access. Check PYICEBERG_CATALOG__MESH__CREDENTIAL or __TOKEN" in said


def test_a_server_that_is_not_a_catalog_is_reported(answering, monkeypatch, tmp_path):
    monkeypatch.setenv(URI, answering(200, {"hello": "hidden"}))
    assert "The catalog service at http://127.0.0.1" in failure(tmp_path)


def test_a_service_without_transactions_is_named_with_those_that_have_them(
    answering, lake, schema, monkeypatch
):
    staged = add(lake, f"{schema}.orders", 1)
    missing = {"error": {"message": "not found", "type": "NotFound", "code": 404}}
    uri = answering(404, missing, {"defaults": {}, "overrides": {}})
    monkeypatch.setenv(URI, uri)
    monkeypatch.setattr("meshhouse.lake.rest_catalog.CatalogService.state", lambda *_: None)
    with pytest.raises(MeshError, match="cannot change several tables at once"):
        lake.commit([staged])
