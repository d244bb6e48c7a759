"""Reads what the repository declares (domains, topics, products), without dbt.

Belongs here: the only readers of the repository's YAML and of dbt's manifests. Not here:
judging what was read (lint/), or anything that has happened (ledger.py).
"""

from meshhouse.repository.domain import has_packages
from meshhouse.repository.model import (
    FORMATS,
    ROOT_DOMAIN,
    Column,
    CrossReference,
    Domain,
    Product,
    RawTable,
    Sink,
)
from meshhouse.repository.read import (
    BrokenDomain,
    Repository,
    broken_because,
    undeclared,
    unknown_product,
)
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
    "Sink",
    "broken_because",
    "display_path",
    "has_packages",
    "printable",
    "undeclared",
    "unknown_product",
]
