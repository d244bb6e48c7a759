"""Column lineage of compiled SQL, without a warehouse.

Belongs here: which columns a query reads, into which columns and how, and the roots of a product's
columns. Not here: who reads what across the mesh (../readers.py).

One walk over a query finds the lineage of all its columns (queries.py). Each column carries a
`Flow`: the columns of base relations that reach it. sqlglot only parses: its own lineage works on
one column at a time, stops at ambiguous names, and does not say how a column is used.
"""

from meshhouse.governance.lineage.domain import domain_of
from meshhouse.governance.lineage.reads import reads_of
from meshhouse.governance.lineage.requalify import bare_names_of, requalify
from meshhouse.governance.lineage.roots import roots_of
from meshhouse.governance.lineage.steps import ColumnStep, ModelSteps, steps_of
from meshhouse.governance.lineage.through import reads_through

__all__ = [
    "ColumnStep",
    "ModelSteps",
    "bare_names_of",
    "domain_of",
    "reads_of",
    "reads_through",
    "requalify",
    "roots_of",
    "steps_of",
]
