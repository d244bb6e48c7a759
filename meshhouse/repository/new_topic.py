"""The files of a new raw table: its declaration in the domain's topics, and its staging model.

Belongs here: what is written, and why it cannot be. Not here: which columns fit the events
(landing/infer.py), or writing the files (cli/new_topic.py).

The YAML is edited line by line, so comments and formatting stay. The result is read again and
compared with what was meant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from meshhouse.errors import UsageError
from meshhouse.repository import keys, names
from meshhouse.repository.edit import end_of_block, indented, inserted, last_line, scalar
from meshhouse.repository.model import Column, Domain
from meshhouse.repository.project import folders
from meshhouse.repository.shapes import mappings
from meshhouse.repository.staging import staging_sql
from meshhouse.repository.topics import REJECTED_SUFFIX
from meshhouse.repository.yaml import DeclarationError, display_path, parse_yaml, read_text

AS_SENT = "As the producer sends it."
"""The description of each column, until its owner writes what it holds."""
KEY_AS_SENT = "As the producer sends it; also the key of the event."


@dataclass(frozen=True)
class NewTopic:
    """A raw table that is not declared yet."""

    domain: Domain
    name: str
    topic: str
    columns: tuple[Column, ...]
    key: str | None = None
    changelog: bool = False
    extract: Mapping[str, Any] = field(default_factory=dict)
    """Key of `extract` -> its value, if events are extracted."""

    @property
    def relation(self) -> str:
        """The raw table."""
        return f"{self.domain.name}_raw.{self.name}"


@dataclass(frozen=True)
class NewFiles:
    """The files of a raw table, not written yet."""

    files: Mapping[Path, str]
    """File -> its new text; the declaration comes first."""
    changed: tuple[Path, ...]
    """Those of the files that exist already."""


def new_topic(new: NewTopic) -> NewFiles:
    """The files of a new raw table.

    Raises:
        UsageError: the table, a file or a model exists, a name is not possible, or the YAML cannot
            be edited.
    """
    _refuse(new)
    declaration, source = _declaration(new.domain)
    models = folders(new.domain.path, "model-paths")[0]
    staging = models / "staging" / f"stg_{new.name}.sql"
    files = {
        declaration: _declared(new, declaration),
        staging: staging_sql(source, new.name, new.columns, new.changelog),
        staging.with_suffix(".yml"): _described(new),
    }
    for path in list(files)[1:]:
        if path.exists():
            raise UsageError(
                f"{display_path(path)} exists already, and would be overwritten. Remove it, or "
                "choose another name for the table."
            )
    return NewFiles(files, (declaration,) if declaration.exists() else ())


def refuse_name(domain: Domain, name: str) -> None:
    """Checks the name of a new raw table.

    Raises:
        UsageError: it is not possible, or the table is declared.
    """
    if problem := names.bad_name("raw table", name):
        raise UsageError(problem)
    if name.endswith(REJECTED_SUFFIX):
        raise UsageError(
            f"`{name}` cannot name a raw table: `{REJECTED_SUFFIX}` is for the table of rejected "
            "events."
        )
    for raw in domain.raw_tables:
        if raw.name == name:
            raise UsageError(
                f"{raw.relation} is declared in {display_path(raw.path)}:{raw.line}. Choose "
                "another name, or change the declaration by hand."
            )


def _refuse(new: NewTopic) -> None:
    refuse_name(new.domain, new.name)
    if problem := names.bad_topic(new.topic):
        raise UsageError(problem)
    model = f"stg_{new.name}"
    for folder in folders(new.domain.path, "model-paths", "seed-paths", "snapshot-paths"):
        for path in folder.rglob(f"{model}.*"):
            if path.suffix in (".sql", ".py", ".csv"):
                raise UsageError(
                    f"{display_path(path)} is a model `{model}` already. Remove it, or choose "
                    "another name for the table."
                )


def _declaration(domain: Domain) -> tuple[Path, str]:
    """The file and the source that declare the domain's raw tables; topics.yml if none does."""
    for path in domain.yaml_files:
        for source in mappings(parse_yaml(path, read_text(path)).get("sources")):
            if _is_raw(domain, source):
                return path, str(source.get("name"))
    return folders(domain.path, "model-paths")[0] / "topics.yml", f"{domain.name}_raw"


def _is_raw(domain: Domain, source: Mapping[str, Any]) -> bool:
    return source.get("schema", source.get("name")) == f"{domain.name}_raw"


def _declared(new: NewTopic, path: Path) -> str:
    """The text of the declaration with the new table."""
    before = read_text(path) if path.exists() else ""
    content = parse_yaml(path, before)
    sources = mappings(content.get("sources"))
    place = next((n for n, each in enumerate(sources) if _is_raw(new.domain, each)), None)
    table = _table(new)
    if not content.get("sources"):
        text = _with_section(path, before, content, new, table)
    else:
        text = _extended(new, path, before, place, table)
    _verify(new, path, content, text, place)
    return text


def _with_section(
    path: Path, before: str, content: Mapping[str, Any], new: NewTopic, table: str
) -> str:
    """The text with a section `sources` at its end."""
    if "sources" in content:
        raise DeclarationError(
            path, 1, "`sources` is empty, so it cannot be extended. Remove the key, and try again."
        )
    lines = before.splitlines(keepends=True)
    gap = "\n" if before.strip() else ""
    return inserted(
        lines, len(lines) - 1, f"{gap}sources:\n{_source(new, table, '  ')}", _end(lines)
    )


