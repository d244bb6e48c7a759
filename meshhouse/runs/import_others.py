"""What an imported project reads of other domains: one staging model for each product.

Belongs here: these models, and dependencies.yml. Not here: other references (import_project.py).
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from meshhouse.errors import MeshError
from meshhouse.repository import Domain, Product, Repository, display_path, unknown_product
from meshhouse.repository.foreign.calls import version_in
from meshhouse.repository.foreign.edit import dumped, loaded
from meshhouse.repository.foreign.products import sql_type
from meshhouse.repository.staging import column_sql
from meshhouse.runs.import_files import YAML, Files
from meshhouse.sql import quote


class OtherDomains:
    """Products of other domains, as the models of a project name them."""

    def __init__(self, mesh: Repository, files: Files) -> None:
        """Takes the mesh, and the files of the new domain."""
        self._mesh = mesh
        self._files = files
        self._products: dict[str, Product] = {}
        self._read: dict[str, tuple[str, str | None]] = {}
        """Staging model -> the product that it reads, and the version that was asked for."""

    @property
    def domains(self) -> list[str]:
        """The domains that are read."""
        return sorted({each.domain for each in self._products.values()})

    def staged(self, reader: str, domain: str, model: str, rest: str) -> str:
        """The name of the staging model that reads a product.

        Args:
            reader: the file that refers to it.
            domain: the other domain.
            model: the product.
            rest: what follows the model in the `ref`, such as `, v=1`.

        Raises:
            MeshError: there is no such domain, product or version.
        """
        if domain not in self._mesh.domain_names:
            raise MeshError(
                f"{display_path(self._files.project)}: {reader} reads ref('{domain}', '{model}'), "
                f"but there is neither a domain nor an installed package `{domain}`. Import that "
                "project first."
            )
        provider = self._mesh.reading(domain)
        product = provider.product(model)
        if product is None:
            raise MeshError(unknown_product(provider, model))
        try:
            version = version_in(rest)
        except ValueError:
            raise MeshError(
                f"{display_path(self._files.project)}: {reader} reads ref('{domain}', '{model}'"
                f"{rest}), and which version that is cannot be known. Write the number."
            ) from None
        if version is not None:
            product = self._version(reader, provider, product, version)
        return self._name(product, version)

    def _version(self, reader: str, provider: Domain, product: Product, version: str) -> Product:
        versions = [each for each in provider.products if each.model == product.model]
        for each in versions:
            if each.versioned and str(each.version) == version:
                return each
        known = ", ".join(str(each.version) for each in versions if each.versioned) or "none"
        raise MeshError(
            f"{display_path(self._files.project)}: {reader} reads version {version} of "
            f"{provider.name}.{product.model}, which is not published. Versions: {known}."
        )

    def _name(self, product: Product, version: str | None) -> str:
        """A name for the staging model of a product that nothing in the project has."""
        number = "" if version is None else f"_v{product.version}"
        known = next((k for k, v in self._read.items() if v == (product.relation, version)), None)
        if known is not None:
            return known
        wanted = name = f"stg_{product.domain}__{product.model}{number}"
        at = 1
        while name.lower() in self._taken:
            at += 1
            name = f"{wanted}_{at}"
        self._products[name] = product
        self._read[name] = (product.relation, version)
        self._taken.add(name.lower())
        return name

    @cached_property
    def _taken(self) -> set[str]:
        """Names, in lower case, of the models, seeds and snapshots of the project."""
        found = set()
        for folder in ("models", "seeds", "snapshots"):
            found |= {each.stem for each in self._files.below(folder, ".sql", ".py", ".csv")}
            for path in self._files.below(folder, *YAML):
                entries = loaded(self._files.read(path)).get(folder)
                for each in entries if isinstance(entries, list) else []:
                    if isinstance(each, dict):
                        found.add(str(each.get("name")))
        return {each.lower() for each in found}

    def stand_in(self) -> None:
        """Writes models without rows, for the trial build, which has no products."""
        dependencies = self._files.folder / "dependencies.yml"
        if dependencies.is_file():
            content = loaded(self._files.read(dependencies))
            content.pop("projects", None)
            if content:
                self._files.write(dependencies, dumped(content))
            else:
                dependencies.unlink()
        for name, product in self._products.items():
            empty = ", ".join(
                f"cast(null as {sql_type(each.data_type)}) as {quote(each.name)}"
                for each in product.columns
            )
            self._write(name, f"select {empty} where false\n", "x")

    def read(self) -> list[str]:
        """Writes the models that read the products, and returns what to ask a person."""
        if not self._products:
            return []
        for name, product in self._products.items():
            listed = ",\n".join(f"    {column_sql(each.name)}" for each in product.columns)
            number = f", v={product.version}" if self._read[name][1] is not None else ""
            source = f"{{{{ ref('{product.domain}', '{product.model}'{number}) }}}}"
            self._write(name, f"select\n{listed}\nfrom {source}\n", "w")
        path = self._files.folder / "dependencies.yml"
        content = loaded(self._files.read(path)) if path.is_file() else {}
        projects = [{"name": each} for each in self.domains]
        self._files.write(path, dumped({"projects": projects, **content}))
        relations = ", ".join(sorted({each.relation for each in self._products.values()}))
        return [f"It reads {relations} through models/staging/. Do their owners know?"]

    def _write(self, name: str, sql: str, mode: Literal["x", "w"]) -> None:
        """Writes a staging model; the first time, as a file that the project does not have."""
        path = self._files.folder / "models" / "staging" / f"{name}.sql"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open(mode, encoding="utf-8") as file:
            file.write(sql)
