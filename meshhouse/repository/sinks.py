"""Reads the sinks of a product.

Belongs here: the form of an entry of `config.meta.sinks`. Not here: what a sink receives (sinks/),
or whether it may receive a column (lint/sinks.py).
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

from meshhouse.repository import keys
from meshhouse.repository.model import Sink
from meshhouse.repository.problems import Problems
from meshhouse.repository.shapes import mapping, mappings
from meshhouse.repository.yaml import Located

TARGETS = {"postgres": "table", "cassandra": "table", "kafka": "topic", "python": "file"}
"""Kind of a sink -> the key that says where its rows go."""
FOLDER = "sinks"
"""The folder at the root of the repository that holds functions of sinks."""
_TABLES = {
    "postgres": ("schema", 63, re.compile(r"[A-Za-z_]\w{0,62}\.[A-Za-z_]\w{0,62}", re.ASCII)),
    "cassandra": ("keyspace", 48, re.compile(r"[A-Za-z]\w{0,47}\.[A-Za-z]\w{0,47}", re.ASCII)),
}
"""Kind of a sink with tables -> what holds a table, the most characters of a name, and a table."""
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


def read_sinks(problems: Problems, path: Path, meta: Located) -> tuple[Sink, ...]:
    """The sinks that can be used; what is wrong with the others is added to the problems."""
    found: dict[str, Sink] = {}
    for entry in mappings(keys.SINKS.of(meta)):
        kinds = [kind for kind in TARGETS if isinstance(entry.get(kind), Located)]
        if len(kinds) != 1:
            if not any(kind in entry for kind in TARGETS) or len(kinds) > 1:
                known = ", ".join(TARGETS)
                problems.add(path, entry.line, f"a sink is one of {known}; this entry names "
                             f"{len(kinds) or 'none'} of them.")  # fmt: skip
            continue
        [kind] = kinds
        settings = mapping(entry[kind])
        sink = _sink(kind, settings)
        if problem := _bad(sink, settings):
            problems.add(path, settings.line, problem)
        elif sink.name in found:
            problems.add(path, settings.line, f"the sink `{sink.target}` is declared twice; "
                         "remove one.")  # fmt: skip
        else:
            found[sink.name] = sink
    return tuple(found.values())


def _sink(kind: str, settings: Located) -> Sink:
    return Sink(
        kind=kind,
        target=_text(settings.get(TARGETS[kind])),
        connection=_text(settings.get("connection")) if kind in _TABLES else "",
        clear=_names(settings.get("clear")),
        without=_names(settings.get("without")),
        line=settings.line,
    )


def _bad(sink: Sink, settings: Located) -> str | None:
    """Why a sink cannot be used. Never repeats `connection`, which may be a password by mistake."""
    if not sink.target:
        # Of another kind than text, or missing: the shape of the file says so.
        return None if TARGETS[sink.kind] in settings else f"the sink has no {TARGETS[sink.kind]}."
    holder, most, table = _TABLES.get(sink.kind, ("", 0, None))
    if table and not table.fullmatch(sink.target):
        return (
            f"`table` is `{sink.target}`; write `{holder}.table`, in letters, digits and "
            f"underscores, at most {most} each."
        )
    if table and not _VARIABLE.fullmatch(sink.connection):
        return (
            "`connection` must be the name of an environment variable, such as ORDERS_PG, that "
            "holds the connection. Do not write the connection itself into the file."
        )
    if sink.kind == "kafka" and (not _TOPIC.fullmatch(sink.target) or not sink.target.strip(".")):
        return (
            f"`topic` is `{sink.target}`; a topic's name has at most 249 letters, digits, dots, "
            "dashes and underscores."
        )
    parts = PurePosixPath(sink.target).parts
    is_below = len(parts) > 1 and parts[0] == FOLDER and ".." not in parts
    if sink.kind == "python" and not (is_below and sink.target.endswith(".py")):
        return (
            f"`file` is `{sink.target}`; functions are loaded from Python files in {FOLDER}/ at "
            "the root of the repository only."
        )
    return None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _names(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()
