"""A warm process that forks for each command, because imports take most of a short command's time.

Belongs here: the server, which imports the heavy libraries once and forks (run this file), and its
client, which the tests use. Not here: the commands.

A forked command is a separate process: it can be killed, it has an exit code, and everything that
it loads or opens ends with it.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Warm:
    """The client: starts the server with the first command."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[str] | None = None

    def start(
        self,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        output: tuple[Path, Path],
    ) -> int:
        """Forks a process and returns its id.

        Args:
            arguments: the arguments of `mesh`; or a Python file and its arguments.
            folder: its working directory.
            environment: all its variables.
            output: files for its standard output and standard error.
        """
        request = {
            "arguments": [str(each) for each in arguments],
            "folder": str(folder),
            "environment": dict(environment),
            "output": [str(path) for path in output],
        }
        return self._ask(request, 120)

    def wait(self, process: int, seconds: float) -> int:
        """Waits for a started process; returns its exit code, or minus the signal that ended it.

        Raises:
            TimeoutError: the process was still running and was killed.
        """
        return self._ask({"wait": process}, seconds, process)

    def close(self) -> None:
        """Ends the server."""
        if self._server is not None:
            self._server.communicate()
            self._server = None

    def _ask(self, request: dict[str, Any], seconds: float, process: int | None = None) -> int:
        if self._server is None:
            self._server = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                env={**_without_mesh(os.environ), "PYTHONPATH": _python_path()},
            )
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        late = not select.select([self._server.stdout], [], [], seconds)[0]
        if late and process is not None:
            os.kill(process, signal.SIGKILL)
        answer = self._server.stdout.readline()
        if late:
            raise TimeoutError(f"The process was still at work after {seconds} s.")
        if not answer:
            raise RuntimeError("The warm process died; its errors are above.")
        return int(answer)


def _without_mesh(environment: Mapping[str, str]) -> dict[str, str]:
    # Without a bytecode cache, every import here would be slow.
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith("MESH_") and name != "PYTHONDONTWRITEBYTECODE"
    }


def _python_path() -> str:
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


_HEAVY = (
    "dagster",
    "dagster._core.storage.event_log",
    "dagster_dbt",
    "dbt.cli.main",
    "pyarrow.compute",
    "pyarrow.csv",
    "pyarrow.parquet",
    "pyiceberg.io.pyarrow",
    "pyiceberg.table.update.snapshot",
    "rich.progress",
)
"""Modules that take seconds to import. DuckDB is left out, and with it the platform: it starts a
thread on import, and a forked process does not have its parent's threads."""


def _load() -> None:
    for name in _HEAVY:
        importlib.import_module(name)
    assert "duckdb" not in sys.modules


def _serve() -> list[str]:
    """Answers requests; returns only in a forked process, with its arguments."""
    answers = os.fdopen(os.dup(1), "w")
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        if "wait" in request:
            print(os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1]), file=answers)
        elif (process := os.fork()) == 0:
            answers.close()
            _become(request)
            return request["arguments"]
        else:
            print(process, file=answers)
        answers.flush()
    os._exit(0)


def _become(request: dict[str, Any]) -> None:
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for number, path in enumerate(request["output"], start=1):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, number)
        os.close(file)


def _run(arguments: list[str]) -> int:
    try:
        if arguments and arguments[0].endswith(".py"):
            sys.argv = arguments
            runpy.run_path(arguments[0], run_name="__main__")
        else:
            from meshhouse.cli.main import main

            main(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        _load()
    gc.freeze()
    code = _run(_serve())
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    # Freeing every imported object would take a second.
    os._exit(code)
