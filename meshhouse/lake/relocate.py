"""Rewrites the paths in metadata files, manifest lists, manifests and catalogs of a folder.

Belongs here: finding and rewriting paths after the folder was moved or copied. Not here: deciding
that they must be rewritten (identity.py, maintenance/restore.py), computing new locations
(moves.py), or the rows of catalogs (catalog_paths.py).

Data files hold no paths and are not touched. All new files are written as drafts beside the old
ones. Then the drafts are renamed, and the catalogs change last. A path that is already right stays
the same, so after a kill the same call can run again and finishes the work.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meshhouse.errors import MeshError
from meshhouse.files import sync
from meshhouse.lake import catalog_paths
from meshhouse.lake.moves import TOPS, Move, before, exists, mapped, physical
from meshhouse.lake.object_store import is_remote
from meshhouse.lake.storage import PATH_PROPERTIES

_DRAFT = ".adopting"
_GZIP = b"\x1f\x8b"


@dataclass
class _Work:
    """What one call has found so far."""

    home: Path
    moves: Sequence[Move]
    may_be_remote: bool
    drafts: list[Path] = field(default_factory=list)
    strange: dict[Path, str] = field(default_factory=dict)
    """File -> a path in it that is outside all of the folders."""
    named: dict[Path, list[str]] = field(default_factory=dict)
    """File -> new paths of the files that it names."""
    damaged: dict[Path, str] = field(default_factory=dict)


def relocate(home: Path, moves: Sequence[Move], may_be_remote: bool = True) -> list[Path]:
    """Rewrites old paths to new ones in all metadata below a folder.

    Args:
        home: the folder; files outside it do not change.
        moves: the folders that have new paths; the first one is the mesh's home.
        may_be_remote: tables may be in an object store, where their files do not move.

    Returns:
        Files that cannot be read and did not change.

    Raises:
        MeshError: metadata in use names a path outside all known folders, or names files that
            were not copied. Nothing was changed.
    """
    work = _Work(home, moves, may_be_remote)
    files = list(_metadata_files(home))
    try:
        lists = [path for path in _of_kind(files, ".avro") if _manifest(work, path)]
        for path in lists:
            _manifest_list(work, path)
        for path in _of_kind(files, ".metadata.json"):
            _table_metadata(work, path)
        catalogs = _of_kind(files, "catalog.db")
        _check(work, catalogs)
    except BaseException:
        for draft in work.drafts:
            draft.unlink(missing_ok=True)
        raise
    _show(work.drafts)
    # The mesh's catalog changes last, when all files that it names are complete.
    for catalog in sorted(catalogs, key=lambda path: path == home / "lake" / "catalog.db"):
        catalog_paths.rewrite(catalog, home, moves)
    return sorted(work.damaged)


def names_home(home: Path, move: Move) -> bool:
    """Whether a file of a lake names its former folder, as the metadata of local tables does.

    If all tables are in an object store, no file does. Then the lake works under any path.

    Args:
        home: the folder of the lake.
        move: from the folder in the lake's identity file to the present one.
    """
    for path in _metadata_files(home):
        if path.name != "catalog.db":
            return True
        if catalog_paths.names_old_place(path, home, [move]):
            return True
    return False


def _metadata_files(home: Path) -> Iterator[Path]:
    for top in TOPS:
        for folder, folders, names in os.walk(home / top):
            # Drafts remain from a call that was killed. This call writes them again.
            for name in names:
                path = Path(folder, name)
                if name.endswith(_DRAFT):
                    path.unlink()
                elif name == "catalog.db" or name.endswith((".avro", ".metadata.json")):
                    yield path
            folders.sort()


def _of_kind(files: Iterable[Path], suffix: str) -> list[Path]:
    return [path for path in files if path.name.endswith(suffix)]


def _manifest(work: _Work, path: Path) -> bool:
    """Drafts a manifest; returns whether the file is a list of manifests instead."""
    try:
        records, header, schema = _read_avro(path)
    except (ValueError, EOFError, OSError, OverflowError, KeyError, TypeError) as error:
        work.damaged[path] = str(error)
        return False
    if any(each["name"] == "manifest_path" for each in schema["fields"]):
        return True
    changed = False
    for record in records:
        file = record["data_file"]
        if file.get("content") == 1 and not is_remote(file["file_path"]):
            raise MeshError(
                f"{path} lists position deletes, which hold paths themselves. Make the lake "
                f"available at {work.moves[0].old} again, run the domain with `--force` without "
                "`write.merge.mode` in `tblproperties`, and then `mesh maintain`."
            )
        for key in ("file_path", "referenced_data_file"):
            if file.get(key):
                new = _mapped(work, path, file[key])
                changed |= new != file[key]
                file[key] = new
    if changed:
        _draft_avro(work, path, records, header, schema)
    return False


def _manifest_list(work: _Work, path: Path) -> None:
    records, header, schema = _read_avro(path)
    changed = False
    for record in records:
        new = _mapped(work, path, record["manifest_path"])
        length = _length(work, new, record["manifest_length"])
        changed |= (new, length) != (record["manifest_path"], record["manifest_length"])
        record["manifest_path"], record["manifest_length"] = new, length
        work.named.setdefault(path, []).append(new)
    if changed:
        _draft_avro(work, path, records, header, schema)


def _length(work: _Work, location: str, known: int) -> int:
    """The length of a manifest after the rewriting; readers read exactly so many bytes."""
    path = physical(location, work.moves)
    if path is None:
        return known
    draft = path.with_name(path.name + _DRAFT)
    for each in (draft, path):
        if each.exists():
            return each.stat().st_size
    return known


def _table_metadata(work: _Work, path: Path) -> None:
    content = path.read_bytes()
    try:
        packed = content.startswith(_GZIP)
        metadata = json.loads(gzip.decompress(content) if packed else content)
        places = [*_places(metadata)]
    except (ValueError, OSError, EOFError, KeyError, TypeError, AttributeError) as error:
        work.damaged[path] = str(error)
        return
    changed = False
    for holder, key in places:
        new = _mapped(work, path, holder[key])
        changed |= new != holder[key]
        holder[key] = new
        if key == "manifest-list":
            work.named.setdefault(path, []).append(new)
    if changed:
        text = json.dumps(metadata, separators=(",", ":"), ensure_ascii=False).encode()
        _draft(work, path, gzip.compress(text) if packed else text)


def _places(metadata: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """The places of all paths in a metadata file, as (object, key)."""
    yield metadata, "location"
    for name, key in (("snapshots", "manifest-list"), ("metadata-log", "metadata-file"),
                      ("statistics", "statistics-path"),
                      ("partition-statistics", "statistics-path")):  # fmt: skip
        for each in metadata.get(name) or ():
            if key in each:
                yield each, key
    for snapshot in metadata.get("snapshots") or ():
        manifests = snapshot.get("manifests") or ()  # in version 1 of the format
        yield from ((manifests, number) for number in range(len(manifests)))
    properties = metadata.get("properties") or {}
    yield from ((properties, key) for key in PATH_PROPERTIES if key in properties)


def _mapped(work: _Work, file: Path, location: str) -> str:
    """The new location of an old one; noted as strange if it is outside all of the folders."""
    new = mapped(location, work.moves)
    if new is not None:
        return new
    if not is_remote(location) or not work.may_be_remote:
        work.strange.setdefault(file, location)
    return location


def _read_avro(path: Path) -> tuple[list[Any], dict[str, str], Any]:
    import fastavro

    with path.open("rb") as file:
        reader = fastavro.reader(file)
        return list(reader), dict(reader.metadata), reader.writer_schema


def _draft_avro(
    work: _Work, path: Path, records: Any, header: Mapping[str, str], schema: Any
) -> None:
    import io

    import fastavro

    kept = {name: text for name, text in header.items() if not name.startswith("avro.")}
    content = io.BytesIO()
    codec = header.get("avro.codec", "null")
    fastavro.writer(content, schema, records, codec=codec, metadata=kept)
    _draft(work, path, content.getvalue())


def _draft(work: _Work, path: Path, content: bytes) -> None:
    draft = path.with_name(path.name + _DRAFT)
    work.drafts.append(draft)
    draft.write_bytes(content)
    # Maintenance judges files by their age, so a rewritten file keeps its times.
    shutil.copystat(path, draft)


def _show(drafts: Iterable[Path]) -> None:
    folders = set()
    for draft in drafts:
        sync(draft)
        folders.add(draft.parent)
    for draft in drafts:
        shown = draft.with_name(draft.name.removesuffix(_DRAFT))
        # Hadoop's checksum is that of the old content. Without one, Hadoop does not check.
        shown.with_name(f".{shown.name}.crc").unlink(missing_ok=True)
        draft.replace(shown)
    for folder in folders:
        sync(folder)


def _check(work: _Work, catalogs: Iterable[Path]) -> None:
    """Refuses paths outside all known folders, and files in use that were not copied."""
    waiting = []
    for catalog in catalogs:
        found = catalog_paths.locations(catalog)
        waiting += [(_mapped(work, catalog, each), each) for each in found]
        _refuse_strange(work, catalog)
    seen: set[str] = set()
    while waiting:
        location, earlier = waiting.pop()
        if location in seen:
            continue
        seen.add(location)
        path = physical(location, work.moves)
        if path is None:
            continue
        if not path.exists() and earlier != location and exists(earlier):
            raise MeshError(
                f"{earlier} is in use but has no copy in {work.home}: the copy is incomplete, or "
                "an older version of Meshhouse wrote to this lake after it was copied. Nothing was "
                "changed. Copy the folder again, or use `mesh backup` and `mesh restore`."
            )
        _refuse_strange(work, path)
        waiting += [(each, before(each, work.moves)) for each in work.named.get(path, ())]


def _refuse_strange(work: _Work, path: Path) -> None:
    location = work.strange.get(path)
    if location is None:
        return
    if is_remote(location):
        raise MeshError(
            f"{work.home} is a copy of the lake in {work.moves[0].old}, and both name the same "
            f"files in an object store ({location}): each would delete files of the other. "
            "Make a copy with `mesh backup` and `mesh restore`."
        )
    raise MeshError(
        f"{path} names {location}, which is neither in {work.moves[0].old}, where this lake was, "
        f"nor in {work.moves[0].new}, where it is now. Nothing was changed. Move the lake back, "
        "or make a copy with `mesh backup` and `mesh restore`."
    )
