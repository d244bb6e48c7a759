"""What measuring the products of the demo costs, compared with publishing them.

Needs a mesh in which the demo ran (`make demo`). The cost of a publication is the time of each
domain's newest run that published, as the ledger has it.
"""

from __future__ import annotations

import time

from meshhouse.engines import engine
from meshhouse.governance.contract import Contract
from meshhouse.governance.statistics import measure
from meshhouse.repository import Domain, Product, Repository


def main() -> None:
    """Measures, and prints one line for each domain and one for all."""
    repository = Repository.find()
    chosen = engine(repository)
    runs = [each for each in chosen.ledger.entries("runs") if each["outcome"] == "published"]
    published = {
        each["domain"]: (each["finished_at"] - each["started_at"]).total_seconds() for each in runs
    }
    measured = {}
    for domain in repository.domains:
        if domain.name in published:
            measured[domain.name] = _seconds(repository, domain)
            ratio = measured[domain.name] / published[domain.name]
            print(
                f"{domain.name}: {measured[domain.name]:.2f} s of a run of "
                f"{published[domain.name]:.2f} s, ratio {ratio:.3f}"
            )
    total, whole = sum(measured.values()), sum(published.values())
    print(f"all: {total:.2f} s of {whole:.2f} s, ratio {total / whole:.3f}, aim at most 0.1")


def _seconds(repository: Repository, domain: Domain) -> float:
    chosen = engine(repository)
    states = chosen.states()
    seconds = 0.0
    for product in domain.products:
        with chosen.reader(domain, {product.relation: states[product.relation]}, {}) as reader:
            # A run has the connection anyway, for the checks.
            reader.rows(f"select count(*) as n from {product.relation}")
            started = time.perf_counter()
            measure(reader, product.relation, _contract(product))
            seconds += time.perf_counter() - started
    return seconds


def _contract(product: Product) -> Contract:
    columns = [{"name": each.name, "type": each.data_type} for each in product.columns]
    return Contract(
        {
            "product": product.relation,
            "relation": product.relation,
            "grain": {"columns": list(product.grain)},
            "columns": columns,
        }
    )


if __name__ == "__main__":
    main()
