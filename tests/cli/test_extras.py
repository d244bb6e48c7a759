"""A missing package of an extra is named with the command that installs it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import pytest

from meshhouse import extras
from tests.conftest import ROOT

BLOCKED = """
import builtins, sys
real = builtins.__import__
def refuse(name, *more, **other):
    if name == BLOCKED or name.startswith(BLOCKED + "."):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return real(name, *more, **other)
builtins.__import__ = refuse
import click
from meshhouse.cli.main import run
@click.command()
def command():
    __import__(BLOCKED)
sys.exit(run(command, []))
"""


@pytest.mark.parametrize(
    "module", ["pyspark.sql", "snowflake.connector", "boto3", "confluent_kafka"]
)
def test_whatever_is_imported_one_line_says_how_to_install_it(module):
    done = subprocess.run(
        [sys.executable, "-c", f"BLOCKED = {module!r}{BLOCKED}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    extra = extras._MODULES[module.partition(".")[0]]
    assert done.stderr == f"mesh: The package `{module}` is not installed: run `make {extra}`.\n"
    assert done.returncode == 2


def test_every_extra_is_a_target_of_the_makefile():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(declared["optional-dependencies"]) <= targets
    # The one package of the extra kinesis is in the extra s3, too; extraction names the extra.
    hinted = {*extras._MODULES.values(), "kinesis"}
    assert hinted == set(declared["optional-dependencies"])


def test_a_package_of_no_extra_has_no_hint():
    assert extras.missing(ModuleNotFoundError("No module named 'nope'", name="nope")) is None
