"""Declares the products of an imported project.

Belongs here: writing their YAML and SQL, and what a person has to decide about them. Not here:
which models become products, and their content (repository/foreign/products.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from meshhouse.lint.columns import selected_columns
from meshhouse.lint.sql.dialects import dialect_in_use
from meshhouse.repository import printable
from meshhouse.repository.foreign.edit import (
    dumped,
    loaded,
    with_entries,
    with_setting,
    without_settings,
)
from meshhouse.repository.foreign.products import (
    NewProduct,
    chosen,
    entry_of,
    left_out_constraints,
    product_of,
    typed_sql,
)
from meshhouse.runs.import_files import Files
from meshhouse.runs.import_trial import Trial

_LONGEST_REASON = 300


class Products:
    """The products of one project."""

    def __init__(
        self, files: Files, group: str, project: str, trial: Trial, public: Collection[str]
    ) -> None:
        """Takes what is known.

        Args:
            files: of the new domain.
            group: the group that owns the products.
            project: the name that the project had.
            trial: what the trial build found.
            public: models that the project calls public.
        """
        self._public = set(public)
        self._files = files
        self._group = group
        self._project = project
        self._trial = trial
        self.declared: list[NewProduct] = []
        self.casts: list[str] = []
        """Products whose SQL got casts."""
        self.decisions: list[str] = []
        self._undescribed: list[str] = []

    def declare(self) -> None:
        """Declares every model that can be a product."""
        failures = self._trial.failures
        for model in chosen(self._trial.models, self._public):
            if model.name in failures:
                continue
            found = product_of(model, self._trial.columns.get(model.name))
            if isinstance(found, str):
                self.decisions.append(
                    f"`{model.name}` stays private: {found.rstrip('.')}. When that is settled, "
                    "declare it with `access: public`, `meta.grain` and typed columns."
                )
            else:
                self._declare(found)
        for model in self._trial.models:
            called = {model.name, Path(model.path).stem}
            if model.is_versioned and called & self._public:
                self.decisions.append(
                    f"`{model.name}` has versions and stays private. To publish them, give it "
                    "`access: public`, a contract, `meta.grain` and typed columns."
                )
        for name, reason in failures.items():
            private = ", and stays private, although the project calls it public"
            said = private if name in self._public else ""
            self.decisions.append(f"`{name}` does not build here{said}: {_shortened(reason)}")
        self.decisions += self._not_products()
        if self._undescribed:
            names = ", ".join(f"`{each}`" for each in self._undescribed)
            self.decisions.append(
                f"{names}: say in `description` what the product is, and what one row is."
            )
        if not self.declared:
            self.decisions.append(
                "No model became a product. Give one a contract and `access: public`: "
                "docs/guides/import-a-dbt-project.md shows how."
            )

    def _not_products(self) -> Iterator[str]:
        """A decision for each public model that can never be a product."""
        known = {each.name: each for each in self._trial.models}
        known |= {Path(each.path).stem: each for each in known.values() if each.is_versioned}
        for name in sorted(self._public - self._trial.failures.keys()):
            model = known.get(name)
            if model is None:
                yield (
                    f"`{name}` is public in the project, but dbt does not build it: it is disabled "
                    "or has no file. When it is built, declare it with `access: public`."
                )
            elif model.language != "sql":
                yield (
                    f"`{name}` stays private, because it is written in {model.language.title()}, "
                    "and dbt enforces no contract there. Publish a model in SQL that reads it."
                )
            elif model.is_time_spine:
                yield f"`{name}` stays private, because it is the time spine of metrics."

    def _declare(self, product: NewProduct) -> None:
        model = product.model
        sql_path = self._files.folder / model.path
        place = self._files.folder / model.declared_in if model.declared_in else None
        text = self._files.read(place) if place else ""
        entries = [each for each in loaded(text).get("models") or [] if isinstance(each, dict)]
        before = next((each for each in entries if each.get("name") == model.name), None)
        said = f"`{model.name}` of the dbt project {self._project}. Not described yet."
        entry, strangers = entry_of(product, before, self._group, said, self._trial.reserved)
        if place and place.parent == sql_path.parent:
            self._files.write(place, with_entries(text, "models", {model.name: entry}))
        else:
            if place:
                self._remove(place, text, model.name)
            self._declare_beside(sql_path, entry)
        self._give_types(product, sql_path)
        if entry["description"] == said:
            self._undescribed.append(model.name)
        if constraints := left_out_constraints(before):
            self.decisions.append(
                f"Constraints of `{model.name}` were left out: {', '.join(constraints)}. "
                "Tests such as `relationships` check the same on every target."
            )
        if strangers:
            names = ", ".join(f"`{each}`" for each in strangers)
            self.decisions.append(
                f"The YAML of `{model.name}` described {names}, which its SQL does not select; "
                "that was left out."
            )
        self.declared.append(product)

    def _remove(self, place: Path, text: str, name: str) -> None:
        """Removes the entry of a model from a file in another folder."""
        rest = with_entries(text, "models", {name: None})
        if loaded(rest).keys() - {"version"}:
            self._files.write(place, rest)
        else:
            place.unlink()

    def _declare_beside(self, sql_path: Path, entry: Mapping[str, Any]) -> None:
        """Writes a product's YAML, into the file of its name if that declares no model yet."""
        own = sql_path.with_suffix(".yml")
        text = dumped({"models": [entry]})
        if own.exists():
            before = self._files.read(own)
            joined = f"{text}\n{before.removeprefix('---').lstrip()}"
            content = loaded(before)
            if "models" not in content and loaded(joined) == {"models": [entry], **content}:
                self._files.write(own, joined)
                return
            own = own.with_name(f"{own.stem}__product.yml")
        self._files.write(own, text)

    def _give_types(self, product: NewProduct, path: Path) -> None:
        """Changes a model's SQL where a contract could not hold what it selects."""
        model = product.model
        sql = before = self._files.read(path)
        if model.materialized not in ("table", "incremental"):
            sql = with_setting(sql, "materialized", "table")
        if model.relation != model.name:
            sql = without_settings(sql, ("alias",))
        # `mesh check` refuses a product that selects `*`.
        if product.casts or selected_columns(path, dialect_in_use().sqlglot)[1]:
            sql = typed_sql(sql, product.columns, self._trial.reserved)
            self.casts.append(model.name)
        if sql != before:
            self._files.write(path, sql)


def _shortened(text: str) -> str:
    text = printable(text)
    return text if len(text) < _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."
