"""What the checks of a domain read: candidates and publications, beside each other.

Belongs here: which state of each relation an audit sees. Not here: the audit (meshhouse/audit/), or
what follows from it (steps.py, checking.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from meshhouse.audit import Readable
from meshhouse.engines import Candidate, Engine
from meshhouse.engines.protocol import PREVIOUS_SUFFIX, Reader
from meshhouse.repository import Domain, Repository


@contextmanager
def audit_view(
    repository: Repository,
    engine: Engine,
    domain: Domain,
    pins: Mapping[str, str],
    candidates: Sequence[Candidate],
) -> Iterator[tuple[Reader, Readable]]:
    """Opens a reader that sees candidates as consumers would, and all else as consumers do.

    Args:
        repository: where the domain is declared.
        engine: the target in use.
        domain: whose checks are evaluated.
        pins: relation -> state of everything that the domain reads.
        candidates: of its products; those without one are read as they are published.

    Yields:
        The reader, and which relations the checks may read.
    """
    visible = engine.visible()
    names = [name for each in domain.products for name in each.relations]
    own = {name: visible[name] for name in names if name in visible}
    staged = {name: each.staged.state for each in candidates for name in each.product.relations}
    before = {_before(name): name for name in staged}
    previous = {_before(name): state for name, state in own.items()}
    empty = {name: each for name, each in before.items() if each not in own}
    products = [product for each in repository.domains for product in each.products]
    known = {name for each in products for name in each.relations}
    readable = Readable(products, pins.keys() - known)
    states = {**pins, **own, **previous, **staged}
    with engine.reader(domain, states, empty) as reader:
        yield reader, readable


def _before(relation: str) -> str:
    """How checks call what is published of a product now."""
    return relation.replace(".", f"{PREVIOUS_SUFFIX}.")
