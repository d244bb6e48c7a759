"""Landing as commands and assets ask for it.

Belongs here: one bounded lander a table at a time on this machine, none beside those that
land it continuously, and the ledger entry. Does not: how a table is landed (land.py).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from meshhouse.engines import RawStore
from meshhouse.errors import UsageError
from meshhouse.events import open_source
from meshhouse.lake import Lake
from meshhouse.lake.ledger import LakeLedger
from meshhouse.lake.schema import iceberg_type
from meshhouse.lake.states import table_properties
from meshhouse.landing.follow import OnLanded, Pace, follow
from meshhouse.landing.land import Landing, Progress, land
from meshhouse.landing.reprocess import Again, land_again, starts_from
from meshhouse.landing.target import Accept, turn_of
from meshhouse.landing.unrecorded import UNRECORDED, unrecorded
from meshhouse.ledger import Conflict
from meshhouse.locks import lock, lock_if_free, shared_lock, turn
from meshhouse.maintenance import tidy
from meshhouse.repository import RawTable, Repository
from meshhouse.repository.environment import stored_schema
from meshhouse.repository.types import parse_type

if TYPE_CHECKING:
    from meshhouse.events.kafka.settings import KafkaSettings

ENGINES = ("python", "spark")
"""What can land: this process, or a Spark that it starts or reaches."""
_TIDY_EVERY = 25
"""Commits between upkeep of a table that is landed continuously."""
_LEDGER_SECONDS = 60.0
"""A continuous landing is recorded about so often, not with each of its commits."""
_ATTEMPTS = 20


def group_of(raw: RawTable, environment: str = "") -> str:
    """The consumer group whose lag says how far landing a table is behind."""
    # Landers of one group share the partitions; an environment lands all of them itself.
    return f"meshhouse.{stored_schema(environment, raw.relation)}"


def lands_itself(store: Lake | RawStore, raw: RawTable) -> bool:
    """Whether a run lands a raw table, rather than reading production's.

    An environment reads what production landed, until somebody lands there or production
    has no table that holds the declared columns.
    """
    if not store.environment or raw.relation in store.pointers():
        return True
    if not isinstance(store, Lake):
        return raw.relation not in store.in_environment("").pointers()
    production = store.in_environment("").load(raw.relation)
    if production is None:
        return True
    held = {field.name: field.field_type for field in production.schema().fields}
    try:
        wanted = {each.name: iceberg_type(parse_type(each.data_type)) for each in raw.columns}
    except ValueError:
        return True  # landing says what is wrong
    return any(held.get(name) != kind for name, kind in wanted.items())


def land_table(
    repository: Repository,
    store: Lake | RawStore,
    raw: RawTable,
    progress: Progress = lambda events: None,
    accept: Accept = (),
    engine: str = "python",
) -> Landing:
    """Lands what the topic of one raw table holds now and records it.

    A table that is landed continuously on this machine is left to those who do.

    Args:
        repository: where the topics are declared.
        store: where the raw table is.
        raw: what to land.
        progress: is told how many events were committed.
        accept: see `meshhouse.landing.target.Accept`.
        engine: one of `ENGINES`; both land the same, and each goes on where the other stopped.

    Raises:
        UsageError: Spark is to land a topic that is not in Kafka; or see `land`.
        MeshError: see `land`.
    """
    settings = _sparks_kafka(repository, raw) if engine == "spark" else None
    source = open_source(repository.root, repository.home)

    def mirror(offsets: Mapping[int, int]) -> None:
        source.mirror(raw.topic, group_of(raw, store.environment), offsets)

    locks = repository.workspace / "locks"
    record(store, raw)
    with (
        lock(locks / f"{raw.relation}.landing"),
        lock_if_free(locks / f"{raw.relation}.following") as follower,
    ):
        if follower:
            return Landing(raw, followed_by=follower, finished_at=datetime.now(UTC))
        if settings is None:
            landing = land(source, store, raw, progress, accept=accept, mirror=mirror)
        else:
            from meshhouse.engines.spark.landing import land_with_spark

            landing = land_with_spark(source, settings, _lake(store), raw, progress, accept, mirror)
    record(store, raw)
    return landing


def land_table_again(
    repository: Repository,
    lake: Lake,
    raw: RawTable,
    since: str,
    progress: Progress = lambda events: None,
) -> Again:
    """Lands events from an offset or a moment once more, in their place, and records it.

    Raises:
        UsageError: `since` is neither, or the table was never landed.
        MeshError: see `meshhouse.landing.reprocess.land_again`.
    """
    source = open_source(repository.root, repository.home)
    with lock(repository.workspace / "locks" / f"{raw.relation}.landing"):
        return land_again(source, lake, raw, starts_from(source, raw, since), progress)


def follow_table(
    repository: Repository,
    store: Lake | RawStore,
    raw: RawTable,
    stop: threading.Event,
    pace: Pace,
    on_landed: OnLanded = lambda landing: None,
    accept: Accept = (),
    engine: str = "python",
) -> Landing:
    """Lands one raw table until `stop` is set; several processes may share its topic.

    With Spark one process lands the whole topic; Spark shares the work itself.

    Raises:
        UsageError: Spark is to land a topic that is not in Kafka.
        MeshError: see `meshhouse.landing.follow.follow`.
    """
    settings = _sparks_kafka(repository, raw) if engine == "spark" else None
    source = open_source(repository.root, repository.home)
    record(store, raw)
    recorded = time.monotonic()

    def landed(landing: Landing) -> None:
        nonlocal recorded
        if time.monotonic() - recorded >= _LEDGER_SECONDS:
            record(store, raw)
            recorded = time.monotonic()
        if landing.commits % _TIDY_EVERY == 0 and isinstance(store, Lake):
            tidy(store, raw.relation)
        on_landed(landing)

    try:
        with shared_lock(repository.workspace / "locks" / f"{raw.relation}.following"):
            if settings is None:
                group = group_of(raw, store.environment)
                landing = follow(source, store, raw, group, stop, pace, landed, accept)
            else:
                from meshhouse.engines.spark.landing import follow_with_spark

                def mirror(offsets: Mapping[int, int]) -> None:
                    source.mirror(raw.topic, group_of(raw, store.environment), offsets)

                landing = follow_with_spark(
                    source, settings, _lake(store), raw, stop, pace, landed, accept, mirror
                )
    finally:
        record(store, raw)
    landing.finished_at = datetime.now(UTC)
    return landing


def record(store: Lake | RawStore, raw: RawTable) -> None:
    """Moves what landers have noted in a raw table to the ledger, if there is anything.

    It is one transaction, so an entry is in the table or in the ledger, never in both. Notes
    of landers that were killed are moved, too.
    """
    if not isinstance(store, Lake):
        return  # Snowflake changes rows and ledger in one transaction
    for attempt in range(1, _ATTEMPTS + 1):
        pointer = store.pointer(raw.relation)
        if pointer is None or UNRECORDED not in table_properties(pointer):
            return
        try:
            with turn(turn_of(store, raw)):
                _move_notes(store, raw)
        except Conflict:
            if attempt == _ATTEMPTS:
                raise
        else:
            return


def _move_notes(lake: Lake, raw: RawTable) -> None:
    table = lake.load(raw.relation)
    entries = unrecorded(table.properties) if table else []
    if table is None or not entries:
        return
    base = table.metadata_location
    with table.transaction() as transaction:
        transaction.remove_properties(UNRECORDED)
    LakeLedger(lake).commit([lake.staged(table, base)], {"landings": entries})


def _lake(store: Lake | RawStore) -> Lake:
    if not isinstance(store, Lake):
        raise UsageError("Spark lands into the lake: leave out `--engine spark` on this target.")
    return store


def _sparks_kafka(repository: Repository, raw: RawTable) -> KafkaSettings:
    from meshhouse.events.kafka.settings import kafka_settings

    settings = kafka_settings(repository.root)
    if settings is None:
        raise UsageError(
            f"Spark reads topics from Kafka, and topic `{raw.topic}` is in the embedded event log. "
            "Leave out `--engine spark`, or name a Kafka in KAFKA_BOOTSTRAP_SERVERS."
        )
    return settings
