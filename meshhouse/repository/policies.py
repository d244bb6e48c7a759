"""Reads `policies.yml`, the file of the federation's rules at the root of the repository.

Belongs here: which rules are named, how severe each is, and its parameters as written. Not here:
what a rule checks, or which parameters it knows (governance/policies/).

    rules:
      owner: error
      live_versions: {severity: warn, most: 2}
    own:
      - {file: policies/<name>.py, severity: error}

A rule that the file does not name is off. An entry that cannot be used is a problem; other entries
keep their effect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from meshhouse.repository.misfits import ANY, TEXT, Many, Map, misfits
from meshhouse.repository.shapes import mapping, mappings
from meshhouse.repository.yaml import DeclarationError, Located, read_yaml

NAME = "policies.yml"
FOLDER = "policies"
ERROR, WARN, OFF = "error", "warn", "off"
SEVERITIES = (ERROR, WARN, OFF)


@dataclass(frozen=True)
class RuleSetting:
    """One rule as the file names it."""

    name: str
    severity: str
    parameters: Mapping[str, Any]
    line: int


@dataclass(frozen=True)
class OwnRule:
    """A Python file of the repository with a rule."""

    file: str
    """Relative to the root of the repository."""
    severity: str
    line: int


@dataclass(frozen=True)
class Policies:
    """What the file declares."""

    path: Path
    rules: Mapping[str, RuleSetting] = field(default_factory=dict)
    own: tuple[OwnRule, ...] = ()
    problems: tuple[DeclarationError, ...] = ()


_OWN = Map(
    "a rule in Python", {"file": TEXT, "severity": ANY}, required=("file",), is_of_the_mesh=True
)
_FILE = Map(
    NAME,
    {"rules": Map("rules", {}, is_open=True), "own": Many(_OWN)},
    is_of_the_mesh=True,
)


def read_policies(root: Path) -> Policies:
    """The rules of a repository; without a file, none."""
    path = root / NAME
    if not path.exists() and not path.is_symlink():
        return Policies(path)
    try:
        content = read_yaml(path)
    except DeclarationError as error:
        return Policies(path, problems=(error,))
    problems = [
        DeclarationError(path, each.line, f"{each.problem} {each.remedy}".rstrip())
        for each in misfits(content, _FILE)
    ]
    rules = {}
    written = mapping(content.get("rules"))
    for name, value in written.items():
        setting = _setting(name, value, written.line_of(name))
        if isinstance(setting, RuleSetting):
            rules[name] = setting
        else:
            problems.append(DeclarationError(path, written.line_of(name), setting))
    own = []
    for entry in mappings(content.get("own")):
        found = [DeclarationError(path, line, text) for line, text in _bad_own(root, entry)]
        problems += found
        if not found and isinstance(entry.get("file"), str):
            own.append(OwnRule(entry["file"], _severity(entry, ERROR), entry.line))
    return Policies(path, rules, tuple(own), tuple(dict.fromkeys(problems)))


def _setting(name: str, value: Any, line: int) -> RuleSetting | str:
    """The setting of a rule, or why it cannot be used."""
    entry = mapping(value)
    parameters = {key: each for key, each in entry.items() if key != "severity"}
    severity = _severity(entry, None) if isinstance(value, Located) else _level(value)
    if severity is None:
        return _bad_severity(f"rule `{name}`")
    return RuleSetting(name, severity, parameters, line)


def _severity(entry: Located, default: str | None) -> str | None:
    return _level(entry["severity"]) if "severity" in entry else default


def _level(value: Any) -> str | None:
    if value is False:  # YAML reads the word `off` as false
        return OFF
    return value if isinstance(value, str) and value in SEVERITIES else None


def _bad_severity(what: str) -> str:
    return f"{what} has no severity. Write error, warn or off."


def _bad_own(root: Path, entry: Located) -> Iterator[tuple[int, str]]:
    file = entry.get("file")
    if "severity" in entry and _level(entry["severity"]) is None:
        yield entry.line_of("severity"), _bad_severity("this rule")
    if not isinstance(file, str):
        return
    parts = PurePosixPath(file).parts
    inside = (root / FOLDER).resolve()
    is_below = len(parts) > 1 and parts[0] == FOLDER and ".." not in parts
    if not is_below or not file.endswith(".py") or inside not in (root / file).resolve().parents:
        yield (
            entry.line_of("file"),
            f"`{file}` is not a Python file in {FOLDER}/. Rules in Python are loaded from that "
            "folder of the repository only.",
        )
    elif not (root / file).is_file():
        yield entry.line_of("file"), f"there is no file `{file}`. Write it, or remove the line."
