"""The rules of `mesh check` about sinks.

Belongs here: what a declared sink must not receive, and what it lacks. Not here: the form of the
declaration (repository/sinks.py); the delivery refuses the same again (sinks/deliver.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from meshhouse.governance.clear import clear_columns
from meshhouse.lint.finding import Finding
from meshhouse.repository import Domain, Product, Repository, Sink


def sink_findings(repository: Repository, domain: Domain) -> Iterator[Finding]:
    """What is wrong with the sinks of a domain's products."""
    takers = {
        (sink.name, product.relation): None
        for each in repository.readings
        for product in each.products
        for sink in product.sinks
        if sink.kind != "python"
    }
    for product in domain.products:
        for sink in product.sinks:
            others = sorted(relation for name, relation in takers
                            if name == sink.name and relation != product.relation)  # fmt: skip
            for problem, remedy in _problems(repository, product, sink, others):
                yield Finding(product.path, sink.line, problem, remedy)


def _problems(
    repository: Repository, product: Product, sink: Sink, others: Iterable[str]
) -> Iterator[tuple[str, str]]:
    what = f"the sink `{sink.target}` of {product.relation}"
    if not product.grain:
        yield f"{what} needs a key, and the product has no grain.", "Declare `grain`."
    names = {each.name.lower() for each in product.columns}
    for key, listed in (("clear", sink.clear), ("without", sink.without)):
        for name in listed:
            if name.lower() not in names:
                yield f"`{key}` of {what} names `{name}`, which is not a column.", "Correct it."
    without = {each.lower() for each in sink.without}
    for name in product.grain:
        if name.lower() in without:
            yield f"{what} leaves out `{name}` of the grain, which is its key.", "Remove it."
    clear = clear_columns(product, ()) | {each.lower() for each in sink.clear}
    personal = [each.name for each in product.columns if each.name.lower() not in clear | without]
    if personal:
        yield (
            f"{what} would receive personal data: {', '.join(personal)}.",
            "Name in `clear` what it may have, as an agreement does, and in `without` the others.",
        )
    for other in others:
        yield f"{what} is also a sink of {other}.", "Give each product a separate one."
    if sink.kind == "python" and not (repository.root / sink.target).is_file():
        yield f"there is no file `{sink.target}`.", "Write it, or remove the sink."
