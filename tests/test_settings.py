"""Every environment variable that is read is declared, with its true default."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshhouse import settings
from meshhouse.errors import UsageError
from meshhouse.events.kafka.settings import kafka_settings

ROOT = Path(__file__).parent.parent
DECLARED = {setting.name: setting for setting in settings.SETTINGS}
OURS = re.compile(r"(MESH|KAFKA|SCHEMA_REGISTRY|SNOWFLAKE|AWS|PYICEBERG)_[A-Z0-9_]*[A-Z0-9]")
"""What looks like a variable of the platform wherever it occurs as a string."""
NO_VARIABLES = {"SNOWFLAKE_JWT"}
"""Strings of that form with another meaning: a way to log in."""
JINJA = re.compile(r"env_var\(\s*'(\w+)'\s*(?:,\s*'([^']*)')?")
SHELL = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
KAFKA = "KAFKA_"


def code() -> list[Path]:
    files = [ROOT / "dbt_meshhouse.py"]
    for folder in ("meshhouse", "orchestration", "benchmarks"):
        files += sorted((ROOT / folder).rglob("*.py"))
    return [file for file in files if file != Path(settings.__file__)]


def templates() -> list[Path]:
    found = [ROOT / "profiles" / "profiles.yml", ROOT / "profiles" / "kafka.yml"]
    for folder in ("meshhouse/macros", "models", "domains"):
        found += sorted((ROOT / folder).rglob("*.sql"))
    return found


def constants(tree: ast.AST) -> dict[str, str]:
    """Names of a module that stand for a string."""
    return {
        target.id: node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def is_environ(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "environ"


def is_read(node: ast.Subscript) -> bool:
    """Rather than set, as for a process that is started next."""
    return isinstance(node.ctx, ast.Load)


def read_in(tree: ast.AST) -> Iterator[tuple[str, str | None]]:
    """Variable and, where it is a literal, default of each access to the environment."""
    names = constants(tree)

    def text(node: ast.AST) -> str | None:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        return names.get(node.id) if isinstance(node, ast.Name) else None

    for node in ast.walk(tree):
        found, default = None, None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            if is_environ(node.func.value) and node.func.attr in ("get", "setdefault", "pop"):
                found = text(node.args[0])
                default = text(node.args[1]) if len(node.args) > 1 else None
            elif node.func.attr == "getenv":
                found = text(node.args[0])
        elif isinstance(node, ast.Subscript) and is_environ(node.value) and is_read(node):
            found = text(node.slice)
        elif isinstance(node, ast.Compare) and any(map(is_environ, node.comparators)):
            found = text(node.left)
        if found:
            yield found, default


def read() -> list[tuple[str, str, str | None]]:
    """File, variable and default of everything that is read."""
    found = []
    for file in code():
        where = str(file.relative_to(ROOT))
        tree = ast.parse(file.read_text())
        found += [(where, name, default) for name, default in read_in(tree)]
        found += [
            (where, node.value, None)
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and OURS.fullmatch(node.value)
            and node.value not in NO_VARIABLES
        ]
    for file in templates():
        pattern = SHELL if file.name == "kafka.yml" else JINJA
        where = str(file.relative_to(ROOT))
        text = re.sub(r"^#.*", "", file.read_text(), flags=re.MULTILINE)
        found += [(where, match[1], match[2]) for match in pattern.finditer(text)]
    return found


def is_declared(name: str) -> bool:
    patterns = (re.sub(r"<\w+>", r"\\w+", each) for each in DECLARED)
    return any(re.fullmatch(each, name) for each in patterns)


def prefixes() -> set[str]:
    """Beginnings from which the code makes names of variables, or takes all that have them."""
    return {
        node.value
        for file in code()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"(KAFKA|SNOWFLAKE|AWS|PYICEBERG|MESH_ALERT)_([A-Z]+_)?", node.value)
    }


def test_the_page_is_what_the_declarations_say():
    assert settings.PAGE.read_text() == settings.page(), (
        "docs/settings.md is old. Write it: python -m meshhouse.settings"
    )


def test_each_name_is_declared_once():
    assert len(DECLARED) == len(settings.SETTINGS)


def test_every_variable_that_is_read_is_declared():
    undeclared = {f"{where}: {name}" for where, name, _ in read() if not is_declared(name)}
    assert not undeclared, "declare them in meshhouse/settings.py"


def test_every_declared_variable_is_read():
    names = {name for _, name, _ in read()}
    names |= set(re.findall(r"\w+", (ROOT / ".ci" / "run").read_text()))
    names |= {
        node.value
        for file in code()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    made = tuple(prefixes())
    unread = {name for name in DECLARED if name not in names and not name.startswith(made)}
    assert not unread, "nothing reads them: delete them from meshhouse/settings.py"


def test_defaults_in_code_and_profiles_are_the_declared_ones():
    differing = {
        f"{where}: {name} is {default!r}, declared {DECLARED[name].default!r}"
        for where, name, default in read()
        if default and name in DECLARED and DECLARED[name].default not in ("", default)
    }
    assert not differing


def test_every_variable_of_kafka_is_one_of_its_properties(tmp_path):
    variables = {name: "1" for name in DECLARED if name.startswith(KAFKA)}
    variables["KAFKA_SECURITY_PROTOCOL"] = "PLAINTEXT"
    variables["KAFKA_SASL_MECHANISM"] = "PLAIN"
    found = kafka_settings(tmp_path, variables)
    assert found is not None
    taken = {KAFKA + name.upper().replace(".", "_") for name in found.properties}
    assert taken == set(variables)


def test_every_property_of_kafka_is_declared(tmp_path):
    profile = tmp_path / "profiles" / "kafka.yml"
    profile.parent.mkdir()
    profile.write_text("zzz: 1")
    with pytest.raises(UsageError) as refused:
        kafka_settings(tmp_path, {})
    known = str(refused.value).partition("Known: ")[2].rstrip(".").split(", ")
    assert {KAFKA + name.upper().replace(".", "_") for name in known} <= set(DECLARED)


def test_a_variable_has_its_value_or_its_default(monkeypatch):
    monkeypatch.delenv("MESH_MEMORY_LIMIT", raising=False)
    assert settings.value("MESH_MEMORY_LIMIT") == "1500MiB"
    monkeypatch.setenv("MESH_MEMORY_LIMIT", "2GiB")
    assert settings.value("MESH_MEMORY_LIMIT") == "2GiB"
    with pytest.raises(KeyError):
        settings.value("MESH_MEMORY")
