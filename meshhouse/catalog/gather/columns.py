"""Columns of a product, with what is known of their values and readers.

Belongs here: joining contract, declaration, statistics and reads. Not here: the rules about
protected values (clear.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meshhouse.catalog.documents import ColumnFacts, ColumnUse, SampleFacts
from meshhouse.catalog.gather.clear import may_show
from meshhouse.catalog.gather.known import Known
from meshhouse.catalog.gather.sentences import Shown
from meshhouse.governance.classes import looks_personal
from meshhouse.governance.readers import Read, Readers
from meshhouse.ledger import Head
from meshhouse.repository import Column, Product
from meshhouse.repository.classes import classes_of, is_personal
from meshhouse.runs.status import ProductStatus

_TOP = 10


def columns_of(known: Known, readers: Readers, shown: Shown) -> tuple[ColumnFacts, ...]:
    """The columns that consumers see; those that are declared if nothing is published.

    Args:
        known: the product.
        readers: its reads by other domains.
        shown: columns whose values may be shown.
    """
    declared = {each.name.lower(): as_mapping(each) for each in known.product.columns}
    published = list(known.described.columns.values()) if known.described else []
    measured = _measured(known)
    found = []
    for column in published or declared.values():
        name = str(column["name"]).lower()
        both = [column, declared.get(name, {})]
        reads = readers.of_column(name)
        found.append(_facts(column, both, measured.get(name), reads, name, shown))
    return tuple(found)


def shown_of_product(product: Product, head: Head) -> Shown:
    """The columns of a published product whose values everyone may see."""
    nothing = ProductStatus(product, None, None, None, None, None, None, False)  # decides nothing
    return shown_of(Known(product, head, nothing), False)


def shown_of(known: Known, owned: bool) -> Shown:
    """The columns whose values may be shown.

    Of names that differ only by letter case, all must be so. Values from rows are not shown if a
    row is about one person, or if the name of the column or one of its values looks personal.
    Statistics of earlier releases hold such values, so this is decided here.

    Args:
        known: the product.
        owned: whether the catalog is made for the domain that owns it.
    """
    declared = {each.name.lower(): as_mapping(each) for each in known.product.columns}
    published = list(known.described.columns.values()) if known.described else []
    clear: dict[str, bool] = {}
    personal: set[str] = set()
    measured = _measured(known)
    sampled = _sampled(known)
    for column in published or declared.values():
        name = str(column["name"]).lower()
        both = [column, declared.get(name, {})]
        clear[name] = clear.get(name, True) and may_show(both, owned)
        top = measured[name][1].get("top") if name in measured else None
        values = [*(value for value, _ in top or ()), *sampled.get(name, ())]
        if any(map(is_personal, both)) or looks_personal(name, column, filter(None, values)):
            personal.add(name)
    grain = {*(known.described.grain if known.described else ()), *known.product.grain}
    is_about_people = not personal.isdisjoint(map(str.lower, grain))
    open_ = frozenset(name for name, is_clear in clear.items() if is_clear)
    return Shown(open_, frozenset() if is_about_people else open_ - personal, frozenset(clear))


def sample_of(known: Known, shown: Shown) -> SampleFacts | None:
    """The sample rows of a publication, of the columns whose values may still be shown."""
    sample = known.statistics.get("sample")
    if not sample:
        return None
    places = [at for at, name in enumerate(sample["columns"]) if name.lower() in shown.measured]
    if not places or not sample["rows"]:
        return None
    return SampleFacts(
        columns=tuple(sample["columns"][at] for at in places),
        rows=tuple(tuple(row[at] for at in places) for row in sample["rows"]),
    )


def _sampled(known: Known) -> dict[str, list[Any]]:
    """Column in lower case -> its values in the sample."""
    sample = known.statistics.get("sample") or {"columns": (), "rows": ()}
    return {
        name.lower(): [row[at] for row in sample["rows"]]
        for at, name in enumerate(sample["columns"])
    }


def as_mapping(column: Column) -> dict[str, Any]:
    """A declared column as a contract has it."""
    return {
        "name": column.name,
        "type": column.data_type,
        "description": column.description,
        "required": column.required,
        "classification": column.classification,
        "unit": column.unit,
        "lineage": "unknown",
    }


def class_of(column: Mapping[str, Any]) -> str:
    """The classes of a column as one text."""
    return ", ".join(classes_of(column))


def _facts(
    column: Mapping[str, Any],
    both: Sequence[Mapping[str, Any]],
    measured: tuple[int, Mapping[str, Any]] | None,
    reads: Sequence[Read],
    key: str,
    shown: Shown,
) -> ColumnFacts:
    rows, values = measured or (0, {})
    top = (values.get("top") or []) if key in shown.measured else []
    accepted = (column.get("accepted_values") or ()) if key in shown.declared else ()
    return ColumnFacts(
        name=str(column["name"]),
        type=str(column.get("type", "")),
        description=str(column.get("description") or ""),
        required=bool(column.get("required")),
        unique=bool(column.get("unique")),
        classification=next(filter(None, map(class_of, both)), ""),
        unit=str(column.get("unit") or ""),
        accepted=tuple(map(_text, accepted)),
        roots=tuple(map(str, column.get("roots") or ())),
        lineage_known=column.get("lineage") == "known",
        null_share=values["nulls"] / rows if rows and "nulls" in values else None,
        distinct=values.get("distinct"),
        top=tuple((_text(value), int(count)) for value, count in top[:_TOP]),
        readers=uses(reads),
    )


def uses(reads: Sequence[Read]) -> tuple[ColumnUse, ...]:
    """Reads of one column, one entry for each reader."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for read in reads:
        how, into = found.setdefault(read.reader, (set(), set()))
        how.update({"check"} if read.check else read.how if read.is_known else {"unknown"})
        into.update(() if read.check else read.into)
    return tuple(
        ColumnUse(reader, tuple(sorted(how)), tuple(sorted(into)))
        for reader, (how, into) in sorted(found.items())
    )


def _measured(known: Known) -> dict[str, tuple[int, Mapping[str, Any]]]:
    """Column in lower case -> the rows of the product and the statistics of the column."""
    rows = int(known.statistics.get("rows") or 0)
    measured = known.statistics.get("columns", {})
    return {name.lower(): (rows, each) for name, each in measured.items()}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
