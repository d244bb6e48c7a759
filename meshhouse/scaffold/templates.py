"""Templates: from the files in meshhouse/templates/ to paths and texts.

Belongs here: the rules by which a template becomes files. Not here: the values, or writing the
files (write.py).

A name that ends in `.j2` is rendered with Jinja and loses that ending; other files are copied. A
name that begins with `dot_` begins with a dot afterwards. Values are written `[[ name ]]` and
statements `[% if %]`, in names and in texts, because dbt's own files hold `{{ }}`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import jinja2

from meshhouse.errors import UsageError
from meshhouse.repository import printable
from meshhouse.repository.edit import scalar

TEMPLATES = Path(__file__).parents[1] / "templates"


def rendered(template: str, values: Mapping[str, Any]) -> dict[PurePosixPath, str]:
    """The files of a template: path below the folder that they are for -> text.

    Args:
        template: a folder in meshhouse/templates/.
        values: what the template names; a name that is missing is an error.
    """
    top = TEMPLATES / template
    found = {}
    # Followed links: profiles/ and orchestration/ are those of the platform's own repository.
    for place, folders, names in os.walk(top, followlinks=True):
        folders[:] = sorted(each for each in folders if each != "__pycache__")
        for name in sorted(names):
            path = Path(place, name)
            text = path.read_text(encoding="utf-8")
            if name.endswith(".j2"):
                text = _jinja().from_string(text).render(values)
            found[_path(path.relative_to(top), values)] = text
    return found


def refuse_unwritable(text: str) -> None:
    """Refuses a text from a user that dbt, or a terminal, would not show as it is.

    Raises:
        UsageError: it holds Jinja, or characters that cannot be printed.
    """
    if printable(text) != text:
        raise UsageError(f"`{printable(text)}` holds characters that cannot be printed.")
    if re.search(r"\{[{%#]", text):
        raise UsageError(f"`{text}` holds Jinja, which dbt would run. Write it without `{{`.")


def _path(path: Path, values: Mapping[str, Any]) -> PurePosixPath:
    text = _jinja().from_string(path.as_posix()).render(values).removesuffix(".j2")
    return PurePosixPath(re.sub(r"(^|/)dot_", r"\1.", text))


@cache
def _jinja() -> jinja2.Environment:
    made = jinja2.Environment(  # noqa: S701 - these files are not HTML
        block_start_string="[%",
        block_end_string="%]",
        variable_start_string="[[",
        variable_end_string="]]",
        comment_start_string="[#",
        comment_end_string="#]",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    made.filters["yaml"] = scalar
    return made
