"""`mesh sql` without a query opens a shell on a terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time

from meshhouse.cli.shell import completion
from tests.conftest import Mesh


def test_a_shell_on_a_terminal(mesh: Mesh, tmp_path) -> None:
    mesh.sell(*range(10))
    mesh.run("run", "shop")
    controller, terminal = pty.openpty()
    history = tmp_path / "history"
    process = subprocess.Popen(
        mesh.command("sql"),
        cwd=mesh.root,
        env={**mesh.environment, "MESH_HISTORY": str(history), "TERM": "dumb", "COLUMNS": "80"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    said = b""

    def until(wanted: str) -> None:
        nonlocal said
        end = time.monotonic() + 60
        while wanted.encode() not in said:
            assert time.monotonic() < end, said.decode()
            if select.select([controller], [], [], 0.5)[0]:
                said += os.read(controller, 65536)

    for typed, shown in (
        ("selec 1;\n", "Parser Error"),
        ("select count(*) as orders\nfrom shop.orders;\n", "    10 │"),
        ("select * from shop_raw.sales;\n", "`shop_raw.sales` does not exist"),
        ("show tables;\n", "shop.totals"),
    ):
        until("mesh=> ")
        said = b""
        os.write(controller, typed.encode())
        until(shown)
    until("mesh=> ")
    os.write(controller, b"\x04")
    assert process.wait(30) == 0
    os.close(controller)
    assert "show tables;" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0


def test_completion_offers_what_begins_like_the_text() -> None:
    words = ["select", "shop.orders", "shop.totals"]
    assert [completion(words, "SHOP.", state) for state in range(3)] == [*words[1:], None]
