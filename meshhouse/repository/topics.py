"""Reads the topics of one domain, which its dbt sources declare.

Belongs here: turning a source table into a raw table. Not here: its columns (columns.py), or the
meaning of the keys of `config.meta` (keys.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from meshhouse.repository import keys, names
from meshhouse.repository.columns import is_number, prose, read_columns, text
from meshhouse.repository.extraction import read_extraction
from meshhouse.repository.model import RawTable
from meshhouse.repository.problems import Problems
from meshhouse.repository.shapes import mappings, meta_of
from meshhouse.repository.yaml import Located

REJECTED_SUFFIX = "__rejected"


class TopicsReader:
    """Reads raw tables from YAML files."""

    def __init__(self, problems: Problems, domain: str, folder: Path) -> None:
        """Takes the name and the folder of a domain.

        Args:
            problems: problems of the topics are added.
            domain: the domain's name.
            folder: the domain's folder.
        """
        self._problems = problems
        self._name = domain
        self._folder = folder

    def read(self, declared: Sequence[tuple[Path, Located]]) -> Iterator[RawTable]:
        """The raw tables that can be landed."""
        for path, content in declared:
            for source in mappings(content.get("sources")):
                if not self._has_own_schema(path, source):
                    continue
                for table in mappings(source.get("tables")):
                    raw = self._raw_table(path, f"{self._name}_raw", table)
                    if raw is not None:
                        yield replace(raw, **_freshness(source, table))

    def _has_own_schema(self, path: Path, source: Located) -> bool:
        schema, own = source.get("schema", source.get("name")), f"{self._name}_raw"
        if schema == own:
            return True
        problem = (
            f"raw tables of `{self._name}` must be in the schema `{own}`, not in `{schema}`: a "
            f"domain lands in its own schema only. Write `schema: {own}`."
        )
        key = "schema" if "schema" in source else "name"
        self._problems.add(path, source.line_of(key), problem)
        return False

    def _raw_table(self, path: Path, schema: str, table: Located) -> RawTable | None:
        name, meta = str(table.get("name")), meta_of(table)
        before = len(self._problems.found)
        if problem := names.bad_name("raw table", name):
            self._problems.add(path, table.line_of("name"), problem)
        elif name.endswith(REJECTED_SUFFIX):
            problem = (
                f"`{name}` cannot name a raw table: `{REJECTED_SUFFIX}` is for the table of "
                "rejected events."
            )
            self._problems.add(path, table.line_of("name"), problem)
        if table.get("identifier", name) != name:
            problem = f"`identifier` must be `{name}`, the table that events land in; remove it."
            self._problems.add(path, table.line_of("identifier"), problem)
        if not keys.TOPIC.of(meta):
            problem = f"source table `{name}` names no topic; add config.meta.{keys.TOPIC.name}."
            self._problems.add(path, table.line, problem)
        elif problem := names.bad_topic(str(keys.TOPIC.of(meta))):
            self._problems.add(path, meta.line_of(keys.TOPIC.name), problem)
        percent = self._percent(path, table, meta)
        events_schema = self._events_schema(path, meta)
        extraction = read_extraction(self._problems, path, table, meta)
        entries = mappings(table.get("columns"))
        columns = read_columns(self._problems, path, entries, f"{schema}.{name}", is_raw=True)
        if not columns:
            problem = f"{schema}.{name} has no columns; list those that its events have."
            self._problems.add(path, table.line, problem)
        if len(self._problems.found) > before:
            return None  # landing must not use a declaration that was only partly understood
        return RawTable(
            domain=self._name,
            schema=schema,
            name=name,
            topic=str(keys.TOPIC.of(meta)),
            columns=columns,
            description=prose(table),
            changelog=keys.CHANGELOG.of(meta) is True,
            path=path,
            line=table.line,
            format=str(keys.FORMAT.of(meta)),
            pattern=text(keys.PATTERN.of(meta)),
            schema_path=events_schema,
            max_rejected_percent=percent,
            extraction=extraction,
        )

    def _events_schema(self, path: Path, meta: Located) -> Path | None:
        declared = keys.SCHEMA.of(meta)
        if declared is None:
            return None
        place = self._folder / str(declared)
        if self._folder.resolve() not in place.resolve().parents:
            problem = (
                f"`{keys.SCHEMA.name}` is `{declared}`, which is outside the folder of the domain."
            )
            self._problems.add(path, meta.line_of(keys.SCHEMA.name), problem)
        return place

    def _percent(self, path: Path, table: Located, meta: Located) -> float:
        key = keys.MAX_REJECTED_PERCENT
        declared = key.of(meta)
        if is_number(declared) and 0 <= declared <= 100:
            return float(declared)
        problem = (
            f"`{key.name}` of `{table.get('name')}` is `{declared}`; give a number from 0 to 100."
        )
        self._problems.add(path, meta.line_of(key.name), problem)
        return float(key.default)


def _freshness(source: Located, table: Located) -> dict[str, timedelta]:
    """`warn_after` and `error_after` as dbt reads them: a table's own, then its source's."""
    found: dict[str, timedelta] = {}
    for entry in (source, table):
        for place in (entry, entry.get("config")):
            if not isinstance(place, Mapping) or "freshness" not in place:
                continue
            declared = place["freshness"]
            if declared is None:  # switched off for this table
                found.clear()
            elif isinstance(declared, Mapping):
                limits = {
                    name: _limit(declared.get(name)) for name in ("warn_after", "error_after")
                }
                found |= {name: limit for name, limit in limits.items() if limit}
    return found


def _limit(declared: Any) -> timedelta | None:
    """A limit of dbt; dbt itself refuses the forms that are ignored here."""
    if not isinstance(declared, Mapping) or not is_number(declared.get("count")):
        return None
    period = str(declared.get("period"))
    if period not in ("minute", "hour", "day"):
        return None
    return timedelta(**{f"{period}s": float(declared["count"])})
