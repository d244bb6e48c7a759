"""Models with a hidden input, such as the clock; every run has to build them.

Belongs here: which files are scanned, which macros a model calls, and the remedy. Not here:
finding a hidden input in a text (repository/hidden.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from meshhouse.lint.finding import Finding
from meshhouse.repository import DeclarationError, Domain, Repository
from meshhouse.repository.hidden import HiddenInput, hidden_inputs, jinja_names
from meshhouse.repository.hidden_words import CHANCE, CLOCK, FILE, GRAPH, NAME, SESSION, UNSEEN
from meshhouse.repository.keys import EVERY_RUN
from meshhouse.repository.project import files_below, folders, packages, shared_macros
from meshhouse.repository.yaml import Located, read_yaml

_MACRO = re.compile(r"\{%-?\s*macro\s+(\w+).*?\{%-?\s*endmacro\s*-?%\}", re.DOTALL)
_REMEDIES = {
    CLOCK: "Compare with a time in the data, such as that of the newest event",
    CHANCE: "Derive the value from the data, for instance as a hash of a key",
    SESSION: "Write the value down, or take it from a variable of dbt_project.yml",
    FILE: "Load it as a seed, or land it from a topic",
    NAME: "Read it with ref() or source()",
    GRAPH: "Name the models with ref()",
    UNSEEN: "Name what is read itself, or use ref(), source() or a function without side inputs",
}


def hidden_findings(repository: Repository, domain: Domain) -> Iterator[Finding]:
    """A finding for each hidden input of a model, unless `every_run` allows it."""
    macros = _macros(repository, domain)
    hidden = _hidden_in(macros)
    meant = _built_in_every_run(domain)
    for folder in folders(domain.path, "model-paths", "snapshot-paths"):
        for path in sorted(files_below(folder)):
            if path.suffix == ".sql" and path.stem not in meant:
                yield from _model(path, frozenset(macros), hidden)


def _model(
    path: Path, macros: frozenset[str], hidden: Mapping[str, HiddenInput]
) -> Iterator[Finding]:
    text = path.read_text(errors="replace")
    names = jinja_names(text)
    if EVERY_RUN.name in names:
        return
    for found in hidden_inputs(text, macros):
        yield _finding(path, found.line, f"`{found.what}` reads {found.kind}", found.kind)
    for name in sorted(names.keys() & hidden.keys()):
        kind, what = hidden[name].kind, hidden[name].what
        yield _finding(path, names[name], f"the macro `{name}` reads {kind} (`{what}`)", kind)


def _finding(path: Path, line: int, problem: str, kind: str) -> Finding:
    return Finding(
        path,
        line,
        f"{problem}, so the mesh cannot know when the rows change, and every run builds this "
        "again.",
        f"{_REMEDIES[kind]}; if every run should build it, set config.meta.{EVERY_RUN.name}: true.",
    )


def _macros(repository: Repository, domain: Domain) -> dict[str, list[str]]:
    """Name -> texts of the macros; `spark__name` is listed under `name` too (see dispatch)."""
    found: dict[str, list[str]] = {}
    projects = (domain.path, *packages(domain.path))
    places = [place for project in projects for place in folders(project, "macro-paths")]
    for place in dict.fromkeys([*places, *shared_macros(repository.root)]):
        for path in files_below(place):
            text = path.read_text(errors="replace") if path.suffix == ".sql" else ""
            for match in _MACRO.finditer(text):
                for name in {match[1], match[1].rpartition("__")[2]}:
                    found.setdefault(name, []).append(match.group())
    return found


def _hidden_in(macros: Mapping[str, list[str]]) -> dict[str, HiddenInput]:
    """Macro -> the first hidden input in it or in a macro that it calls."""
    names = frozenset(macros)
    found: dict[str, HiddenInput] = {}
    calls: dict[str, set[str]] = {}
    for name, texts in macros.items():
        direct = [each for text in texts for each in hidden_inputs(text, names)]
        if direct:
            found[name] = direct[0]
        calls[name] = {called for text in texts for called in jinja_names(text)} & names - {name}
    grown = True
    while grown:
        new = {
            name: found[called]
            for name, called_ones in calls.items()
            for called in sorted(called_ones)
            if name not in found and called in found
        }
        found.update(new)
        grown = bool(new)
    return found


def _built_in_every_run(domain: Domain) -> set[str]:
    """File stems of the models whose YAML sets `every_run`."""
    found: set[str] = set()
    for path in domain.yaml_files:
        try:
            content = read_yaml(path)
        except DeclarationError:
            continue  # reported with the keys
        for entry in [*_entries(content, "models"), *_entries(content, "snapshots")]:
            name = str(entry.get("name"))
            if _says_so(entry):
                found |= {
                    name,
                    *(f"{name}_v{each.get('v')}" for each in _entries(entry, "versions")),
                }
            found |= {
                str(each.get("defined_in") or f"{name}_v{each.get('v')}")
                for each in _entries(entry, "versions")
                if _says_so(each)
            }
    return found


def _entries(entry: Located, key: str) -> list[Located]:
    value = entry.get(key)
    return [each for each in value if isinstance(each, Located)] if isinstance(value, list) else []


def _says_so(entry: Located) -> bool:
    config = entry.get("config")
    meta = config.get("meta") if isinstance(config, Located) else None
    return isinstance(meta, Located) and EVERY_RUN.of(meta) is True
