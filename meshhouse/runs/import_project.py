"""`mesh import`: an existing dbt project becomes a domain.

Belongs here: the order of the steps, and the files that are written. Not here: decisions about
their content (repository/foreign/), the trial build (import_trial.py), or printing (cli/).

Everything happens in `domains/.importing`, which no command takes for a domain. One rename at the
end makes it a domain, so a failed or killed import leaves none. The next one removes the rest.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from meshhouse import dbt
from meshhouse.dbt.ignored import ignored_by_dbt
from meshhouse.dbt.packages import install_packages
from meshhouse.errors import MeshError, UsageError
from meshhouse.files import sync
from meshhouse.lint.hidden import hidden_findings
from meshhouse.lint.rules import check_domain
from meshhouse.locks import lock
from meshhouse.repository import Repository, display_path
from meshhouse.repository.folders import settings_of_folders
from meshhouse.repository.foreign import calls
from meshhouse.repository.foreign.columns import columns_read
from meshhouse.repository.foreign.copy import copy_project
from meshhouse.repository.foreign.edit import (
    dumped,
    loaded,
    with_entries,
)
from meshhouse.repository.foreign.products import (
    NewProduct,
)
from meshhouse.repository.foreign.project import ForeignProject, read_foreign
from meshhouse.repository.foreign.properties import (
    access_in_yaml,
    cleaned_python,
    cleaned_sql,
    cleaned_yaml,
    is_public_in_python,
    is_public_in_sql,
    without_sources,
)
from meshhouse.repository.foreign.said import merged
from meshhouse.repository.foreign.settings import domain_settings, dropped_settings
from meshhouse.repository.foreign.sources import SourcePlan, plan_sources, topics_file
from meshhouse.repository.names import bad_domain
from meshhouse.runs.import_files import CODE, PACKAGES, YAML, Files
from meshhouse.runs.import_others import OtherDomains
from meshhouse.runs.import_products import Products
from meshhouse.runs.import_trial import trial_repository, try_build
from meshhouse.runs.import_waivers import waive_what_is_missing

_STAGE = ".importing"
_FINDINGS = 10
"""Most findings of `mesh check` that are listed."""


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
    repository: Repository,
    path: Path,
    domain: str | None,
    owner: tuple[str, str] | None,
    say: Callable[[str], None] = lambda line: None,
) -> Imported:
    """Makes a dbt project a domain of this mesh; the project itself is not changed.

    Args:
        repository: the mesh.
        path: the folder of the project.
        domain: the name of the new domain; None for the project's name.
        owner: name and e-mail address of the team that owns it.
        say: receives one line if another import has to end first.

    Raises:
        UsageError: the project cannot be read, or the domain exists already.
        MeshError: dbt cannot read the project as a domain.
    """
    project = read_foreign(path.resolve(), ignored_by_dbt(path.resolve()))
    name = domain or project.name
    folder = _free_folder(repository, project, name)
    stage = repository.root / "domains" / _STAGE
    # Workspaces differ between environments, `domains/` does not: the lock belongs to the root.
    place = repository.root / ".mesh" / "locks" / "import"
    with lock(place, lambda holder: say(f"waiting for another import (process {holder})")):
        _free_folder(repository, project, name)  # the other one may have taken it
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
    except MeshError as error:
        kind = UsageError if isinstance(error, UsageError) else MeshError
        said = work.files.named(str(error)).rstrip(".")
        raise kind(f"{said}. Nothing was imported.") from error


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
        self.files = Files(stage / "domains" / name, project.path)
        self._others = OtherDomains(repository, self.files)
        self._group_name = name
        self._access: dict[str, bool] = {}
        """Model -> whether the project calls it public, where it says so."""

    def run(self, folder: Path) -> Imported:
        """Makes the domain in the folder of the import.

        Args:
            folder: where the domain will be.

        Raises:
            MeshError: the project cannot become a domain.
        """
        done = Imported(self._name, folder)
        with trial_repository(self._mesh.root, self._stage) as apart:
            done.decisions += copy_project(self._project, self.files.folder)
            plan = self._sources(done)
            self._settings(plan, done)
            install_packages(apart, self._name)
            self._rewrite(plan, done)
            self._group(done)
            self._others.stand_in()
            trial = try_build(apart, self._name, _raw_columns(plan))
            public = {name for name, is_public in self._access.items() if is_public}
            products = Products(self.files, self._group_name, self._project.name, trial, public)
            products.declare()
            # What was declared might not fit, such as a private model that a product reads.
            dbt.parse(apart, self._name)
            done.decisions += self._others.read()
            done.products, done.casts = products.declared, products.casts
            done.decisions += products.decisions
            self._verify(done)
            for leftover in ("target", "logs"):
                shutil.rmtree(self.files.folder / leftover, ignore_errors=True)
        return done

    # Steps

    def _sources(self, done: Imported) -> SourcePlan:
        declared: list[Mapping[str, Any]] = []
        for path in self.files.below("models", *YAML):
            text, found = without_sources(self.files.read(path))
            if found:
                declared += found
                self.files.write(path, text)
        sql = [self.files.read(path) for path in self.files.below("models", ".sql")]
        dialect = self._project.adapter
        plan = plan_sources(self._project, self._name, declared, columns_read(sql, dialect))
        if plan.topics:
            content = dumped(topics_file(self._name, plan))
            self.files.write(self.files.new("models/topics.yml"), content)
        if plan.seed_entries:
            self._describe_seeds(plan)
        done.seeds, done.topics = plan.seeds, list(plan.topics)
        done.decisions += plan.decisions
        return plan

    def _describe_seeds(self, plan: SourcePlan) -> None:
        """Keeps what sources said about tables that are seeds now, in the entry of the seed."""
        missing = dict(plan.seed_entries)
        for folder in ("seeds", "models"):
            for path in self.files.below(folder, *YAML):
                text = self.files.read(path)
                entries = loaded(text).get("seeds")
                own = {
                    str(each["name"]): merged(each, missing.pop(str(each["name"])))
                    for each in (entries if isinstance(entries, list) else [])
                    if isinstance(each, dict) and str(each.get("name")) in missing
                }
                if own:
                    self.files.write(path, with_entries(text, "seeds", own))
        if missing:
            content = dumped({"seeds": list(missing.values())})
            self.files.write(self.files.new("seeds/sources.yml"), content)

    def _rewrite(self, plan: SourcePlan, done: Imported) -> None:
        removed: set[str] = set()
        for path in self.files.below(".", *CODE):
            before = self.files.read(path)
            self._note_access(path, before)
            text, names = self._rewritten(path, before, plan)
            removed |= set(names)
            if text != before:
                if text.strip():
                    self.files.write(path, text)
                else:
                    path.unlink()
        if removed:
            names = ", ".join(f"`{each}`" for each in sorted(removed))
            done.decisions.append(
                f"The project's own {names} was left out: the mesh decides where tables are. "
                f"Everything is built in `{self._name}_build`."
            )

    def _note_access(self, path: Path, text: str) -> None:
        """Notes which models a file calls public. They become public again as products."""
        if self.files.folder / "models" not in path.parents:
            return
        if path.suffix in YAML:
            self._access |= access_in_yaml(text)
        below = path.relative_to(self.files.folder).with_suffix("")
        folder = settings_of_folders(
            self._project.settings, self._project.name, Path("models"), below
        )
        in_code = is_public_in_sql(text) if path.suffix == ".sql" else is_public_in_python(text)
        if path.suffix in (".sql", ".py") and (in_code or folder.get("access") == "public"):
            self._access.setdefault(path.stem, True)

    def _rewritten(self, path: Path, text: str, plan: SourcePlan) -> tuple[str, list[str]]:
        """A file as the domain has it, and the names of the macros that were left out."""
        removed: list[str] = []
        if self.files.folder / "macros" in path.parents:
            text, removed = calls.without_own_macros(text)
        text = calls.with_sources(text, plan.calls)
        text = calls.with_refs(text, lambda *named: self._ref(path, *named))
        text = calls.with_project_name(text, self._project.name, self._name)
        if path.suffix == ".sql":
            text = cleaned_sql(text)
        elif path.suffix == ".py":
            text = cleaned_python(text)
        elif path.suffix in YAML:
            text = cleaned_yaml(text, self._project.adapter)
        return text, removed

    def _ref(self, path: Path, project: str, model: str, rest: str) -> str | None:
        """The call that replaces `ref('project', 'model' rest)`; None if it stays."""
        if project == self._project.name:
            return f"ref('{model}'{rest})"
        if (self.files.folder / PACKAGES / project).is_dir():
            return None
        return f"ref('{self._others.staged(path.name, project, model, rest)}')"

    def _group(self, done: Imported) -> None:
        own = self._own_group()
        if own is not None:
            name, place = own
            self._group_name = name
            if self._owner is not None:
                done.decisions.append(
                    f"`--owner` was not written: the project has the group `{name}` in {place}, "
                    "and its owner stays. Is that the owner of the domain?"
                )
            return
        name, email = self._owned_by
        group = {"name": self._name, "owner": {"name": name, "email": email}}
        self.files.write(self.files.new("models/domain.yml"), dumped({"groups": [group]}))
        if self._owner is None:
            done.decisions.append(
                "Who owns the domain? models/domain.yml has a placeholder: write the team's name "
                "and e-mail address."
            )

    def _own_group(self) -> tuple[str, str] | None:
        """A group of the project that is called like the domain, and the file that declares it."""
        for path in self.files.below(".", *YAML):
            entries = loaded(self.files.read(path)).get("groups")
            for each in entries if isinstance(entries, list) else []:
                name = str(each.get("name")) if isinstance(each, dict) else ""
                if name.lower() == self._name:
                    return name, str(path.relative_to(self.files.folder))
        return None

    @property
    def _owned_by(self) -> tuple[str, str]:
        """Name and address of the owner, or placeholders."""
        return self._owner or (f"{self._name} team", f"{self._name}@example.com")

    def _settings(self, plan: SourcePlan, done: Imported) -> None:
        seeds = [each for names in plan.seeds.values() for each in names]
        content = dumped(domain_settings(self._project, self._name, seeds))
        self.files.write(self.files.folder / "dbt_project.yml", content)
        done.decisions += dropped_settings(self._project)

    def _verify(self, done: Imported) -> None:
        """Adds what `mesh check` finds to the decisions.

        Raises:
            MeshError: the mesh cannot read the domain.
        """
        for other in self._others.domains:
            (self._stage / "domains" / other).symlink_to(self._mesh.folder(other))
        apart = Repository(self._stage)
        domain = apart.reading(self._name)
        if domain.problems:
            raise MeshError(
                f"{display_path(self._project.path)} cannot become a domain as it is: "
                f"{domain.problems[0]}"
            )
        owner = "{} <{}>".format(*self._owned_by)
        today = datetime.now(UTC).date()
        done.decisions += waive_what_is_missing(apart, domain, owner, self._project.name, today)
        found = {*check_domain(apart, domain), *hidden_findings(apart, domain)}
        findings = sorted(each for each in found if not each.is_warning)
        for each in findings[:_FINDINGS]:
            place = f"{each.path.relative_to(self.files.folder)}:{each.line}"
            done.decisions.append(f"`mesh check`: {place}: {each.problem} {each.remedy}".rstrip())
        if len(findings) > _FINDINGS:
            done.decisions.append(f"`mesh check` finds {len(findings) - _FINDINGS} more.")


def _raw_columns(plan: SourcePlan) -> dict[str, dict[str, str]]:
    return {
        name: {each["name"]: each["data_type"] for each in entry["columns"]}
        for name, entry in plan.topics.items()
    }
