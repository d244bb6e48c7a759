"""Events in files: JSON lines, CSV and Parquet, read with bounded memory.

Belongs here: turning each line or row of a file into the JSON text of one event, with its place in
the file. Not here: writing events to a topic (log/, kafka/), or types of columns (landing/).

Values keep their text: a JSON line is sent byte for byte, and numbers never become doubles. A CSV
column holds numbers if every cell that is not empty is a JSON number (`007` and `+1` are texts),
and truth values if every one is `true` or `false`.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from meshhouse.errors import MeshError, UsageError
from meshhouse.events.columnar import parquet_events

FORMS = ("jsonl", "csv", "parquet")
LONGEST = 64 << 20
"""Most bytes of one line. Without a limit, a file without line ends would be read at once."""

_SUFFIXES = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "csv",
    ".parquet": "parquet",
}  # fmt: skip
_IN_MEMORY = 8 << 20
_LITERAL = re.compile(
    r"(?P<number>-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?)|(?P<boolean>true|false)"
)
_DELIMITERS = ",;\t|"


@dataclass(frozen=True, slots=True)
class FileEvent:
    """One event of a file."""

    place: int
    """Its line, or its row in a Parquet file, counted from 1."""
    value: bytes
    """A JSON object."""
    fields: dict[str, Any]
    """The parsed object; a number is a `Number`, so it keeps its digits."""


class Number(str):
    """A number of a JSON text, as it was written."""

    __slots__ = ()


class BadEvent(UsageError):
    """A line or row that is not an event."""


class EventFile:
    """A file of events that can be read more than once."""

    def __init__(self, content: IO[bytes], name: str, form: str) -> None:
        """See `open_events`."""
        self.name = name
        self.form = form
        self._content = content

    def __enter__(self) -> EventFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._content.close()

    def events(self) -> Iterator[FileEvent]:
        """Every event, from the beginning of the file.

        Raises:
            BadEvent: a line or row is not an event; the message names its place.
        """
        self._content.seek(0)
        if self.form == "parquet":
            for row, text in parquet_events(self._content, self.name):
                yield FileEvent(row, text, parsed(text, self.where(row)))
        elif self.form == "csv":
            yield from self._csv()
        else:
            yield from self._lines()

    def where(self, place: int) -> str:
        """A place in the file, for messages."""
        return f"{self.name}: row {place}" if self.form == "parquet" else f"{self.name}:{place}"

    def _lines(self) -> Iterator[FileEvent]:
        number = 0
        while line := self._content.readline(LONGEST + 1):
            number += 1
            if len(line) > LONGEST:
                raise BadEvent(f"{self.where(number)} is longer than {LONGEST >> 20} MiB.")
            value = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            value = value.strip(b" \t\r\n")
            if value:
                yield FileEvent(number, value, parsed(value, self.where(number)))

    def _csv(self) -> Iterator[FileEvent]:
        header: list[str] = []
        kinds: list[set[str | None]] = []
        for _, cells in self._rows():  # once for the kinds of values, and once for the events
            if not header:
                header, kinds = cells, [set() for _ in cells]
                continue
            for kind, cell in zip(kinds, cells, strict=True):
                if cell and None not in kind:
                    match = _LITERAL.fullmatch(cell)
                    kind.add(match.lastgroup if match else None)
        names = [json.dumps(name, ensure_ascii=False) for name in header]
        literal = [len(kind) == 1 and None not in kind for kind in kinds]
        for number, cells in _without_first(self._rows()):
            members = (
                f"{name}:{_cell(cell, is_literal)}"
                for name, cell, is_literal in zip(names, cells, literal, strict=True)
            )
            value = ("{" + ",".join(members) + "}").encode()
            yield FileEvent(number, value, parsed(value, self.where(number)))

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """The header and the rows of a CSV file, each with its first line."""
        self._content.seek(0)
        first = self._content.readline(LONGEST).decode("utf-8-sig", errors="replace")
        delimiter = max(_DELIMITERS, key=first.count)
        self._content.seek(0)
        text = io.TextIOWrapper(self._content, encoding="utf-8-sig", newline="")
        before = csv.field_size_limit(LONGEST)
        number, width = 1, 0
        try:
            rows = csv.reader(text, delimiter=delimiter, strict=True)
            for cells in rows:
                if not width:
                    width = len(cells)
                    self._check_header(cells)
                if cells and len(cells) != width:
                    raise BadEvent(
                        f"{self.where(number)} has {len(cells)} cells, and the header has {width}."
                    )
                if cells:
                    yield number, cells
                number = rows.line_num + 1
        except csv.Error as error:
            raise BadEvent(f"{self.where(number)} is not CSV: {error}.") from error
        except UnicodeDecodeError as error:
            raise BadEvent(f"{self.where(number)} or a later line is not UTF-8.") from error
        finally:
            csv.field_size_limit(before)
            text.detach()

    def _check_header(self, names: Sequence[str]) -> None:
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or "" in names:
            problem = f"names the column `{twice[0]}` twice" if any(twice) else "has an empty name"
            raise BadEvent(f"{self.where(1)}: the header {problem}. Name each column once.")


def open_events(path: Path | None, form: str | None, stdin: IO[bytes] | None = None) -> EventFile:
    """Opens a file of events; what can be read only once, such as a pipe, is copied first.

    Args:
        path: the file; None for `stdin`.
        form: one of `FORMS`; None to decide by the suffix, and `jsonl` for standard input.
        stdin: standard input.

    Raises:
        UsageError: the file cannot be read, or its suffix says nothing.
    """
    if path is None:
        assert stdin is not None
        return EventFile(_copied(stdin), "standard input", form or "jsonl")
    chosen = form or form_of(path.name)
    if not path.exists():
        raise UsageError(f"There is no file {path}.")
    if path.is_dir():
        raise UsageError(f"{path} is a folder. Name a file in it.")
    if chosen is None:
        raise UsageError(
            f"The name of {path} does not say what it holds. Add --format {'|'.join(FORMS)}."
        )
    try:
        content = path.open("rb")
        if not path.is_file():
            with content:
                content = _copied(content)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from error
    return EventFile(content, str(path), chosen)


def form_of(name: str) -> str | None:
    """The form that the suffix of a name says; None if it says nothing."""
    return _SUFFIXES.get(Path(name).suffix.lower())


def parsed(value: bytes, where: str) -> dict[str, Any]:
    """The object of a JSON text; its numbers are `Number`.

    Raises:
        BadEvent: the text is not one JSON object; landing would reject it.
    """
    try:
        document = _DECODER.decode(value.decode())
        if b"\\u" in value:
            json.dumps(document, ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        raise BadEvent(f"{where} is not UTF-8.") from error
    except UnicodeEncodeError as error:
        raise BadEvent(f"{where} has half of a surrogate pair.") from error
    except json.JSONDecodeError as error:
        raise BadEvent(f"{where} is not JSON: {error.msg} at character {error.colno}.") from error
    except RecursionError as error:
        raise BadEvent(f"{where} is nested too deeply.") from error
    except _Refused as error:
        raise BadEvent(f"{where} {error}.") from error
    if not isinstance(document, dict):
        hint = " Write one object per line." if isinstance(document, list) else ""
        raise BadEvent(f"{where} is JSON, but not an object.{hint}")
    return document


def key_of(event: FileEvent, column: str, where: str) -> bytes:
    """The text of a field as the key of its event.

    Raises:
        BadEvent: the event has no such field, or the field is nested.
    """
    value = event.fields.get(column)
    if value is None:
        raise BadEvent(f"{where} has no `{column}`, which is the key.")
    if isinstance(value, dict | list):
        raise BadEvent(f"{where}: `{column}` is nested, so it cannot be the key.")
    if isinstance(value, bool):
        return b"true" if value else b"false"
    return str(value).encode()


class _Refused(ValueError):
    pass


def _constant(text: str) -> Any:
    raise _Refused(f"is not JSON: {text} is not a number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Refused(f"has the field `{twice}` more than once")
    return found


_DECODER = json.JSONDecoder(
    parse_float=Number, parse_int=Number, parse_constant=_constant, object_pairs_hook=_object
)


def _cell(cell: str, is_literal: bool) -> str:
    if not cell:
        return "null"
    return cell if is_literal else json.dumps(cell, ensure_ascii=False)


def _without_first(rows: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    """All rows but the header."""
    next(rows, None)
    return rows


def _copied(content: IO[bytes]) -> IO[bytes]:
    copy = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - the caller closes it
    try:
        shutil.copyfileobj(content, copy)
    except OSError as error:
        copy.close()
        raise MeshError(f"The input cannot be copied: {error.strerror or error}.") from error
    return copy  # type: ignore[return-value]
