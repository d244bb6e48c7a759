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
from meshhouse.repository.read import Repository, unknown_product
from meshhouse.repository.yaml import DeclarationError, display_path

__all__ = [
    "FORMATS",
    "ROOT_DOMAIN",
    "Column",
    "CrossReference",
    "DeclarationError",
    "Domain",
    "Product",
    "RawTable",
    "Repository",
    "display_path",
    "unknown_product",
]
