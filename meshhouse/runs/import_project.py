"""`mesh import`: an existing dbt project becomes a domain.

Belongs here: the order of the steps, and the files that are written. Not here: decisions about
their content (repository/foreign/), the trial build (import_trial.py), or printing (cli/).

Everything happens in `domains/.importing`, which no command takes for a domain. One rename at the
end makes it a domain, so a failed or killed import leaves none. The next one removes the rest.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meshhouse.dbt.packages import install_packages
from meshhouse.errors import MeshError, UsageError
from meshhouse.files import sync
from meshhouse.lint.columns import selected_columns
from meshhouse.lint.hidden import hidden_findings
from meshhouse.lint.rules import check_domain
from meshhouse.lint.sql.dialects import dialect_in_use
from meshhouse.locks import lock
from meshhouse.repository import Repository, display_path, printable, unknown_product
from meshhouse.repository.foreign import calls
from meshhouse.repository.foreign.columns import columns_read
from meshhouse.repository.foreign.copy import copy_project
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
    product_of,
    typed_sql,
)
from meshhouse.repository.foreign.project import ForeignProject, read_foreign
from meshhouse.repository.foreign.properties import cleaned_sql, cleaned_yaml, without_sources
from meshhouse.repository.foreign.settings import domain_settings, dropped_settings
from meshhouse.repository.foreign.sources import SourcePlan, plan_sources, topics_file
from meshhouse.repository.names import bad_domain
from meshhouse.runs.import_trial import Trial, trial_repository, try_build
from meshhouse.sql import quote

_STAGE = ".importing"
_FINDINGS = 10
"""Most findings of `mesh check` that are listed."""
_YAML = (".yml", ".yaml")
_CODE = (".sql", ".py", *_YAML)


@dataclass
class Imported:
    """A domain that was made of a dbt project."""

    domain: str
    folder: Path
    products: list[NewProduct] = field(default_factory=list)
    seeds: Mapping[str, list[str]] = field(default_factory=dict)
    """Source -> the seeds that its tables have become."""
    topics: list[str] = field(default_factory=list)
    casts: list[str] = field(default_factory=list)
    """Products whose SQL got casts."""
    decisions: list[str] = field(default_factory=list)
    """What a person has to decide, a sentence or two each."""


def import_project(
    repository: Repository, path: Path, domain: str | None, owner: tuple[str, str] | None
) -> Imported:
    """Makes a dbt project a domain of this mesh; the project itself is not changed.

    Args:
        repository: the mesh.
        path: the folder of the project.
        domain: the name of the new domain; None for the project's name.
        owner: name and e-mail address of the team that owns it.

    Raises:
        UsageError: the project cannot be read, or the domain exists already.
        MeshError: dbt cannot read the project as a domain.
    """
    project = read_foreign(path.resolve())
    name = domain or project.name
    folder = _free_folder(repository, project, name)
    stage = repository.root / "domains" / _STAGE
    with lock(repository.workspace / "locks" / "import"):
        shutil.rmtree(stage, ignore_errors=True)
        try:
            done = _explained(_Import(repository, project, name, owner, stage), folder)
            if folder.exists():
                raise UsageError(f"{display_path(folder)} exists already; nothing was imported.")
            os.rename(stage / "domains" / name, folder)  # noqa: PTH104 - atomic, refuses a folder
            sync(folder.parent)
            return done
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def _explained(work: _Import, folder: Path) -> Imported:
    """Runs an import; messages name the project instead of its copy."""
    try:
        return work.run(folder)
    except UsageError:
        raise
    except MeshError as error:
        said = work.named(str(error))
        raise MeshError(f"{said.rstrip('.')}. Nothing was imported.") from error


def _free_folder(repository: Repository, project: ForeignProject, name: str) -> Path:
    if problem := bad_domain(name):
        raise UsageError(f"{problem} Give another name with `--as`.")
    folder = repository.root / "domains" / name
    if name in repository.domain_names or folder.exists() or folder.is_symlink():
        raise UsageError(
            f"{display_path(folder)} exists already, and an import overwrites nothing. Give "
            "another name with `--as`, or remove that domain."
        )
    inside = repository.root / "domains"
    if project.path == repository.root or inside in project.path.parents:
        raise UsageError(f"{display_path(project.path)} is a domain of this mesh already.")
    if project.path in repository.root.parents:
        raise UsageError(
            f"{display_path(project.path)} contains this mesh, which would be copied into itself. "
            "Move one of them."
        )
    return folder


class _Import:
    """One import, in its folder."""

    def __init__(
        self,
        repository: Repository,
        project: ForeignProject,
        name: str,
        owner: tuple[str, str] | None,
        stage: Path,
    ) -> None:
        self._mesh = repository
        self._project = project
        self._name = name
        self._owner = owner
        self._stage = stage
        self._folder = stage / "domains" / name
        self._others: dict[str, tuple[str, str]] = {}
        """Staging model -> domain and product that it reads."""
        self._undescribed: list[str] = []

    def named(self, text: str) -> str:
        """A message in which the copy has the path of the project."""
        for copy in (display_path(self._folder), str(self._folder)):
            text = text.replace(copy, display_path(self._project.path))
        return text

    def run(self, folder: Path) -> Imported:
        done = Imported(self._name, folder)
        with trial_repository(self._mesh.root, self._stage) as apart:
            done.decisions += copy_project(self._project, self._folder)
            plan = self._sources(done)
            self._settings(plan, done)
            install_packages(apart, self._name)
            self._rewrite(plan, done)
            self._group(done)
            self._stand_in()
            trial = try_build(apart, self._name, _raw_columns(plan))
            self._read_others(done)
            self._products(trial, done)
            self._verify(Repository(self._stage), done)
            for leftover in ("target", "logs", "dbt_packages/.user.yml"):
                shutil.rmtree(self._folder / leftover, ignore_errors=True)
        return done

    # Steps

    def _sources(self, done: Imported) -> SourcePlan:
        declared: list[Mapping[str, Any]] = []
        for path in _files(self._folder / "models", _YAML):
            text, found = without_sources(_read(path))
            if found:
                declared += found
                _write(path, text)
        sql = [_read(path) for path in _files(self._folder / "models", (".sql",))]
        dialect = self._project.adapter
        plan = plan_sources(self._project, self._name, declared, columns_read(sql, dialect))
        if plan.topics:
            content = dumped(topics_file(self._name, plan.topics))
            _write(self._new_file("models/topics.yml"), content)
        if plan.seed_entries:
            self._describe_seeds(plan)
        done.seeds, done.topics = plan.seeds, list(plan.topics)
        done.decisions += plan.decisions
        return plan

    def _describe_seeds(self, plan: SourcePlan) -> None:
        """Keeps what sources said about tables that are seeds now, unless the seed has its own."""
        known = {
            str(each.get("name"))
            for folder in ("seeds", "models")
            for path in _files(self._folder / folder, _YAML)
            for each in loaded(_read(path)).get("seeds") or []
        }
        entries = [entry for seed, entry in plan.seed_entries.items() if seed not in known]
        if entries:
            _write(self._new_file("seeds/sources.yml"), dumped({"seeds": entries}))

    def _rewrite(self, plan: SourcePlan, done: Imported) -> None:
        removed: set[str] = set()
        for path in _files(self._folder, _CODE):
            if self._folder / "dbt_packages" in path.parents:
                continue
            before = _read(path)
            text, names = self._rewritten(path, before, plan)
            removed |= set(names)
            if text != before:
                if text.strip():
                    _write(path, text)
                else:
                    path.unlink()
        if removed:
            names = ", ".join(f"`{each}`" for each in sorted(removed))
            done.decisions.append(
                f"The project's own {names} was left out: the mesh decides where tables are. "
                f"Everything is built in `{self._name}_build`."
            )

    def _rewritten(self, path: Path, text: str, plan: SourcePlan) -> tuple[str, list[str]]:
        """A file as the domain has it, and the names of the macros that were left out."""
        removed: list[str] = []
        if self._folder / "macros" in path.parents:
            text, removed = calls.without_own_macros(text)
        text = calls.with_sources(text, plan.calls)
        text = calls.with_refs(text, lambda project, model: self._ref(path, project, model))
        text = calls.with_project_name(text, self._project.name, self._name)
        if path.suffix == ".sql":
            text = cleaned_sql(text)
        elif path.suffix in _YAML:
            text = cleaned_yaml(text, self._project.adapter)
        return text, removed

    def _ref(self, path: Path, project: str, model: str) -> str | None:
        """The call that replaces `ref('project', 'model')`; None if it stays."""
        if project == self._project.name:
            return f"ref('{model}')"
        packages = {each.name for each in (self._folder / "dbt_packages").glob("*")}
        if project in packages:
            return None
        if project not in self._mesh.domain_names:
            raise MeshError(
                f"{display_path(self._project.path)}: {path.name} reads ref('{project}', "
                f"'{model}'), but there is neither a domain nor an installed package "
                f"`{project}`. Import that project first."
            )
        return f"ref('{self._staged(project, model)}')"

    # Products of other domains

    def _staged(self, domain: str, model: str) -> str:
        """The name of the staging model that reads another domain's product."""
        product = self._mesh.reading(domain).product(model)
        if product is None:
            raise MeshError(unknown_product(self._mesh.reading(domain), model))
        name = f"stg_{domain}__{model}"
        self._others[name] = (domain, model)
        return name

    def _stand_in(self) -> None:
        """Writes staging models without rows for the trial build, which has no products."""
        dependencies = self._folder / "dependencies.yml"
        if dependencies.is_file():
            content = loaded(_read(dependencies))
            content.pop("projects", None)
            _write(dependencies, dumped(content)) if content else dependencies.unlink()
        for name, (domain, model) in self._others.items():
            columns = self._columns_of(domain, model)
            empty = ", ".join(f"cast(null as {kind}) as {quote(one)}" for one, kind in columns)
            _write(self._staging_path(name), f"select {empty} where false\n")

    def _read_others(self, done: Imported) -> None:
        """Writes the staging models, and names their domains in dependencies.yml."""
        if not self._others:
            return
        for name, (domain, model) in self._others.items():
            listed = ",\n".join(f"    {one}" for one, _ in self._columns_of(domain, model))
            _write(
                self._staging_path(name),
                f"select\n{listed}\nfrom {{{{ ref('{domain}', '{model}') }}}}\n",
            )
        path = self._folder / "dependencies.yml"
        content = loaded(_read(path)) if path.is_file() else {}
        domains = sorted({domain for domain, _ in self._others.values()})
        _write(path, dumped({"projects": [{"name": each} for each in domains], **content}))
        read = ", ".join(sorted(f"{domain}.{model}" for domain, model in self._others.values()))
        done.decisions.append(
            f"It reads {read} of other domains through models/staging/. Do their owners know?"
        )

    def _columns_of(self, domain: str, model: str) -> list[tuple[str, str]]:
        product = self._mesh.reading(domain).product(model)
        assert product is not None
        return [(each.name, each.data_type) for each in product.columns]

    def _staging_path(self, name: str) -> Path:
        return self._folder / "models" / "staging" / f"{name}.sql"

    def _group(self, done: Imported) -> None:
        name, email = self._owner or (f"{self._name} team", f"{self._name}@example.com")
        group = {"name": self._name, "owner": {"name": name, "email": email}}
        _write(self._new_file("models/domain.yml"), dumped({"groups": [group]}))
        if self._owner is None:
            done.decisions.append(
                "Who owns the domain? models/domain.yml has a placeholder: write the team's name "
                "and e-mail address."
            )

    def _settings(self, plan: SourcePlan, done: Imported) -> None:
        seeds = [each for names in plan.seeds.values() for each in names]
        content = dumped(domain_settings(self._project, self._name, seeds))
        _write(self._folder / "dbt_project.yml", content)
        done.decisions += dropped_settings(self._project)

    def _products(self, trial: Trial, done: Imported) -> None:
        failed = dict(trial.failures)
        for model in chosen(trial.models):
            if model.name in failed:
                continue
            found = product_of(model, trial.columns.get(model.name))
            if isinstance(found, str):
                done.decisions.append(
                    f"`{model.name}` stays private: {found}. When that is settled, declare it "
                    "with `access: public`, `meta.grain` and typed columns."
                )
            else:
                self._declare(found, trial, done)
        for name, reason in failed.items():
            done.decisions.append(f"`{name}` does not build here: {_shortened(reason)}")
        if self._undescribed:
            names = ", ".join(f"`{each}`" for each in self._undescribed)
            done.decisions.append(
                f"{names}: say in `description` what the product is, and what one row is."
            )
        if not done.products:
            done.decisions.append(
                "No model became a product. Give one a contract and `access: public`: "
                "docs/guides/import-a-dbt-project.md shows how."
            )

    def _declare(self, product: NewProduct, trial: Trial, done: Imported) -> None:
        model = product.model
        sql_path = self._folder / model.path
        place = self._folder / model.declared_in if model.declared_in else None
        text = _read(place) if place else ""
        entries = [each for each in loaded(text).get("models") or [] if isinstance(each, dict)]
        before = next((each for each in entries if each.get("name") == model.name), None)
        said = f"`{model.name}` of the dbt project {self._project.name}. Not described yet."
        entry, strangers = entry_of(product, before, self._name, said, trial.reserved)
        if place and place.parent == sql_path.parent:
            _write(place, with_entries(text, "models", {model.name: entry}))
        else:
            if place:
                rest = with_entries(text, "models", {model.name: None})
                _write(place, rest) if loaded(rest).keys() - {"version"} else place.unlink()
            self._declare_beside(sql_path, entry)
        sql = before_sql = _read(sql_path)
        if model.materialized not in ("table", "incremental"):
            sql = with_setting(sql, "materialized", "table")
        if model.relation != model.name:
            sql = without_settings(sql, ("alias",))
        if product.casts or selected_columns(sql_path, dialect_in_use().sqlglot)[1]:
            sql = typed_sql(sql, product.columns, trial.reserved)
            done.casts.append(model.name)
        if sql != before_sql:
            _write(sql_path, sql)
        if entry["description"] == said:
            self._undescribed.append(model.name)
        if strangers:
            names = ", ".join(f"`{each}`" for each in strangers)
            done.decisions.append(
                f"The YAML of `{model.name}` described {names}, which its SQL does not select; "
                "that was left out."
            )
        done.products.append(product)

    def _declare_beside(self, sql_path: Path, entry: Mapping[str, Any]) -> None:
        """Writes a product's YAML, into the file of its name if that declares no model yet."""
        own = sql_path.with_suffix(".yml")
        text = dumped({"models": [entry]})
        if own.exists():
            before = _read(own)
            joined = f"{text}\n{before.removeprefix('---').lstrip()}"
            content = loaded(before)
            if "models" not in content and loaded(joined) == {"models": [entry], **content}:
                _write(own, joined)
                return
            own = own.with_name(f"{own.stem}__product.yml")
        _write(own, text)

    def _verify(self, apart: Repository, done: Imported) -> None:
        """Adds what `mesh check` finds to the decisions.

        Raises:
            MeshError: the mesh cannot read the domain.
        """
        domain = apart.reading(self._name)
        if domain.problems:
            raise MeshError(
                f"{display_path(self._project.path)} cannot become a domain as it is: "
                f"{domain.problems[0]}"
            )
        findings = sorted({*check_domain(apart, domain), *hidden_findings(apart, domain)})
        for each in findings[:_FINDINGS]:
            place = f"{each.path.relative_to(self._folder)}:{each.line}"
            done.decisions.append(f"`mesh check`: {place}: {each.problem} {each.remedy}".rstrip())
        if len(findings) > _FINDINGS:
            done.decisions.append(
                f"`mesh check` finds {len(findings) - _FINDINGS} more; most are rules of this "
                "mesh (policies.yml)."
            )

    # Files

    def _new_file(self, name: str) -> Path:
        """A file that the project does not have; another name if it has this one."""
        path = self._folder / name
        while path.exists():
            path = path.with_name(f"mesh_{path.name}")
        return path


def _raw_columns(plan: SourcePlan) -> dict[str, dict[str, str]]:
    return {
        name: {each["name"]: each["data_type"] for each in entry["columns"]}
        for name, entry in plan.topics.items()
    }


def _files(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    endings = tuple(suffixes)
    return sorted(each for each in folder.rglob("*") if each.suffix in endings and each.is_file())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise MeshError(f"{path.name} is not UTF-8 text. Save it as UTF-8.") from error


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _shortened(text: str) -> str:
    text = printable(text)
    return text if len(text) < 300 else f"{text[:300]}..."