def _source(new: NewTopic, table: str, indent: str) -> str:
    schema = f"{new.domain.name}_raw"
    head = (
        f"- name: {schema}\n  schema: {schema}\n"
        f"  description: Events of the domain {new.domain.name}, typed.\n  tables:\n"
    )
    return indented(head, indent) + indented(table, f"{indent}    ")


def _extended(new: NewTopic, path: Path, before: str, place: int | None, table: str) -> str:
    """The text with the table at the end of its source, or with a new source."""
    root = yaml.compose(before, Loader=yaml.CSafeLoader)
    sources = _block(path, _value(root, "sources"), "sources")
    lines = before.splitlines(keepends=True)
    if place is None:
        dash = _dash(lines, sources.value[-1])
        after = end_of_block(lines, last_line(sources), dash)
        return inserted(lines, after, "\n" + _source(new, table, " " * dash), _end(lines))
    source = sources.value[place]
    tables = _value(source, "tables")
    if tables is None:
        after = end_of_block(lines, last_line(source), source.start_mark.column - 1)
        text = "tables:\n" + indented(table, "  ")
        return inserted(lines, after, indented(text, " " * source.start_mark.column), _end(lines))
    tables = _block(path, tables, "tables")
    dash = _dash(lines, tables.value[-1])
    after = end_of_block(lines, last_line(tables), dash)
    first = tables.value[-1].start_mark.line
    gap = "\n" if len(tables.value) > 1 and not lines[first - 1].strip() else ""
    return inserted(lines, after, gap + indented(table, " " * dash), _end(lines))


def _block(path: Path, node: yaml.Node | None, name: str) -> yaml.SequenceNode:
    """A list that is written with one entry a line."""
    if isinstance(node, yaml.SequenceNode) and node.value and not node.flow_style:
        return node
    line = node.start_mark.line + 1 if node else 1
    raise DeclarationError(
        path, line,
        f"`{name}` is empty or written in brackets, so it cannot be extended. Begin each of its "
        "entries on a line with `- `, and try again.",
    )  # fmt: skip


def _value(node: yaml.Node, name: str) -> yaml.Node | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value for key, value in pairs if key.value == name), None)


def _dash(lines: Sequence[str], entry: yaml.Node) -> int:
    """The column of the dash before an entry of a list."""
    return lines[entry.start_mark.line].rfind("-", 0, entry.start_mark.column)


def _end(lines: Sequence[str]) -> str:
    return "\r\n" if lines and lines[0].endswith("\r\n") else "\n"


def _table(new: NewTopic) -> str:
    """The entry of the table, without indentation."""
    meta = {keys.TOPIC.name: new.topic, keys.FORMAT.name: "json"}
    if new.changelog:
        meta[keys.CHANGELOG.name] = "true"
    lines = [
        f"- name: {new.name}",
        f"  description: {scalar(f'One row for each event of the topic {new.topic}.')}",
        "  config:",
        "    meta:",
        *(
            f"      {name}: {scalar(value) if value != 'true' else value}"
            for name, value in meta.items()
        ),
        *_extracted(new),
        "  columns:",
    ]
    for column in new.columns:
        lines += [
            f"    - name: {scalar(column.name)}",
            f"      data_type: {scalar(column.data_type)}",
            f"      description: {scalar(column.description)}",
        ]
        marks = []
        if column.required:
            marks.append(f"{keys.REQUIRED.name}: true")
        if column.classification:
            marks.append(f"{keys.CLASSIFICATION.name}: {column.classification}")
        if marks:
            lines.append(f"      config: {{meta: {{{', '.join(marks)}}}}}")
    return "".join(f"{line}\n" for line in lines)


def _extracted(new: NewTopic) -> list[str]:
    if not new.extract:
        return []
    entries = [
        f"        {name}: {scalar(value) if isinstance(value, str) else value}"
        for name, value in new.extract.items()
    ]
    return [f"      {keys.EXTRACT.name}:", *entries]


def _described(new: NewTopic) -> str:
    what = "The newest event of each key" if new.changelog else "One row for each event"
    description = f"{what} of the topic {new.topic}, with columns in snake case."
    return f"models:\n  - name: stg_{new.name}\n    description: {scalar(description)}\n"


def _verify(
    new: NewTopic, path: Path, before: Mapping[str, Any], text: str, place: int | None
) -> None:
    """Compares the edited file with the one before it.

    Raises:
        DeclarationError: the edit did not have exactly the effect that it was meant to have.
    """
    try:
        after = yaml.safe_load(text)
    except yaml.YAMLError:
        after = {}
    sources = after.get("sources") or []
    if place is None:
        made = sources.pop() if sources else {}
        tables = made.get("tables") or []
    else:
        tables = sources[place].get("tables") or [] if place < len(sources) else []
    added = tables.pop() if tables else {}
    if place is not None and not tables:
        sources[place].pop("tables", None)
    if not sources:
        after.pop("sources", None)
    columns = [(each["name"], each["data_type"]) for each in added.get("columns") or ()]
    meant = [(each.name, each.data_type) for each in new.columns]
    if after != _plain(before) or added.get("name") != new.name or columns != meant:
        raise DeclarationError(
            path, 1,
            f"the file has an unusual form, so nothing was written. Declare `{new.name}` by hand.",
        )  # fmt: skip


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value
