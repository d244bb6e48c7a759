"""The steps of one contract: found in its SQL once, and kept in a file.

Belongs here: names of steps, and their files. Not here: finding the steps of a model in SQL
(governance/lineage/steps.py), or joining contracts (traces.py).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from meshhouse.catalog.documents import Step
from meshhouse.governance.contract import Contract
from meshhouse.governance.lineage import ModelSteps, steps_of
from meshhouse.governance.lineage.flow import ROWS
from meshhouse.governance.lineage.steps import COUNTED, NOT_KNOWN

FORMAT = 2
"""Raise it when steps are found in another way, so that remembered ones are found again."""
_KEPT_DAYS = 90


class StepFiles:
    """What was found of each contract, a file for each."""

    def __init__(self, folder: Path | None) -> None:
        """Takes the folder; None to remember nothing."""
        self._folder = folder
        self._has_forgotten = False

    def read(self, key: str) -> dict[str, Step] | None:
        """The steps that were kept under a key; None if there are none that can be read."""
        if self._folder is None:
            return None
        # A file that is missing or damaged is written again.
        with suppress(OSError, ValueError, TypeError, KeyError):
            kept = json.loads((self._folder / f"{key}.json").read_text())
            return {each["at"]: _read(each) for each in kept["steps"]}
        return None

    def write(self, key: str, steps: Mapping[str, Step]) -> None:
        """Keeps steps under a key."""
        if self._folder is None:
            return
        document = {"steps": [_written(each) for each in steps.values()]}
        # Not synced, which takes minutes for 5,000 contracts: a damaged file is written again. A
        # folder that cannot be written costs time and changes nothing that a page shows.
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._forget(self._folder)
            draft = self._folder / f"{key}.{os.getpid()}.tmp"
            draft.write_text(json.dumps(document))
            draft.replace(self._folder / f"{key}.json")

    def _forget(self, folder: Path) -> None:
        """Removes what was found long ago, once in a process: most contracts are replaced."""
        if self._has_forgotten:
            return
        self._has_forgotten = True
        before = time.time() - _KEPT_DAYS * 86_400
        for each in folder.iterdir():
            if each.stat().st_mtime < before:
                each.unlink(missing_ok=True)


def steps_of_contract(contract: Contract, schemas: Mapping[str, Sequence[str]]) -> dict[str, Step]:
    """The steps of the product's columns and of the models behind it, by their `at`.

    Args:
        contract: of the product.
        schemas: `schema.table` -> its columns, of everything from outside that its SQL reads.
    """
    later = contract.get("later_builds", {})
    models = {
        str(name).lower(): [str(each["sql"]), *([str(later[name])] if name in later else [])]
        for name, each in contract.get("models", {}).items()
    }
    domain, model = str(contract.get("domain", "")), str(contract.get("model", "")).lower()
    # A version is built under the name of its relation, which later builds read.
    own = contract.relation.lower().partition(".")[2]
    models[own] = models.pop(model, [])

    def at(relation: str, column: str) -> str:
        if relation in models:
            relation = contract.relation if relation == own else f"{domain}.{relation}"
        return f"{relation}.{column}".lower() if column != ROWS else relation.lower()

    found: dict[str, Step] = {}
    for model, made in steps_of(models, schemas).items():
        kind = "product" if model == own else "model"
        _add(found, made, at, model, kind)
    for column in map(str.lower, contract.columns):
        key = at(own, column)
        found.setdefault(key, Step(key, "product", NOT_KNOWN, ""))
    return found


def _add(
    found: dict[str, Step], made: ModelSteps, at: Callable[[str, str], str], model: str, kind: str
) -> None:
    rows = at(model, ROWS)
    found[rows] = Step(rows, kind, COUNTED, "", tuple(at(each, ROWS) for each in made.relations))
    for column, each in made.columns.items():
        key = at(model, column)
        inputs = tuple(at(*origin) for origin in each.inputs)
        filters = tuple(at(*origin) for origin in each.filters)
        found[key] = Step(key, kind, each.how, each.sql, inputs, filters)


def _written(step: Step) -> dict[str, Any]:
    return {
        "at": step.at, "kind": step.kind, "how": step.how, "sql": step.sql,
        "inputs": step.inputs, "filters": step.filters,
    }  # fmt: skip


def _read(kept: Mapping[str, Any]) -> Step:
    return Step(
        str(kept["at"]), str(kept["kind"]), str(kept["how"]), str(kept["sql"]),
        tuple(kept["inputs"]), tuple(kept["filters"]),
    )  # fmt: skip
