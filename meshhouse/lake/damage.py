"""Damaged tables: which of their files are missing, truncated or unreadable.

Belongs here: checking the files of one table. Not here: what a command does about damage, or the
health of the rest of a mesh (health/).
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshhouse.errors import MeshError
from meshhouse.lake import storage
from meshhouse.lake.object_store import is_remote
from meshhouse.lake.storage import plain_path

if TYPE_CHECKING:
    import duckdb
    from pyiceberg.manifest import DataFile, ManifestFile
    from pyiceberg.table import Table

_REMEDY = (
    "`mesh doctor` names everything that is damaged. Put the file back from a backup (`mesh "
    "restore`). For a product, `mesh rollback` can show the previous publication."
)


@dataclass(frozen=True)
class Damage:
    """A file of a table that is missing or has other content than was written."""

    relation: str
    file: str
    what: str
    """Such as `is missing`."""

    def __str__(self) -> str:
        """One sentence: the table, the file and the problem."""
        return f"{self.relation} is damaged: {self.file} {self.what}."


class Damaged(MeshError):
    """A table cannot be read because a file of it is damaged."""

    def __init__(self, damage: Damage) -> None:
        super().__init__(f"{damage} {_REMEDY}")
        self.damage = damage


def read_metadata(location: str, relation: str = "") -> dict[str, Any]:
    """The content of a metadata file, not validated; much faster than pyiceberg's reader.

    Raises:
        Damaged: the file is missing, or is not an Iceberg metadata file.
    """
    relation = relation or _relation_of(location)
    file = plain_path(location)
    try:
        content = storage.read_bytes(location)
        if file.endswith(".gz.metadata.json"):  # as Iceberg names compressed ones
            content = gzip.decompress(content)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise Damaged(Damage(relation, file, "is missing")) from error
    except PermissionError as error:
        raise MeshError(
            f"{relation} cannot be read: you lack the right to read {file}. Ask its owner for it."
        ) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise Damaged(Damage(relation, file, "is not a gzip file, as its name says")) from error
    try:
        found = json.loads(content)
    except ValueError as error:
        what = "is not JSON" if content.strip() else "is empty"
        raise Damaged(Damage(relation, file, what)) from error
    if not isinstance(found, dict) or "format-version" not in found:
        raise Damaged(Damage(relation, file, "is not Iceberg's metadata"))
    return found


def damage_of(
    relation: str,
    location: str,
    history: bool = False,
    deep: bool = False,
    data: bool = True,
    named_in: str | None = None,
    seen: list[str] | None = None,
) -> Iterator[Damage]:
    """The damaged files of a table.

    Args:
        relation: the table's name, for messages.
        location: its metadata location.
        history: also check earlier snapshots, which rollback and time travel need.
        deep: read all data files and count their rows.
        data: check data files; False checks only metadata and manifests.
        named_in: check only data files whose name is in this text, such as an error message.
        seen: the location of each file that was looked at is added to it.
    """
    seen = [] if seen is None else seen
    seen.append(location)
    table = _load(relation, location)
    if isinstance(table, Damage):
        yield table
        return
    current = table.metadata.current_snapshot_id
    manifests: dict[str, ManifestFile] = {}
    for snapshot in table.metadata.snapshots:
        if history or snapshot.snapshot_id == current:
            seen.append(snapshot.manifest_list)
            found = _read(
                relation, snapshot.manifest_list, lambda s=snapshot: s.manifests(table.io)
            )
            if isinstance(found, Damage):
                yield found
            else:
                manifests |= {each.manifest_path: each for each in found}
    files: dict[str, DataFile] = {}
    for path, manifest in manifests.items():
        seen.append(path)
        entries = _read(relation, path, lambda m=manifest: m.fetch_manifest_entry(table.io),
                        manifest.manifest_length, table)  # fmt: skip
        if isinstance(entries, Damage):
            yield entries
        else:
            files |= {each.data_file.file_path: each.data_file for each in entries}
    for path, file in files.items() if data else ():
        if named_in is not None and path.rpartition("/")[2] not in named_in:
            continue
        seen.append(path)
        check = (lambda p=path, f=file: _count(table, p, f)) if deep else (lambda: None)
        done = _read(relation, path, check, file.file_size_in_bytes, table)
        if isinstance(done, Damage):
            yield done


def damaged_in(query: str, error: duckdb.Error, relations: Mapping[str, str]) -> Damaged | None:
    """The damaged file that made a query fail; None if no damage explains the failure.

    Args:
        query: its SQL.
        error: its failure. If it names data files, only these are read: all files of a product may
            be many gigabytes.
        relations: `schema.table` -> metadata location, of all tables that the query may read.
    """
    kind = _cause(error)
    if kind == "query":
        return None
    text = query.lower()
    for relation, location in relations.items():
        if relation.partition(".")[2].lower() in text:
            named_in = str(error) if kind == "named file" else None
            for damage in damage_of(relation, location, deep=True, named_in=named_in):
                return Damaged(damage)
    return None


def _cause(error: duckdb.Error) -> str:
    """The possible cause of an error of DuckDB 1.5: the `query`, a `named file` or a `file`."""
    import duckdb

    # Wrong bytes in Parquet cause these errors, and queries do not. One such error in ten does not
    # name the file (TProtocolException, `Invalid Error: Out of buffer`).
    unnamed = duckdb.InternalException | duckdb.FatalException | duckdb.SerializationException
    if isinstance(error, unnamed) or type(error) is duckdb.Error or "Invalid Error:" in str(error):
        return "file"
    # The view of a damaged table calls `error(...)`, which raises InvalidInputException.
    if isinstance(error, duckdb.IOException | duckdb.InvalidInputException):
        return "named file"
    return "query"


def _relation_of(location: str) -> str:
    """The table that a metadata file belongs to, from the names of its folders."""
    return ".".join(location.split("/")[-4:-2])


def _load(relation: str, location: str) -> Table | Damage:
    from pyiceberg.table import Table
    from pyiceberg.table.metadata import TableMetadataUtil

    try:
        metadata = TableMetadataUtil.parse_obj(read_metadata(location, relation))
    except Damaged as error:
        return error.damage
    except MeshError as error:
        return Damage(relation, plain_path(location), f"cannot be read: {error}")
    except ValueError:
        return Damage(relation, plain_path(location), "is not Iceberg's metadata")
    io = storage.file_io(location)
    return Table(tuple(relation.split(".")), metadata, location, io, None)  # type: ignore[arg-type]


def _read(
    relation: str, path: str, read: Any, size: int | None = None, table: Table | None = None
) -> Any:
    """The result of `read`, or the damage that makes it fail."""
    file = plain_path(path)
    try:
        if size is not None and table is not None:
            found = _size(table, path)
            if found != size:
                what = f"has {found:,} bytes, not the {size:,} that were written"
                return Damage(relation, file, what if found else "is empty")
        elif not storage.exists(path):
            return Damage(relation, file, "is missing")
        return read()
    except FileNotFoundError:
        return Damage(relation, file, "is missing")
    except PermissionError:
        return Damage(relation, file, "cannot be read: you lack the right to")
    except Exception as error:  # noqa: BLE001 - Avro and Parquet fail in many ways over wrong bytes
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        return Damage(relation, file, f"is unreadable: {reason}")


def _size(table: Table, path: str) -> int:
    if is_remote(path):
        return len(table.io.new_input(path))
    return Path(plain_path(path)).stat().st_size


def _count(table: Table, path: str, file: DataFile) -> None:
    """Reads a whole data file; fails if its number of rows is wrong."""
    import pyarrow.parquet as parquet

    with table.io.new_input(path).open() as opened, parquet.ParquetFile(opened) as content:
        rows = sum(batch.num_rows for batch in content.iter_batches(8_192))
    if rows != file.record_count:
        raise ValueError(f"it holds {rows:,} rows, not the {file.record_count:,} that were written")
