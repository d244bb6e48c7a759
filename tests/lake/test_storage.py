"""Tables in an object store work like local ones, and the store's errors give one line."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

from meshhouse.errors import MeshError, UsageError
from meshhouse.events import EventLog
from meshhouse.lake import Lake, object_store
from meshhouse.lake.adopt import adopt
from meshhouse.lake.ledger import LakeLedger
from meshhouse.lake.views import connect_memory, create_views
from meshhouse.maintenance import maintain
from tests.support.landing_place import RAW, Place
from tests.support.object_store import KEY_ID, SECRET, Store

NOW, A_DAY = timedelta(0), timedelta(days=1)


@pytest.fixture
def bucket(store: Store, monkeypatch) -> str:
    """A new bucket, which is the folder of new tables."""
    name = store.bucket()
    monkeypatch.setenv("MESH_WAREHOUSE", f"s3://{name}/some folder/it's")
    return name


@pytest.fixture
def place(bucket: str, tmp_path: Path) -> Place:
    made = Place(EventLog(tmp_path / "events"), Lake(tmp_path))
    made.log.create_topic(RAW.topic, 2)
    return made


def ids(lake: Lake) -> list[int]:
    with connect_memory() as connection:
        create_views(connection, lake.pointers())
        found = connection.execute(f"select sale_id from {RAW.relation} order by all").fetchall()
    return [number for (number,) in found]


def data_files(store: Store, bucket: str) -> set[str]:
    found = store.keys(bucket)
    return {key for key in found if "/shop_raw/sales-" in key and key.endswith(".parquet")}


def make_older(bucket: str) -> None:
    """Makes all files of a bucket a week old."""
    for key in s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[bucket].keys.values():
        key.last_modified -= timedelta(days=7)


def test_small_files_are_merged_and_unreferenced_ones_are_removed(place, store, bucket):
    for number in range(9):
        place.sell(number)
        place.land()
    before = data_files(store, bucket)
    assert len(before) == 9
    make_older(bucket)
    [done] = maintain(place.lake, [RAW.relation], older_than=A_DAY, retention=NOW)
    assert (done.files_before, done.files_after, done.snapshots_expired) == (9, 1, 9)
    assert ids(place.lake) == list(range(9))
    # Files that just left the table count as young, whenever they were written.
    assert before < data_files(store, bucket)
    make_older(bucket)
    [done] = maintain(place.lake, [RAW.relation], older_than=A_DAY, retention=NOW)
    assert done.orphans_removed > 9
    assert len(data_files(store, bucket)) == 1
    assert ids(place.lake) == list(range(9))


def test_a_file_that_no_table_refers_to_is_removed_and_those_of_other_meshes_are_not(
    place, store, bucket, tmp_path
):
    place.sell(1)
    place.land()
    other = Place(place.log, Lake(tmp_path / "other"))
    other.land()
    folder = place.lake.load(RAW.relation).location().removeprefix(f"s3://{bucket}/")
    store.client.put_object(Bucket=bucket, Key=f"{folder}/data/left-over.parquet", Body=b"x" * 9)
    before = store.keys(bucket)
    done = maintain(place.lake, [RAW.relation], older_than=timedelta(seconds=-5), retention=NOW)
    assert [(each.orphans_removed, each.orphan_bytes) for each in done] == [(1, 9)]
    assert before - store.keys(bucket) == {f"{folder}/data/left-over.parquet"}
    assert ids(place.lake) == ids(other.lake) == [1]


def test_a_lake_that_moved_shows_tables_of_both_places(store, bucket, tmp_path, monkeypatch):
    place = Place(EventLog(tmp_path / "events"), Lake(tmp_path))
    place.log.create_topic(RAW.topic, 2)
    monkeypatch.delenv("MESH_WAREHOUSE")
    here = Lake(tmp_path)
    LakeLedger(here).commit([], {"runs": [{"run_id": "1", "domain": "shop"}]})
    monkeypatch.setenv("MESH_WAREHOUSE", f"s3://{bucket}")
    place.sell(1)
    place.land()
    with connect_memory() as connection:
        create_views(connection, here.pointers())
        found = connection.execute(
            f"select sale_id, run_id from {RAW.relation}, meshhouse.runs"
        ).fetchall()
    assert found == [(1, "1")]


@pytest.mark.parametrize(
    "named", ["lake", "/data/lake", "gs://lake", "s3://", "s3:///x", "s3://k:s3cret@lake/x"]
)
def test_a_warehouse_outside_a_store_is_refused_and_not_repeated(named, monkeypatch, tmp_path):
    monkeypatch.setenv("MESH_WAREHOUSE", named)
    with pytest.raises(UsageError, match="Write `s3://bucket/folder`") as raised:
        Lake(tmp_path)
    assert "s3cret" not in str(raised.value)


def failure(bucket: str = "lake") -> str:
    """The message of a command that uses the store of AWS's variables."""
    with pytest.raises(MeshError) as raised:
        object_store.reach(f"s3://{bucket}")
    text = str(raised.value)
    assert "\n" not in text
    assert SECRET not in text
    assert KEY_ID not in text
    return text


