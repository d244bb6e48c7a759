"""A warm process that forks for each command, as starting takes most of a short command's time.

Belongs here: the server, which imports and starts once what every command needs and then forks (run
this file), and its client, which the tests use. Not here: the commands.

A forked command is a separate process: it can be killed, it has an exit code, and everything that
it loads or opens ends with it.

The server imports the platform and runs the tiny mesh once. The first run of a process takes 3 to
5 s, of which dbt, Dagster and Soda spend 2 to 4 s on imports and on generated code that they cache;
in a fork a run takes 1.6 s. Tests of the start itself use `Mesh.start`.

Libraries keep in a fork what they found out in the server, such as the time zone of `TZ`: a test
of such a variable starts a cold process.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO

from tests.support.tiny import ROOT, copy_tiny

_COMMAND = Path(__file__).with_name("warm_command.py")
_SOCKET = "socket"


class Warm:
    """The client: starts the server with the first command."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[str] | None = None
        self._folder = ""

    def command(self, folder: Path) -> Path:
        """Writes a program `mesh` into a folder; shells run it as they run the real one."""
        self._started()
        shell = [sys.executable, "-I", "-S", _COMMAND, Path(self._folder, _SOCKET)]
        program = folder / "mesh"
        program.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, shell))} "$@"\n')
        program.chmod(0o755)
        return program

    def start(
        self,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        output: tuple[Path, Path],
    ) -> int:
        """Forks a process and returns its id.

        Args:
            arguments: the arguments of `mesh`; or the path of a Python program and its arguments.
            folder: its working directory.
            environment: all its variables.
            output: files for its standard output and standard error.
        """
        umask = os.umask(0o077)
        os.umask(umask)
        request = {
            "umask": umask,
            "arguments": [str(each) for each in arguments],
            "folder": str(folder),
            "environment": dict(environment),
            "output": [str(path) for path in output],
        }
        return self._ask(request, 300)

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
            shutil.rmtree(self._folder)

    def _ask(self, request: dict[str, Any], seconds: float, process: int | None = None) -> int:
        server = self._started()
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        late = not select.select([server.stdout], [], [], seconds)[0]
        if late and process is not None:
            os.kill(process, signal.SIGKILL)
        answer = server.stdout.readline()
        if late:
            raise TimeoutError(f"The process was still at work after {seconds} s.")
        if not answer:
            raise RuntimeError("The warm process died; its errors are above.")
        return int(answer)

    def _started(self) -> subprocess.Popen[str]:
        if self._server is None:
            self._folder = tempfile.mkdtemp()
            with socket.socket(socket.AF_UNIX) as shells:
                shells.bind(str(Path(self._folder, _SOCKET)))
                shells.listen()  # shells wait until the server is ready
                number = shells.fileno()
                self._server = subprocess.Popen(
                    [sys.executable, __file__, self._folder, str(number)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    cwd=ROOT,
                    env={**_without_mesh(os.environ), "PYTHONPATH": _python_path()},
                    pass_fds=[number],
                )
        return self._server


def _without_mesh(environment: Mapping[str, str]) -> dict[str, str]:
    # Without a bytecode cache, every import here would be slow.
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(("MESH_", "DAGSTER_")) and name != "PYTHONDONTWRITEBYTECODE"
    }


def _python_path() -> str:
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


def _load(record: Path) -> None:
    """Imports the modules of all commands, and runs the tiny mesh once to fill caches.

    Args:
        record: a folder that gets Dagster's databases without a run.
    """
    from dbt_common.tests import enable_test_caching

    from meshhouse.cli.main import _COMMANDS

    for module in sorted({module for module, _ in _COMMANDS.values()}):
        importlib.import_module(f"meshhouse.cli.{module}")
    enable_test_caching()
    with tempfile.TemporaryDirectory() as folder:
        _rehearse(Path(folder))
    _create_record(record)
    _forget()


def _create_record(folder: Path) -> None:
    """Creates Dagster's databases: a tenth of the processor time of a mesh's first run."""
    from dagster import DagsterInstance
    from dagster._core.instance import InstanceRef

    with DagsterInstance.from_ref(InstanceRef.from_dir(str(folder))):
        pass
    for file in folder.glob("*.yaml"):
        file.unlink()


