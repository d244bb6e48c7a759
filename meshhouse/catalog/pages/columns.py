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
from meshhouse.catalog.documents import ColumnFacts, Mesh, ProductFacts, Step
from meshhouse.catalog.drawing import Arrow, Drawn, picture
from meshhouse.catalog.graph import Graph
from meshhouse.catalog.page import Page
from meshhouse.catalog.pages.render import html

SAME, COMPUTED, COUNTED, NOT_KNOWN = "same value", "computed", "counted", "unknown"
FILTER = "filter only"
MOST_DRAWN = 60
MOST_STEPS = 1_500
"""Steps on one page. Beyond, those inside other products are left to the pages of these."""
MOST_READERS = 40
"""Products whose columns are looked at to find where values go."""

Traces = Mapping[str, Sequence[Step]]


@dataclass(frozen=True)
class Use:
    """Where the values of a column go."""

    relation: str
    column: str
    """Empty if the reader only filters by it."""
    how: str


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
    filters: tuple[str, ...]


@dataclass(frozen=True)
class ShownColumn:
    """A column as the page shows it."""

    facts: ColumnFacts
    anchor: str
    is_known: bool
    origins: tuple[str, ...]
    """Topic fields, seeds, and what is before the first step that is shown."""
    steps: tuple[ShownStep, ...]
    left_out: int
    picture: Markup
    uses: tuple[Use, ...]


def pages(mesh: Mesh) -> Iterator[Page]:
    """One page for each product whose SQL is known."""
    graph = Graph.of(mesh)
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
        decides = (
            product,
            [mesh.trace_digests[each] for each in (relation, *(name for name, _ in columns))],
            columns,
            sorted(known),
        )
        render = partial(_render, product, columns, known, mesh.traces)
        yield Page(paths.columns(relation), decides, render)


def _render(
    product: ProductFacts,
    readers: Sequence[tuple[str, Sequence[str]]],
    known: frozenset[str],
    traces: Traces,
) -> str:
    page = paths.columns(product.relation)
    found = {
        each.name: tuple(traces.get(f"{product.relation}.{each.name}".lower(), ()))
        for each in product.columns
    }
    is_short = sum(map(len, found.values())) > MOST_STEPS
    uses = _uses(product, readers, traces)
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
    listed = [
        ShownStep(
            each.at, each.kind, each.how, each.sql, _target(each, known), each.inputs, each.filters
        )
        for each in shown
    ]
    here = f"{product.relation}.{name}".lower()
    return ShownColumn(
        facts, name,
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


def split(at: str) -> tuple[str, str]:
    """The relation of a step and its column, which is empty for rows."""
    schema, _, rest = at.partition(".")
    table, _, column = rest.partition(".")
    return f"{schema}.{table}" if table else schema, column


def _target(step: Step, known: frozenset[str]) -> str:
    relation, column = split(step.at)
    if relation not in known:
        return ""
    if step.kind == "topic":
        schema, _, table = relation.partition(".")
        return paths.topic(schema.removesuffix("_raw"), table)
    if step.kind == "product":
        return paths.columns(relation, column) if column else paths.product(relation)
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
                column or "rows",
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


def _uses(
    product: ProductFacts, readers: Sequence[tuple[str, Sequence[str]]], traces: Traces
) -> dict[str, list[Use]]:
    """Column -> where other products show its values, and who only filters by it."""
    found: dict[str, list[Use]] = {}
    for reader, columns in readers:
        for column in columns:
            steps = traces.get(f"{reader}.{column}".lower(), ())
            for own, how in _arrivals(product.relation, steps).items():
                found.setdefault(own, []).append(Use(reader, column.lower(), how))
    for column in product.columns:
        for use in column.readers:
            if not use.into and "select" not in use.how:
                found.setdefault(column.name.lower(), []).append(Use(use.reader, "", FILTER))
    return {name: list(dict.fromkeys(uses)) for name, uses in found.items()}


def _arrivals(relation: str, steps: Sequence[Step]) -> dict[str, str]:
    """The columns of a relation that arrive at the last step, and how."""
    arrived: dict[str, dict[str, str]] = {}
    for step in steps:
        at, column = split(step.at)
        if at == relation:
            arrived[step.at] = {column: SAME} if column else {}
            continue
        here: dict[str, str] = {}
        for before in step.inputs:
            for own, how in arrived.get(before, {}).items():
                here[own] = together(how, step.how)
        for before in step.filters:
            for own in arrived.get(before, {}):
                here.setdefault(own, FILTER)
        is_other = step.kind == "product" and step is not steps[-1]
        # What comes through a third product is shown on the page of that one.
        arrived[step.at] = {} if is_other else here
    return arrived[steps[-1].at] if steps else {}


def together(one: str, other: str) -> str:
    """How a value is made by two steps, one after the other."""
    for each in (NOT_KNOWN, FILTER):
        if each in (one, other):
            return each
    if SAME in (one, other):
        return other if one == SAME else one
    return COMPUTED
