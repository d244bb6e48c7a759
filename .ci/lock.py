"""Writes exact versions, in the form that `uv export` prints, into pyproject.toml's constraints.

The repository has no lock file, because a lock file names the hosts of package indexes.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

START, END = "constraint-dependencies = [\n", "]\n"


def main() -> None:
    """Replaces the constraints in the file named on the command line."""
    path = Path(sys.argv[1])
    lines = [line.strip() for line in sys.stdin]
    pins = sorted({line for line in lines if re.match(r"^[A-Za-z0-9._\[\]-]+==", line)})
    block = (
        START + "".join(f'    "{pin}",\n'.replace('\\"', '"') for pin in map(_quote, pins)) + END
    )
    text = path.read_text()
    pattern = re.compile(re.escape(START) + r".*?^" + re.escape(END), re.DOTALL | re.MULTILINE)
    if pattern.search(text):
        text = pattern.sub(lambda _: block, text)
    else:
        text = text.replace("[tool.uv]\n", f"[tool.uv]\n{block}")
    path.write_text(text)


def _quote(pin: str) -> str:
    return pin.replace('"', "'")


if __name__ == "__main__":
    main()