def _give_record(record: Path, variables: Mapping[str, str]) -> None:
    """Copies Dagster's databases into a mesh that has none, before its first run."""
    if "MESH_ROOT" not in variables or {"MESH_HOME", "MESH_ENV", "DAGSTER_HOME"} & set(variables):
        return
    home = Path(variables["MESH_ROOT"], ".mesh")
    if not (home / "dagster").exists() and os.access(home, os.W_OK):
        shutil.copytree(record, home / "dagster")


def _forget() -> None:
    """Empties the platform's caches: a connection to DuckDB does not survive a fork."""
    # These know what is the same for every mesh: readers of a schema, and scripts of Dagster.
    kept = {"meshhouse.lake.avro_readers", "meshhouse.dagster.storage"}
    for name in {each for each in sys.modules if each.startswith("meshhouse.")} - kept:
        for value in list(vars(sys.modules[name]).values()):
            if hasattr(value, "cache_clear"):
                value.cache_clear()
    gc.collect()


def _rehearse(folder: Path) -> None:
    """Runs a domain of the tiny mesh, without the changes that `mesh` makes to its process."""
    from meshhouse.cli.run import run
    from meshhouse.dbt import environment
    from meshhouse.events import event_log

    copy_tiny(folder)
    # dbt's static parser must not start in the server: its threads do not survive a fork, and the
    # parser would wait for them. Unit tests start it whatever the setting, so they are removed.
    orders = folder / "domains/shop/models/products/orders.yml"
    orders.write_text(orders.read_text().partition("unit_tests:")[0])
    log = event_log(folder / ".mesh")
    log.create_topic("shop.sales", 1)
    sale = {"sale_id": 1, "customer_id": 1, "amount": 1.5, "sold_at": "2017-01-01T12:00:00Z"}
    log.append_events("shop.sales", [(b"1", json.dumps(sale).encode(), 0, [])], "warm")
    with environment({"MESH_ROOT": str(folder), "DBT_STATIC_PARSER": "false"}):
        failed = run.main(["shop", "--quiet"], standalone_mode=False)
    if failed:
        raise RuntimeError("The tiny mesh does not run.")


def _serve(answers: TextIO, shells: socket.socket) -> list[str] | None:
    """Answers requests; returns the arguments in a forked process, None at the end of requests."""
    while True:
        if shells in select.select([sys.stdin, shells], [], [])[0]:
            connection, _ = shells.accept()
            if os.fork() == 0:
                answers.close()
                shells.close()
                return _serve_shell(connection)
            connection.close()
            continue
        line = sys.stdin.readline()
        if not line:
            return None
        request = json.loads(line)
        if "wait" in request:
            print(os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1]), file=answers)
        elif (process := os.fork()) == 0:
            answers.close()
            shells.close()
            _become(request)
            _take_files(request["output"])
            return request["arguments"]
        else:
            print(process, file=answers)
        answers.flush()


def _serve_shell(connection: socket.socket) -> list[str]:
    """Forks a command for a shell, and reports its end; returns in the command's process only."""
    files = socket.recv_fds(connection, 1, 3)[1]
    request = json.loads(connection.makefile().readline())
    if (process := os.fork()) == 0:
        connection.close()
        _become(request)
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        return request["arguments"]
    # The shell's pipes end with the command, not with this process.
    for file in files:
        os.close(file)
    with suppress(OSError):  # the shell may be gone
        connection.sendall(f"{process}\n".encode())
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    with suppress(OSError):
        connection.sendall(f"{code}\n".encode())
    os._exit(0)


def _end(code: int) -> NoReturn:
    """Ends a process without freeing every imported object, which would take a second."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _become(request: dict[str, Any]) -> None:
    os.umask(request["umask"])
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    tempfile.tempdir = None  # forget the server's choice, so that TMPDIR counts


def _take_files(output: Sequence[str]) -> None:
    """Makes files the process's standard output and standard error; its input is empty."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for number, path in enumerate(output, start=1):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, number)
        os.close(file)


def _run(arguments: list[str], record: Path) -> int:
    try:
        if arguments[:1] == ["run"] and "--dry-run" not in arguments:
            _give_record(record, os.environ)
        if arguments and Path(arguments[0]).is_absolute():
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
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # keeps other output out of the answers
    folder = Path(sys.argv[1])
    shells = socket.socket(fileno=int(sys.argv[2]))
    shells.set_inheritable(False)
    record = folder / "record"
    record.mkdir()
    os.umask(0o077)  # as `mesh` has it; the first test may have another one
    _load(record)
    gc.freeze()
    arguments = _serve(answers, shells)
    if arguments is None:
        _end(0)
    _end(_run(arguments, record))
