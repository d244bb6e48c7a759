"""The repository's declarations, read without dbt."""

from meshhouse.repository.model import (
    FORMATS,
    ROOT_DOMAIN,
    Column,
    CrossReference,
    Domain,
    Product,
    RawTable,
)
from meshhouse.repository.read import BrokenDomain, Repository, broken_because, unknown_product
from meshhouse.repository.yaml import DeclarationError, display_path, printable

__all__ = [
    "FORMATS",
    "ROOT_DOMAIN",
    "BrokenDomain",
    "Column",
    "CrossReference",
    "DeclarationError",
    "Domain",
    "Product",
    "RawTable",
    "Repository",
    "broken_because",
    "display_path",
    "printable",
    "unknown_product",
]
