"""The page of a product's columns: where the values of each come from, and where they go.

Belongs here: one trace as a drawing and as steps. Not here: finding traces (traces.py), or markup
(templates/columns.html).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from markupsafe import Markup

from meshhouse.catalog import paths
from meshhouse.catalog.arrivals import FILTER, NOT_KNOWN, Traces, Use, split, uses_of
from meshhouse.catalog.documents import ColumnFacts, Mesh, ProductFacts, Step
from meshhouse.catalog.drawing import Arrow, Drawn, picture
from meshhouse.catalog.graph import Graph
from meshhouse.catalog.page import Page
from meshhouse.catalog.pages.render import html
from meshhouse.catalog.pages.words import clean

MOST_DRAWN = 60
MOST_STEPS, MOST_STEPS_LARGE = 1_500, 50
"""Steps on one page, and in a large mesh. Beyond, steps inside other products are left to the pages
of these. The pages of 5,000 products take 80 s of CPU with 50, several minutes with 1,500."""
LARGE = 500
"""Products from which a mesh is large."""
MOST_READERS = 40
"""Products whose columns are looked at to find where values go."""

_NO_NAME = ("?", "*")
"""Stand for a column that could not be found."""
_TAKEN = ("content", "results")
"""Ids that every page has."""
_SHORT = 70
"""Characters of SQL that are shown in a line."""


@dataclass(frozen=True)
class ShownStep:
    """One step in the list below the drawing."""

    at: str
    kind: str
    how: str
    sql: str
    target: str
    """The path of its page; empty if it has none."""
    inputs: tuple[str, ...]
    """Empty if the step before in the list is the only one."""
    filters: tuple[str, ...]

    @property
    def is_rows(self) -> bool:
        """Whether it is about the number of rows."""
        return not split(self.at)[1]

    @property
    def is_short(self) -> bool:
        """Whether its SQL has room in a line."""
        return 0 < len(self.sql) <= _SHORT and "\n" not in self.sql


@dataclass(frozen=True)
class ShownColumn:
    """A column as the page shows it."""

    facts: ColumnFacts
    anchor: str
    """Its id on the page; empty where the page has another part of this name."""
    is_known: bool
    origins: tuple[str, ...]
    """Topic fields, seeds, and what is before the first step that is shown."""
    steps: tuple[ShownStep, ...]
    left_out: int
    picture: Markup
    uses: tuple[Use, ...]


def pages(mesh: Mesh) -> Iterator[Page]:
    """One page for each product whose SQL is known.

    None if the build before has them: contracts decide them, and those are the same.
    """
    if mesh.listed is not None:
        return
    graph = Graph.of(mesh)
    most = MOST_STEPS_LARGE if len(mesh.products) > LARGE else MOST_STEPS
    products = {each.relation: each for each in mesh.products}
    for product in mesh.products:
        relation = product.relation
        if relation not in mesh.trace_digests:
            continue
        readers = [
            products[each]
            for each in graph.after.get(relation, ())[:MOST_READERS]
            if each in products and each in mesh.trace_digests
        ]
        columns = tuple((each.relation, tuple(c.name for c in each.columns)) for each in readers)
        known = frozenset(graph.behind(relation)) | {relation}
        # Not the whole document: a publication with the same contract does not change this page.
        decides = (
            relation,
            product.domain,
            repr(
                [(c.name, c.type, c.classification, c.description, c.readers)
                 for c in product.columns]
            ),
            [mesh.trace_digests[each] for each in (relation, *(name for name, _ in columns))],
            columns,
            sorted(known),
            most,
        )  # fmt: skip
        render = partial(_render, product, columns, known, mesh.traces, most)
        yield Page(paths.columns(relation), decides, render)


def _render(
    product: ProductFacts,
    readers: Sequence[tuple[str, Sequence[str]]],
    known: frozenset[str],
    traces: Traces,
    most: int,
) -> str:
    page = paths.columns(product.relation)
    found = {
        each.name: tuple(traces.get(f"{product.relation}.{each.name}".lower(), ()))
        for each in product.columns
    }
    is_short = sum(map(len, found.values())) > most
    uses = uses_of(product, readers, traces)
    columns = [
        _column(each, product, found[each.name], known, page, is_short, uses)
        for each in product.columns
    ]
    counted = sum(each.is_known for each in columns)
    contents = [(each.facts.name, each.anchor) for each in columns]
    return html(
        "columns.html", page, product=product, columns=columns, known=counted, contents=contents
    )


def _column(
    facts: ColumnFacts,
    product: ProductFacts,
    steps: Sequence[Step],
    known: frozenset[str],
    page: str,
    is_short: bool,
    uses: Mapping[str, Sequence[Use]],
) -> ShownColumn:
    name = facts.name.lower()
    shown = _own(steps, product.domain) if is_short else list(steps)
    ats = {each.at for each in shown}
    origins = [
        each.at for each in shown
        if each.kind in ("topic", "seed") or not ats & {*each.inputs, *each.filters}
    ]  # fmt: skip
    listed = []
    previous = ""
    for each in shown:
        inputs = () if each.inputs == (previous,) else each.inputs
        listed.append(
            ShownStep(
                each.at, each.kind, each.how, each.sql, _target(each, known), inputs, each.filters
            )
        )
        previous = each.at
    here = f"{product.relation}.{name}".lower()
    return ShownColumn(
        facts, "" if name in _TAKEN else str(clean(paths.anchor(name))),
        is_known=bool(steps) and not any(each.how == NOT_KNOWN for each in steps),
        origins=tuple(each for each in origins if each != here),
        steps=tuple(listed),
        left_out=len(steps) - len(shown),
        picture=_picture(shown, known, page, product, facts) if len(shown) > 1 else Markup(),
        uses=tuple(uses.get(name, ())),
    )  # fmt: skip


def _own(steps: Sequence[Step], domain: str) -> list[Step]:
    """The steps of one domain, and the products and topics from which it takes values."""
    own = f"{domain}."
    inside = [each for each in steps if each.at.startswith(own)]
    before = {at for each in inside for at in (*each.inputs, *each.filters)}
    return [each for each in steps if each.at.startswith(own) or each.at in before]


def _target(step: Step, known: frozenset[str]) -> str:
    relation, column = split(step.at)
    if relation not in known:
        return ""
    if step.kind == "topic":
        schema, _, table = relation.partition(".")
        return paths.topic(schema.removesuffix("_raw"), table)
    if step.kind == "product":
        # Of a path inside a struct, the page has the column.
        name = column.partition(".")[0]
        return (
            paths.columns(relation, name)
            if name not in ("", *_NO_NAME)
            else (paths.product(relation))
        )
    return ""


def _picture(
    steps: Sequence[Step],
    known: frozenset[str],
    page: str,
    product: ProductFacts,
    facts: ColumnFacts,
) -> Markup:
    here = f"{product.relation}.{facts.name}".lower()
    # The nearest to the column, which is last.
    drawn = steps[-MOST_DRAWN:]
    nodes = []
    for each in drawn:
        relation, column = split(each.at)
        # A field has no step before it, so nothing says how it is made.
        word = {"topic": "topic field" if column else "events", "seed": "seed"}.get(
            each.kind, each.how
        )
        nodes.append(
            Drawn(
                each.at,
                "unknown column" if column in _NO_NAME else column or "rows",
                relation.partition(".")[2] if each.kind != "product" else relation,
                word,
                each.kind,
                "unknown" if each.how == NOT_KNOWN else "",
                _target(each, known),
                f"{each.at}: {word}",
                each.at == here,
            )
        )
    arrows = [Arrow(at, each.at) for each in drawn for at in each.inputs]
    # A column may deliver the value and decide too; the value says more.
    valued = {(each.source, each.target) for each in arrows}
    arrows += [
        Arrow(at, each.at, FILTER, is_weak=True)
        for each in drawn
        for at in each.filters
        if (at, each.at) not in valued
    ]
    name = f"The way of {facts.name} from its sources to {product.relation}"
    return picture(nodes, arrows, page, name, across=30, from_end=True)
