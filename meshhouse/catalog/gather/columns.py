"""Columns of a product, with what is known of their values and readers.

Belongs here: joining contract, declaration, statistics and reads. Not here: the rules about
protected values (clear.py).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from meshhouse.catalog.documents import ColumnFacts, ColumnUse, SampleFacts
from meshhouse.catalog.gather.clear import may_show
from meshhouse.catalog.gather.known import Known
from meshhouse.governance.readers import Read, Readers
from meshhouse.repository import Column
from meshhouse.repository.classes import classes_of

_TOP = 10


def columns_of(known: Known, readers: Readers, clear: Collection[str]) -> tuple[ColumnFacts, ...]:
    """The columns that consumers see; those that are declared if nothing is published.

    Args:
        known: the product.
        readers: its reads by other domains.
        clear: columns whose values may be shown, in lower case.
    """
    declared = {each.name.lower(): as_mapping(each) for each in known.product.columns}
    published = list(known.contract.columns.values()) if known.contract else []
    measured = _measured(known)
    found = []
    for column in published or declared.values():
        name = str(column["name"]).lower()
        both = [column, declared.get(name, {})]
        reads = readers.of_column(name)
        found.append(_facts(column, both, measured.get(name), reads, name in clear))
    return tuple(found)


def clear_columns(known: Known, owned: bool) -> frozenset[str]:
    """Names of the columns whose values may be shown, in lower case.

    Of names that differ only by letter case, all must be so.
    """
    declared = {each.name.lower(): as_mapping(each) for each in known.product.columns}
    published = list(known.contract.columns.values()) if known.contract else []
    shown: dict[str, bool] = {}
    for column in published or declared.values():
        name = str(column["name"]).lower()
        shown[name] = shown.get(name, True) and may_show([column, declared.get(name, {})], owned)
    return frozenset(name for name, is_shown in shown.items() if is_shown)


def sample_of(known: Known, clear: Collection[str]) -> SampleFacts | None:
    """The sample rows of a publication, of the columns whose values may still be shown."""
    sample = known.statistics.get("sample")
    if not sample:
        return None
    shown = [at for at, name in enumerate(sample["columns"]) if name.lower() in clear]
    if not shown or not sample["rows"]:
        return None
    return SampleFacts(
        columns=tuple(sample["columns"][at] for at in shown),
        rows=tuple(tuple(row[at] for at in shown) for row in sample["rows"]),
    )


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
    clear: bool,
) -> ColumnFacts:
    rows, values = measured or (0, {})
    top = (values.get("top") or []) if clear else []
    return ColumnFacts(
        name=str(column["name"]),
        type=str(column.get("type", "")),
        description=str(column.get("description") or ""),
        required=bool(column.get("required")),
        unique=bool(column.get("unique")),
        classification=next(filter(None, map(class_of, both)), ""),
        unit=str(column.get("unit") or ""),
        accepted=tuple(map(_text, column.get("accepted_values") or ())) if clear else (),
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
