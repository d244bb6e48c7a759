"""Serves fakesnow, and writes every statement that it receives to a file.

It runs in fakesnow's own Python (see the Makefile): `python fakesnow_server.py PORT STATEMENTS`.
Statements that fakesnow lacks are accepted here without an effect; tests compare their text.
"""

import json
import re
import sys
import threading
from pathlib import Path

import uvicorn
from fakesnow import transforms
from fakesnow.cursor import FakeSnowflakeCursor
from fakesnow.server import app
from sqlglot.expressions import Expr

# Statements that fakesnow does not know. They have no effect that a query could see.
PASS = re.compile(
    r"\s*(alter\s+session\s+set\s+(query_tag|timezone|timestamp_type_mapping|default_null_ordering)|comment\s+on\s|alter\s+session\s+unset|grant\s|create\s+tag\s"
    r"|create\s+warehouse\s|remove\s|alter\s+table\s.*\salter\s.*\scomment\s|alter\s+(table|view)\s.*\sset\s+tag\s"
    r"|alter\s+table\s.*\smodify\s+column\s.*\sset\s+tag\s)",
    re.IGNORECASE | re.DOTALL,
)
# Syntax that fakesnow does not know, and its replacement.
REWRITTEN = (
    (
        re.compile(
            r"\b(create\s+(?:or\s+replace\s+)?table\s+(?:if\s+not\s+exists\s+)?\S+)"
            r"\s+clone\s+(\S+)",
            re.IGNORECASE,
        ),
        r"\1 as select * from \2",
    ),
    (re.compile(r"\bcopy\s+grants\b", re.IGNORECASE), ""),
    (re.compile(r'"DATETIME_PRECISION"'), 'null as "DATETIME_PRECISION"'),
    (re.compile(r"\bcurrent_warehouse\(\)", re.IGNORECASE), "null"),
    (re.compile(r"\bcreate\s+or\s+replace\s+temporary\s+", re.IGNORECASE), "create or replace "),
)


def transform(self, fun, *args, copy=True, **kwargs):
    """Does what sqlglot's `transform` does, without a generator for each node.

    fakesnow calls it 76 times for each statement, which was half of the server's processor time.
    """
    root, waiting = None, [self.copy() if copy else self]
    while waiting:
        node = waiting.pop()
        parent, key, index = node.parent, node.arg_key, node.index
        new = fun(node, *args, **kwargs)
        if root is None:
            root = new
        elif parent and key and new is not node:
            parent.set(key, new, index)
        if new is not node:
            continue
        for value in reversed(node.args.values()):
            if isinstance(value, list):
                waiting.extend(each for each in reversed(value) if isinstance(each, Expr))
            elif isinstance(value, Expr):
                waiting.append(value)
    return root


def main() -> None:
    """Serves until it is killed."""
    port, statements = int(sys.argv[1]), Path(sys.argv[2])
    execute, lock = FakeSnowflakeCursor.execute, threading.Lock()

    def recorded(self, command, *args, **kwargs):
        if kwargs.get("server"):
            with lock, statements.open("a") as file:
                file.write(json.dumps(command) + "\n")
        if PASS.match(command):
            self._sqlstate = None
            self._execute(transforms.SUCCESS_NOP)
            return self
        for pattern, replacement in REWRITTEN:
            command = pattern.sub(replacement, command)
        return execute(self, command, *args, **kwargs)

    FakeSnowflakeCursor.execute = recorded
    Expr.transform = transform
    # fakesnow sums numbers as doubles; Snowflake is exact.
    transforms.numeric_agg_implicit_cast = lambda expression: expression
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


main()
