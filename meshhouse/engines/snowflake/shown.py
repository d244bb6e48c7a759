"""What readers of Snowflake see: generations become visible, and stop being visible.

Belongs here: carrying out what a commit of the ledger decided, and the generations that are kept.
Not here: the text of statements (publish.py), or the decision (runs/publication.py, ledger.py).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from meshhouse.engines.snowflake.database import SCHEMA, Database, hidden_name
from meshhouse.engines.snowflake.ledger import SnowflakeLedger
from meshhouse.engines.snowflake.publish import generation, show_statements, tag_statements
from meshhouse.engines.snowflake.session import Session, connect
from meshhouse.errors import MeshError, NotShown
from meshhouse.heads import publications_of
from meshhouse.repository import Domain, Product, Repository, undeclared

_LOG = logging.getLogger(__name__)
_KEPT_GENERATIONS = 3
"""Generations kept of each product: the published one, and earlier ones for rollbacks."""


class Shown:
    """What readers see of one environment."""

    def __init__(self, repository: Repository, database: Database) -> None:
        self._repository = repository
        self._database = database
        self._has_made_tags = False

    def show(self, relations: Sequence[str]) -> None:
        """Makes the recorded states of relations visible; the next run completes what fails.

        Raises:
            NotShown: something did not become visible.
        """
        failed: dict[str, str] = {}
        for relation in relations:
            if relation.partition(".")[0].endswith("_retired"):
                continue
            state, _ = self._database.properties(relation)
            try:
                if state is None:
                    self._hide(relation)
                else:
                    self.show_one(self._named(relation), state)
            except MeshError as error:  # the decision is recorded: the next run completes it
                failed[relation] = str(error)
        if failed:
            domain = next(iter(failed)).partition(".")[0]
            raise NotShown(
                f"{', '.join(failed)}: published, but not visible yet: "
                f"{' '.join(dict.fromkeys(failed.values()))} Correct this, then run `mesh run "
                f"{domain}` to make it visible."
            )

    def _hide(self, relation: str) -> None:
        """Drops what readers see of a retired product; its generations stay."""
        domain, _, name = relation.partition(".")
        session = connect(domain)
        session.tag(product=relation, step="retirement")
        shown = session.relation(self._database.stored(relation))
        session.execute(f"drop table if exists {shown}")
        if not self._database.environment and f"{domain}_shared" in self._database.schemas():
            session.execute(f"drop view if exists {session.name(f'{domain}_shared', name)}")
        self._database.mark_hidden(relation)

    def finish_publications(self, domain: Domain) -> None:
        """Completes publications that were interrupted after their decision was recorded.

        Raises:
            MeshError: a product of this domain cannot be made visible. Products of other domains
                only cause a warning.
        """
        if not self._database.has_states():
            return
        products = {
            name: product
            for each in self._repository.readings
            for product in each.products
            for name in product.relations
        }
        waiting = self._database.session.rows(
            f"select relation, state from {self._database.states_table} "
            "where relation <> '' and (shown is null or shown <> state)"
        )
        for relation, state in waiting:
            hidden = hidden_name(relation)
            name = hidden or relation
            product = products[name].called(name) if name in products else self._named(name)
            if product.domain not in self._repository.domain_names:
                continue  # a raw table
            try:
                if hidden is None:
                    self.show_one(product, int(state))
                elif hidden in self._database.states():  # something else has the name by now
                    self._database.mark_hidden(hidden)
                else:
                    self._hide(hidden)
            except MeshError as error:
                if product.domain == domain.name:
                    raise
                what = "published, but not visible" if hidden is None else "retired, but visible"
                _LOG.warning("%s is %s yet: %s", name, what, error)

    def _named(self, relation: str) -> Product:
        """The product that a relation shows, under that name, whether declared or not."""
        domain, _, name = relation.partition(".")
        if domain in self._repository.domain_names:
            declared = self._repository.reading(domain).product(name)
            if declared is not None:
                return declared.called(relation)
        return undeclared(relation)

    def show_one(self, product: Product, state: int) -> None:
        """Makes one state of a product visible, and drops generations that are not kept."""
        session = connect(product.domain)
        session.tag(product=product.relation, step="publication")
        # Only production's products are shared: an environment is for trying things out.
        self._database.ensure_schema(self._database.stored(product.domain))
        if product.shared and not self._database.environment:
            self._database.ensure_schema(f"{product.domain}_shared")
        owner = self._repository.reading(product.domain).owner(product)
        self.make_tags(session)
        environment = self._database.environment
        for statement in show_statements(session, product, state, owner, environment):
            session.execute(statement)
        marked = session.execute(
            f"update {self._database.states_table} set shown = ? where relation = ? and state = ?",
            state,
            product.relation,
            state,
        )
        if marked.rowcount == 0:  # another run published a newer state, which this one replaced
            newer, _ = self._database.properties(product.relation)
            if newer is not None:
                self.show_one(product, newer)
            return
        histories = publications_of(SnowflakeLedger(self._database), product.domain)
        published = [entry["snapshot_id"] for entry in histories.get(product.relation, ())]
        kept = {state, *list(dict.fromkeys(reversed(published)))[:_KEPT_GENERATIONS]}
        for old in self.generations(product.relation) - kept:
            if old < state:
                self.drop(product, old)

    def make_tags(self, session: Session) -> None:
        """Creates the tags once; all environments use production's."""
        if not self._has_made_tags:
            self._database.ensure_schema(SCHEMA)
            for statement in tag_statements(session):
                session.execute(statement)
            self._has_made_tags = True

    def generations(self, relation: str) -> set[int]:
        """Numbers of the generations of a product that are kept."""
        session = self._database.session
        domain, _, name = relation.partition(".")
        prefix = f"{name}__".upper()
        found = session.rows(
            f"select table_name from {session.name('information_schema', 'tables')} "
            "where table_schema = ? and startswith(table_name, ?)",
            self._database.stored(f"{domain}_generations").upper(),
            prefix,
        )
        numbers = (name.removeprefix(prefix) for (name,) in found)
        return {int(number) for number in numbers if number.isdecimal()}

    def drop(self, product: Product, state: int) -> None:
        """Drops a generation."""
        session = connect(product.domain)
        kept = session.relation(self._database.stored(generation(product, state)))
        session.execute(f"drop table if exists {kept}")
