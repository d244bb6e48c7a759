"""Reads what a topic is extracted from.

Belongs here: `extract` of a source table. Not here: other keys of a topic (topics.py), or finding
files (extraction/files.py).
"""

from __future__ import annotations

from pathlib import Path

from meshhouse.repository import keys
from meshhouse.repository.model import Extraction
from meshhouse.repository.problems import Problems
from meshhouse.repository.shapes import mappings
from meshhouse.repository.yaml import Located

_FORMS = ("jsonl", "csv", "parquet")
_STORES = ("s3", "s3a", "s3n")


def read_extraction(
    problems: Problems, path: Path, table: Located, meta: Located
) -> Extraction | None:
    """The extraction that a source table declares; what is wrong is added to `problems`."""
    declared = keys.EXTRACT.of(meta)
    if not isinstance(declared, Located) or not declared.get(keys.EXTRACT_FILES):
        return None  # the shape of the file says what is missing
    files, key = str(declared[keys.EXTRACT_FILES]), declared.get(keys.EXTRACT_KEY)
    form = declared.get(keys.EXTRACT_FORMAT)
    columns = [str(each.get("name")) for each in mappings(table.get("columns"))]
    scheme, has_scheme, _ = files.partition("://")
    found = []
    if str(keys.FORMAT.of(meta)) != keys.FORMAT.default:
        found.append((keys.EXTRACT_FILES, "extracted events are JSON: remove `format` beside it."))
    if "{{" in files or "${" in files:
        found.append((keys.EXTRACT_FILES, "`files` is read as it is: write the path itself."))
    if has_scheme and scheme not in _STORES:
        found.append((keys.EXTRACT_FILES, f"`files` cannot be in `{scheme}://`: write `s3://`."))
    if has_scheme and "@" in files.partition("://")[2].partition("/")[0]:
        found.append((keys.EXTRACT_FILES, "`files` holds credentials: use AWS's variables."))
    if form is not None and form not in _FORMS:
        found.append((keys.EXTRACT_FORMAT, f"`{form}` is not one of {', '.join(_FORMS)}."))
    if key is not None and key not in columns:
        found.append((keys.EXTRACT_KEY, f"the key `{key}` is not a column of the table."))
    if keys.CHANGELOG.of(meta) is True and key is None:
        found.append((keys.EXTRACT_FILES, "a changelog needs the key of its events: add `key`."))
    for name, problem in found:
        problems.add(path, declared.line_of(name), f"extract of `{table.get('name')}`: {problem}")
    return Extraction(files, None if key is None else str(key), form)
