"""Extraction of what is new for one raw table into its topic.

Belongs here: the entry to an extraction, which of two raw tables may extract, and whether a topic
holds a part of a reading. Not here: what is new (new_files.py, new_rows.py, new_records.py),
parcels (parcel.py), or the state on disk (kept.py).

The steps are the same for files, tables and streams: write a parcel, keep that it is being sent,
send it, keep that it was sent. A kill between any two steps leaves a state from which the next run
goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from meshhouse.errors import MeshError, UsageError
from meshhouse.extraction.kept import Kept
from meshhouse.extraction.kept_rows import KeptRows
from meshhouse.extraction.kept_shards import KeptShards
from meshhouse.extraction.new_files import FileRun
from meshhouse.extraction.new_records import StreamRun
from meshhouse.extraction.new_rows import TableRun
from meshhouse.extraction.run import Extracted, Task
from meshhouse.locks import lock, lock_if_free
from meshhouse.repository import RawTable, Repository
from meshhouse.repository.model import Extraction, SourceTable


def extract(
    repository: Repository,
    raw: RawTable,
    *,
    stopped: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = lambda line: None,
    accept: Collection[str] = (),
) -> Extracted:
    """Sends new files of a raw table in order of their names, new rows or new records; each once.

    Args:
        repository: the repository.
        raw: a raw table that declares `extract`.
        stopped: called between files and batches; True stops, and the next run goes on there.
        say: called with messages of one line.
        accept: with `lost-records`, goes on after records of a stream that are gone.

    Raises:
        UsageError: the folder, the database's table, the stream or the topic cannot be used.
        MeshError: a file or row is not an event, the database or Kinesis refuses, records are
            gone, another process extracts the table, or the topic does not hold what was sent.
            What came before is taken.
    """
    _check_alone(repository, raw)
    spec = raw.extraction
    assert spec is not None, f"{raw.relation} declares no extraction"
    folder = repository.home / "extract"
    kept = _kept(spec)(folder, raw.relation, raw.topic)

    def refuse(holder: str) -> None:
        raise MeshError(
            f"{raw.relation} is being extracted by another process ({holder}). Wait until it ends."
        )

    with lock(folder / f"{kept.stem}.lock", refuse), kept:
        if isinstance(kept, KeptRows):
            return TableRun(Task(repository, raw, spec, kept, stopped, say)).all()
        if isinstance(kept, KeptShards):
            return StreamRun(Task(repository, raw, spec, kept, stopped, say, accept)).all()
        return FileRun(Task(repository, raw, spec, kept, stopped, say)).all()


def _kept(spec: Extraction) -> type[Kept]:
    if spec.table:
        return KeptRows
    return KeptShards if spec.stream else Kept


@contextmanager
def no_reading_in_part(repository: Repository, topic: str) -> Iterator[None]:
    """Keeps extractions out of a topic that has readings of a whole table.

    Its newest reading is the table. If a part of one landed, the rest of the table would be gone.

    Raises:
        MeshError: a reading is sent in part.
    """
    for domain in repository.domains:
        for raw in domain.raw_tables:
            table = raw.extraction.table if raw.extraction else None
            if raw.topic == topic and table is not None and table.cursor is None:
                with _sent_whole(repository, raw, table):
                    yield
                return
    yield


@contextmanager
def _sent_whole(repository: Repository, raw: RawTable, table: SourceTable) -> Iterator[None]:
    folder = repository.home / "extract"
    kept = KeptRows(folder, raw.relation, raw.topic)
    with lock_if_free(folder / f"{kept.stem}.lock") as holder:
        if holder:
            raise MeshError(
                f"{raw.relation} is being extracted by another process ({holder}). Wait until it "
                "ends, and repeat `mesh land`."
            )
        if kept.path.exists():
            with kept:
                is_partial = kept.sending() is not None
            if is_partial:
                raise MeshError(
                    f"a reading of {table.name} is sent in part: run `mesh extract {raw.relation}` "
                    "first, and repeat `mesh land`."
                )
        yield


def _check_alone(repository: Repository, raw: RawTable) -> None:
    """Two tables with the same origin and topic would send each event twice."""
    for domain in repository.domains:
        for other in domain.raw_tables:
            is_same = other.relation == raw.relation
            if other.extraction and other.topic == raw.topic and not is_same:
                raise UsageError(
                    f"{raw.relation} and {other.relation} both extract to topic {raw.topic}. Keep "
                    "`extract` at one of them: both land what the topic holds."
                )