def test_a_missing_bucket_is_named(store):
    assert failure("nowhere") == (
        "The object store has no bucket `nowhere`. Create it, or correct MESH_WAREHOUSE."
    )


def test_a_store_that_is_away_is_named_without_what_else_its_address_holds(store, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9/?token=hidden")
    said = failure()
    assert said.startswith("The object store at http://127.0.0.1:9 does not answer")
    assert "hidden" not in said
    assert "AWS_ENDPOINT_URL" in said


@pytest.fixture
def refusing() -> Iterator[str]:
    """A store that refuses every request and repeats its content."""

    class Refuses(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"<Error><Code>InvalidAccessKeyId</Code><Message>{KEY_ID}</Message></Error>"
            self.send_response(403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Refuses)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_refusal_is_reported_without_the_credentials(store, refusing, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", refusing)
    assert failure().startswith(
        "The object store refuses access to bucket `lake` (InvalidAccessKeyId). Check your AWS"
    )


def test_without_credentials_it_says_how_to_give_them(store, monkeypatch, tmp_path):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert "set AWS_PROFILE, or AWS_ACCESS_KEY_ID" in failure()


def test_a_profile_of_the_usual_files_is_used(store, bucket, place, monkeypatch, tmp_path):
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.delenv(name)
    config = tmp_path / "config"
    config.write_text(
        f"[profile mesh]\nregion = eu-west-1\nendpoint_url = {store.url}\n"
        "aws_access_key_id = a\naws_secret_access_key = b\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "mesh")
    place.sell(1)
    place.land()
    assert ids(place.lake) == [1]
    monkeypatch.setenv("AWS_PROFILE", "another")
    assert "another" in failure(bucket)


def test_a_store_that_fails_during_the_work_gives_one_line_too(place, store, monkeypatch):
    place.sell(1)
    place.land()
    place.sell(2)

    def away(*_: object) -> None:
        raise OSError("When writing key 'x' in bucket 'y': AWS Error NETWORK_CONNECTION during ...")

    monkeypatch.setattr("meshhouse.landing.lake_table.write_files", away)
    with pytest.raises(object_store.StoreFailed, match=r"does not answer \(it did before\)"):
        place.land()
    monkeypatch.undo()
    assert ids(place.lake) == [1]


def test_a_table_may_have_its_rows_in_another_bucket(place, store, bucket, tmp_path):
    built = Lake(tmp_path / "engine", name="engine", location=f"s3://{store.bucket()}/builds")
    place.sell(1)
    Place(place.log, built).land()
    change = adopt(place.lake, RAW.relation, built.load(RAW.relation))
    place.lake.commit([change])
    assert bucket in place.lake.pointers()[RAW.relation]
    assert ids(place.lake) == [1]
