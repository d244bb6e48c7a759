"""Files that a `.dbtignore` keeps from dbt.

Belongs here: whether dbt reads a file, as dbt itself decides it. Not here: which files an import
copies (repository/foreign/copy.py).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from meshhouse.errors import UsageError
from meshhouse.repository import display_path


def ignored_by_dbt(project: Path) -> Callable[[Path], bool]:
    """Tells for a file of a project whether its `.dbtignore` names it.

    Args:
        project: the folder with dbt_project.yml.

    Raises:
        UsageError: the file cannot be read, or a pattern is not valid.
    """
    # Importing dbt takes a second, which commands that need no dbt should not cost.
    from dbt.parser.read_files import generate_dbt_ignore_spec

    try:
        patterns = generate_dbt_ignore_spec(str(project))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{display_path(project / '.dbtignore')} cannot be read: {error}"
        ) from None
    if patterns is None:
        return lambda path: False
    return lambda path: bool(patterns.match_file(str(path.relative_to(project))))
