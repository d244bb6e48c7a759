"""The picture of rooms in docs/contributing.md holds for every file.

import-linter checks the order of rooms; these are the rules that it cannot express.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted([*ROOT.glob("meshhouse/**/*.py"), *ROOT.glob("orchestration/*.py"),
                ROOT / "dbt_meshhouse.py"])  # fmt: skip
MOST_LINES = 500
ENGINES = {"spark", "snowflake"}
MAY_NAME_ENGINES = {
    "meshhouse/engines",
    "meshhouse/lint/sql",  # knows what each target's SQL understands
    "meshhouse/extras.py",  # names of packages
    "meshhouse/settings.py",  # names of environment variables
    "meshhouse/lake/moves.py",  # the name of a folder
    "meshhouse/repository/project.py",  # names of packages that decide what is built
    "meshhouse/repository/foreign/types.py",  # the adapters of projects from elsewhere
}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def imported(path: Path) -> Iterator[str]:
    """Modules of the project that a file imports anywhere, for type checks as well."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for name in node.names:
                inner = f"{node.module}.{name.name}"
                found = inner if inner in MODULES else node.module
                if found in MODULES:
                    yield found


def test_no_files_import_each_other_in_a_circle():
    waiting = {
        module: {each for each in imported(path) if each != module}
        for module, path in MODULES.items()
    }
    while done := {module for module, needs in waiting.items() if not needs & waiting.keys()}:
        waiting = {module: needs for module, needs in waiting.items() if module not in done}
    # What is left imports a circle or is part of one.
    in_circles = {m for m in waiting if any(m in needs for needs in waiting.values())}
    assert not in_circles, sorted(in_circles)


def test_engines_are_named_only_where_they_live():
    found = []
    for path in FILES:
        place = path.relative_to(ROOT).as_posix()
        if any(place == each or place.startswith(f"{each}/") for each in MAY_NAME_ENGINES):
            continue
        found += [
            f"{place}:{node.lineno}: `{node.value}`; ask the engine for a capability by name"
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant) and node.value in ENGINES
        ]
    assert not found, "\n".join(found)


def test_modules_are_short():
    long = {path: text.count("\n") for path in FILES if (text := path.read_text())}
    assert not [f"{path}: {count} lines" for path, count in long.items() if count > MOST_LINES]


def test_an_engine_is_chosen_without_loading_what_landing_needs():
    """`mesh status` and dbt's plugin start with it; landing's libraries take 0.5 s to import."""
    code = (
        "import sys, meshhouse.engines.iceberg; "
        "print([each for each in ('pyiceberg', 'duckdb', 'pyarrow', 'meshhouse.landing') "
        "if each in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "[]\n"


def test_an_audit_on_duckdb_loads_no_driver_of_another_engine():
    """Soda imports every installed data source, which took 0.7 s of CPU in each run."""
    code = (
        "import sys, meshhouse.audit.soda; "
        "print([each for each in ('snowflake.connector', 'pyspark') "
        "if each in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "[]\n"
