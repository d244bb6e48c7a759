"""What consumers see of a domain's products, and who they are, for metadata in Dagster.

Belongs here: the current publication, contract, readers and deprecation of each product. Not here:
what a run changes (compatibility.py), or the events of a run (domain.py, results.py).
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from meshhouse.dagster.lineage import column_lineage, column_sources
from meshhouse.governance.contract import Contract
from meshhouse.governance.readers import Readers
from meshhouse.ledger import Head, Ledger
from meshhouse.repository import Domain, Product


class Consumers:
    """What consumers see of one domain. Reads the ledger once, at the first question."""

    def __init__(self, ledger: Ledger, domain: Domain) -> None:
        """Looks at a domain.

        Args:
            ledger: of the environment in use; what it did not publish is production's.
            domain: which one.
        """
        self._ledger = ledger
        self._domain = domain

    def head(self, product: Product) -> Head | None:
        """The current publication of a product; None if consumers see none."""
        found = self._current.get(product.relation)
        return found if found is not None and found.is_published else None

    def see(self, relation: str) -> str:
        """The current publication in words: `publication 3 of 2026-11-30 11:02 UTC, 10 rows`."""
        head = self._current.get(relation)
        if head is None or not head.is_published or head.published_at is None:
            return "nothing, for it was never published"
        rows = f"{head.rows:,} {'row' if head.rows == 1 else 'rows'}"
        return f"publication {head.number} of {head.published_at:%Y-%m-%d %H:%M} UTC, {rows}"

    def keep(self, relation: str) -> str:
        """What consumers have after a run that published nothing."""
        head = self._current.get(relation)
        if head is None or not head.is_published:
            return "consumers have nothing yet, for it was never published"
        return f"consumers keep {self.see(relation)}"

    def metadata(self, product: Product) -> dict[str, Any]:
        """Facts for the newest materialisation of a product."""
        head = self._current.get(product.relation)
        if head is None or not head.is_published:
            return {}
        found: dict[str, Any] = {
            "version": head.version,
            "publication": head.number,
            "contract": head.contract_hash or "none was stored",
        }
        if head.contract:
            contract = Contract.from_text(head.contract)
            if lineage := column_lineage(self._domain, contract):
                found["dagster/column_lineage"] = lineage
            found["columns come from"] = column_sources(product, contract)
            readers = self._readers(contract)
            found["consumers"] = len({each.partition(".")[0] for each in readers})
            if product.deprecation_date:
                found["deprecated until"] = product.deprecation_date
                found["still read by"] = ", ".join(readers) or "nobody that is known"
        return found

    def _readers(self, contract: Contract) -> list[str]:
        """The models of other domains that read a product, with their owners."""
        # Loads a parser of SQL, which takes 0.3 s: only for runs.
        from meshhouse.runs.gate import published_names

        hits = Readers.of(published_names(contract), self._contracts).whole()
        return [f"{hit.reader} of {hit.owner}" if hit.owner else hit.reader for hit in hits]

    @cached_property
    def _production(self) -> dict[str, Head]:
        return (self._ledger.production or self._ledger).heads()

    @cached_property
    def _current(self) -> dict[str, Head]:
        """Relation -> its head in this environment, or in production behind it."""
        if self._ledger.production is None:
            return self._production
        own = self._ledger.heads(self._domain.name)
        return {
            **self._production,
            **{relation: head for relation, head in own.items() if head.is_published},
        }

    @cached_property
    def _contracts(self) -> list[Contract]:
        heads = self._production.values()
        return [Contract.from_text(head.contract) for head in heads if head.contract]
