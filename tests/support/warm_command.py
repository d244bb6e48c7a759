"""The command `mesh` for shells, run by the warm process: `warm_command.py SOCKET ARGUMENTS...`.

Belongs here: handing a command over, with its folder, variables, input and outputs; passing signals
on; ending as it ends. Not here: the warm process (warm.py).

A new `mesh` spends up to 5 s of processor time on imports and caches; this one spends 0.03 s.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys


def main(place: str, arguments: list[str]) -> int:
    """Returns the exit code of the command, or minus the signal that ended it."""
    early: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: early.append(number))
    umask = os.umask(0o077)
    os.umask(umask)
    request = {
        "umask": umask,
        "arguments": arguments,
        "folder": os.getcwd(),  # noqa: PTH109 - pathlib takes as long to import as all the rest
        "environment": dict(os.environ),
    }
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(place)
        socket.send_fds(connection, [b"\n"], [0, 1, 2])
        connection.sendall(json.dumps(request).encode() + b"\n")
        answers = connection.makefile()
        process = int(answers.readline())
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: os.kill(process, number))
        for number in early:
            os.kill(process, number)
        return int(answers.readline())


if __name__ == "__main__":
    code = main(sys.argv[1], sys.argv[2:])
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)
