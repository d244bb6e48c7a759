"""A contract: everything that one version of a product promises, as a JSON document.

Belongs here: reading a contract's document, its canonical text and its hash. Not here: making the
document from declarations (describe.py), or comparing two (rules/).

`KEYS` declares the keys of the document. A key that is missing has no promise.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

FORMAT = 2
"""Raise it when the meaning of a key changes, so that contracts of before are read as they were.

Contracts of format 1 lack `later_builds`, `hooks`, and the `macros` of checks."""
KEYS: Mapping[str, str] = {
    "format": (
        "how this table is read; 2. Format 1 lacks `later_builds`, `hooks` and the `macros` of "
        "checks"
    ),
    "product": "`domain.model`, without a version",
    "domain": "the domain",
    "model": "the dbt model",
    "version": "the version; 1 for a model without versions",
    "versioned": "whether the model has `versions`",
    "latest_version": "the version that the name without a number shows",
    "relation": "the published `schema.table`",
    "aliases": "other names that show the same rows",
    "renamed_from": "the name before a renaming or a move",
    "target": "where the SQL was rendered for: `local`, `spark` or `snowflake`",
    "access": "`public`",
    "enforced": "whether dbt enforces columns and types",
    "kind": "`table`",
    "description": "what the product is",
    "owner": "group, name and e-mail address",
    "grain": (
        "`columns` that identify a row; `text`: the sentence `One row per ...` of the description"
    ),
    "columns": (
        "in their order: name, type, required, unique, description, classification, "
        "`config.meta`, accepted values; `roots`: the topic fields and products' columns "
        "that it is computed from"
    ),
    "checks": (
        "every Soda check, data test and unit test: id, kind, column, threshold, "
        "severity, filter, SQL in canonical form; `macros`: a digest of the macros outside dbt "
        "that a data test runs"
    ),
    "promises": "service-level objectives; see [promises](#promises)",
    "score": "threshold and weights of the score",
    "models": (
        "canonical SQL and materialization of the product and of the models that it is made of"
    ),
    "later_builds": (
        "canonical SQL of its incremental models as later builds run it, with the branches of "
        "`is_incremental()`"
    ),
    "hooks": (
        "hooks of these models, seeds and snapshots, and of the project: when, SQL as written, and "
        "a digest of the macros that they call"
    ),
    "code": "a digest of what else decides its rows: templates, hooks, snapshots, macros",
    "seeds": "seeds that it is made of, with a digest of the content",
    "reads": (
        "what its models, tests and checks read of other domains: reader, relation, column, how, "
        "where values arrive, and the check that reads it; `is_direct` is false if other models "
        "of the domain pass the column on"
    ),
    "topics": "the topics behind it: format, fields with types, whether they are required",
    "shared": "whether Snowflake shows it as a secure view",
    "tags": "dbt's tags",
    "grants": "dbt's grants",
    "deprecation_date": "the last day of the version",
    "storage": "facts about the table",
}
"""Key of the document -> its meaning in docs/reference.md, as Markdown."""


@dataclass(frozen=True)
class Contract:
    """One contract."""

    document: Mapping[str, Any]

    @classmethod
    def from_text(cls, text: str) -> Contract:
        """Reads a contract as the ledger stores it."""
        return cls(json.loads(text))

    @cached_property
    def text(self) -> str:
        """The canonical text: keys sorted, no spaces, so that equal contracts have equal texts."""
        return json.dumps(
            self.document, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str
        )

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the canonical text, in hexadecimal digits."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def get(self, path: str, default: Any = None) -> Any:
        """The value at a dotted path, such as `promises.latency_minutes`."""
        value: Any = self.document
        for key in path.split("."):
            if not isinstance(value, Mapping) or key not in value:
                return default
            value = value[key]
        return default if value is None else value

    @property
    def product(self) -> str:
        """`domain.model`, without a version."""
        return str(self.document["product"])

    @property
    def relation(self) -> str:
        """The published `schema.table`."""
        return str(self.document["relation"])

    @property
    def version(self) -> int:
        """The version of the model; 1 for a model without versions."""
        return int(self.get("version", 1))

    @property
    def owner(self) -> str:
        """Name and e-mail address of the owner, for people."""
        owner = self.get("owner", {})
        return " ".join(
            part for part in (owner.get("name"), owner.get("email") and f"<{owner['email']}>")
            if part
        )  # fmt: skip

    @cached_property
    def columns(self) -> Mapping[str, Mapping[str, Any]]:
        """Name -> column, in their order. Names differ by letter case as they are declared."""
        return {str(each["name"]): each for each in self.get("columns", ())}

    @cached_property
    def checks(self) -> Mapping[str, Mapping[str, Any]]:
        """Id -> check."""
        return {str(each["id"]): each for each in self.get("checks", ())}

    @property
    def grain(self) -> Sequence[str]:
        """The columns that identify one row."""
        return tuple(self.get("grain.columns", ()))

    @property
    def keeps_builds(self) -> bool:
        """Whether it keeps what was added with format 2; see `FORMAT`."""
        return int(self.get("format", 1)) > 1

    @property
    def of_later_builds(self) -> Contract:
        """The contract with the SQL of later builds in place of the first one's."""
        models = dict(self.get("models", {}))
        for name, sql in self.get("later_builds", {}).items():
            models[name] = {**models.get(name, {}), "sql": sql}
        return Contract({**self.document, "models": models})

    @property
    def sql(self) -> str:
        """The compiled SQL of the product's model, with the models that only it is made of."""
        model = str(self.document.get("model", ""))
        return str((self.get("models", {}).get(model) or {}).get("sql", ""))


def accepted_by(checks: Iterable[Mapping[str, Any]]) -> list[Any] | None:
    """The values that all checks of one column accept; None if no check restricts them.

    Checks that are switched off, only warn or have a filter count only if there are no others.
    """
    lists = [each for each in checks if each.get("values")]
    strict = [
        each["values"]
        for each in lists
        if each.get("enabled", True)
        and not each.get("filter")
        and each.get("severity", "error") == "error"
    ]
    first, *others = strict or [each["values"] for each in lists] or [None]
    if first is None:
        return None
    return [value for value in first if all(str(value) in map(str, each) for each in others)]
