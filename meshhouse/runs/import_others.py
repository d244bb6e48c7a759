"""What an imported project reads of other domains: one staging model for each product.

Belongs here: these models, and dependencies.yml. Not here: other references (import_project.py).
"""

from __future__ import annotations

from meshhouse.errors import MeshError
from meshhouse.repository import Product, Repository, display_path, unknown_product
from meshhouse.repository.foreign.edit import dumped, loaded
from meshhouse.runs.import_files import Files
from meshhouse.sql import quote


class OtherDomains:
    """Products of other domains, as the models of a project name them."""

    def __init__(self, mesh: Repository, files: Files) -> None:
        """Takes the mesh, and the files of the new domain."""
        self._mesh = mesh
        self._files = files
        self._products: dict[str, Product] = {}

    @property
    def domains(self) -> list[str]:
        """The domains that are read."""
        return sorted({each.domain for each in self._products.values()})

    def staged(self, reader: str, domain: str, model: str) -> str:
        """The name of the staging model that reads a product.

        Args:
            reader: the file that refers to it.
            domain: the other domain.
            model: the product.

        Raises:
            MeshError: there is no such domain or product.
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
        name = f"stg_{domain}__{model}"
        self._products[name] = product
        return name

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
                f"cast(null as {each.data_type}) as {quote(each.name)}" for each in product.columns
            )
            self._write(name, f"select {empty} where false\n")

    def read(self) -> list[str]:
        """Writes the models that read the products, and returns what to ask a person."""
        if not self._products:
            return []
        for name, product in self._products.items():
            listed = ",\n".join(f"    {each.name}" for each in product.columns)
            source = f"{{{{ ref('{product.domain}', '{product.model}') }}}}"
            self._write(name, f"select\n{listed}\nfrom {source}\n")
        path = self._files.folder / "dependencies.yml"
        content = loaded(self._files.read(path)) if path.is_file() else {}
        projects = [{"name": each} for each in self.domains]
        self._files.write(path, dumped({"projects": projects, **content}))
        relations = ", ".join(sorted({each.relation for each in self._products.values()}))
        return [f"It reads {relations} through models/staging/. Do their owners know?"]

    def _write(self, name: str, sql: str) -> None:
        self._files.write(self._files.folder / "models" / "staging" / f"{name}.sql", sql)
