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
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from meshhouse.errors import MeshError, UsageError
from meshhouse.extraction.kept import Kept
from meshhouse.extraction.kept_rows import KeptRows
from meshhouse.extraction.kept_shards import KeptShards
from meshhouse.extraction.new_files import FileRun
from meshhouse.extraction.new_records import StreamRun
from meshhouse.extraction.new_rows import TableRun
from meshhouse.extraction.run import Extracted, Task
from meshhouse.locks import lock, lock_if_free, lock_unless_stopped
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

    def wait(holder: str) -> None:
        say(f"waiting for process {holder}, which is landing {raw.topic}")

    gate: AbstractContextManager[bool] = nullcontext(True)
    if _read_whole(raw):
        gate = lock_unless_stopped(_gate(repository, raw), stopped, wait)
    with lock(folder / f"{kept.stem}.lock", refuse), gate as is_held, kept:
        if not is_held:
            return Extracted(raw, 0, 0, 0, (), (), complete=False)
        if isinstance(kept, KeptRows):
            return TableRun(Task(repository, raw, spec, kept, stopped, say)).all()
        if isinstance(kept, KeptShards):
            return StreamRun(Task(repository, raw, spec, kept, stopped, say, accept)).all()
        return FileRun(Task(repository, raw, spec, kept, stopped, say)).all()


def _kept(spec: Extraction) -> type[Kept]:
    if spec.table:
        return KeptRows
    return KeptShards if spec.stream else Kept


def extracted_whole(repository: Repository, topic: str) -> tuple[RawTable, SourceTable] | None:
    """The table that fills a topic with readings of all its rows, and its raw table."""
    for domain in repository.domains:
        for raw in domain.raw_tables:
            if raw.topic == topic and (table := _read_whole(raw)):
                return raw, table
    return None


@contextmanager
def no_reading_in_part(repository: Repository, topic: str) -> Iterator[None]:
    """Keeps an extraction from adding to a topic of whole-table readings while it lands.

    Its newest reading is the table. If a part of one landed, the rest of the table would be gone.
    Several landings may be in here at the same time.

    Raises:
        MeshError: a reading is being sent, or was sent in part.
    """
    found = extracted_whole(repository, topic)
    if found is None:
        yield
        return
    raw, table = found
    with lock_if_free(_gate(repository, raw), shared=True) as holder:
        if holder:
            raise MeshError(
                f"{raw.relation} is being extracted by another process ({holder}), and a part of "
                "a reading must not land. Wait until the extraction ends, and repeat the command."
            )
        kept = KeptRows(repository.home / "extract", raw.relation, raw.topic)
        if kept.path.exists():
            with kept:
                is_partial = kept.sending() is not None
            if is_partial:
                raise MeshError(
                    f"a reading of {table.name} is sent in part: run `mesh extract "
                    f"{raw.relation}` first, and repeat the command."
                )
        yield


def _read_whole(raw: RawTable) -> SourceTable | None:
    """The table whose rows an extraction sends all at once; None if it does not."""
    table = raw.extraction.table if raw.extraction else None
    return table if table is not None and table.cursor is None else None


def _gate(repository: Repository, raw: RawTable) -> Path:
    """The lock between one extraction of a whole table and the landings of its topic."""
    return repository.home / "locks" / f"{raw.relation}.reading"


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
