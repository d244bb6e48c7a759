"""What dbt_project.yml sets for all models of a folder, as far as it makes products.

Belongs here: `access`, `group`, `contract` and `meta`. Not here: settings that only dbt reads
(lint/settings.py has those that the mesh judges).
"""

from __future__ import annotations

from pathlib import Path

from meshhouse.repository.shapes import mapping
from meshhouse.repository.versions import merged
from meshhouse.repository.yaml import Located

_TEXTS = ("access", "group")
_MAPPINGS = ("contract", "meta")


def settings_of_folders(project: Located, domain: str, models: Path, model: Path) -> Located:
    """The settings of dbt_project.yml for a model, the innermost folder first.

    A value that Jinja computes is left out, because only dbt knows it.

    Args:
        project: dbt_project.yml.
        domain: name of the project.
        models: the folder of models.
        model: path of the model without its suffix.
    """
    found = Located()
    if not model.is_relative_to(models):
        return found
    at = mapping(project.get("models"))
    for name in (domain, *model.relative_to(models).parts, ""):
        found = merged(found, _here(at))
        at = mapping(at.get(name))
    return found


def _here(at: Located) -> Located:
    """The settings of one level. A mapping without `+` is a folder, as in dbt."""
    here = Located()
    for key, value in at.items():
        name = key.removeprefix("+")
        is_mapping = key.startswith("+") and isinstance(value, Located)
        is_text = isinstance(value, str) and "{{" not in value
        if (name in _TEXTS and is_text) or (name in _MAPPINGS and is_mapping):
            here[name] = value
            here.lines[name] = at.line_of(key)
    return here
