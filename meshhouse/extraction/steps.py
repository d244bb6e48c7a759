"""Extraction of what is new for one raw table into its topic.

Belongs here: the entry to an extraction, and which of two raw tables may extract. Not here: what is
new (new_files.py, new_rows.py), parcels (parcel.py), or the state on disk (kept.py).

The steps are the same for files and tables: write a parcel, keep that it is being sent, send it,
keep that it was sent. A kill between any two steps leaves a state from which the next run goes on.
"""

from __future__ import annotations

from collections.abc import Callable

from meshhouse.errors import MeshError, UsageError
from meshhouse.extraction.kept import Kept
from meshhouse.extraction.kept_rows import KeptRows
from meshhouse.extraction.new_files import FileRun
from meshhouse.extraction.new_rows import TableRun
from meshhouse.extraction.run import Extracted
from meshhouse.locks import lock
from meshhouse.repository import RawTable, Repository


def extract(
    repository: Repository,
    raw: RawTable,
    *,
    stopped: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = lambda line: None,
) -> Extracted:
    """Sends new files of a raw table in order of their names, or new rows; each exactly once.

    Args:
        repository: the repository.
        raw: a raw table that declares `extract`.
        stopped: called between files and batches; True stops, and the next run goes on there.
        say: called with messages of one line.

    Raises:
        UsageError: the folder, the database's table or the topic cannot be used.
        MeshError: a file or row is not an event, the database refuses, another process extracts
            the table, or the topic does not hold what was sent. What came before is taken.
    """
    _check_alone(repository, raw)
    spec = raw.extraction
    assert spec is not None, f"{raw.relation} declares no extraction"
    folder = repository.home / "extract"
    kept = (KeptRows if spec.table else Kept)(folder, raw.relation, raw.topic)

    def refuse(holder: str) -> None:
        raise MeshError(
            f"{raw.relation} is being extracted by another process ({holder}). Wait until it ends."
        )

    with lock(folder / f"{kept.stem}.lock", refuse), kept:
        if isinstance(kept, KeptRows):
            return TableRun(repository, raw, spec, kept, stopped, say).all()
        return FileRun(repository, raw, spec, kept, stopped, say).all()


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
