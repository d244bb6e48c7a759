"""The SQL of a staging model for a raw table.

Belongs here: names of columns in snake case, and words that SQL reserves. Not here: the declaration
of the raw table (new_topic.py).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from meshhouse.repository.model import Column

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EXTRA = {
    "event_at": "_timestamp",
    "landed_at": "_landed_at",
    "event_partition": "_topic_partition",
    "event_offset": "_offset",
}
"""Column -> the column of each raw table that it shows."""
_WORDS = """
    account all analyse analyze and anti any array as asc asof asymmetric at authorization between
    binary both by case cast check collate collation column columns concurrently connect connection
    constraint create cross current current_date current_time current_timestamp current_user
    database default deferrable delete desc describe distinct do drop else end escape except exists
    false fetch filter following for foreign freeze from full generated glob grant group having
    ilike in increment initially inner insert intersect interval into is isnull issue join lambda
    lateral leading left like limit localtime localtimestamp map minus natural not notnull null
    of offset on only or order organization outer overlaps pivot placing positional primary qualify
    references regexp returning revoke right rlike row rows sample schema select semi session_user
    set show similar some start struct summarize symmetric table tablesample then to trailing
    trigger true try_cast union unique unknown unpack unpivot update user using values variadic
    verbose view when whenever where window with
"""
_RESERVED = frozenset(_WORDS.split())
"""Words that DuckDB, Spark or Snowflake do not accept as the name of a column without quotes."""


def staging_sql(source: str, table: str, columns: Sequence[Column], changelog: bool) -> str:
    """A model that shows the columns of a raw table in snake case, with the times of the events.

    Args:
        source: the dbt source that has the table.
        table: the raw table.
        columns: its declared columns.
        changelog: whether to show only the newest event of each key.
    """
    read_from = f"source('{source}', '{table}')"
    relation = f"newest_per_key({read_from})" if changelog else read_from
    kept = "newest" if changelog else "received"
    taken = set(_EXTRA)
    shown = []
    for column in columns:
        name = snake_case(column.name, taken)
        taken.add(name)
        read = column_sql(column.name)
        shown.append(read if read == name else f"{read} as {name}")
    shown += [f"{read} as {name}" for name, read in _EXTRA.items()]
    listed = ",\n".join(f"        {each}" for each in shown)
    return (
        f"with\n\n{kept} as (\n\n    select * from {{{{ {relation} }}}}\n\n),\n\n"
        f"renamed as (\n\n    select\n{listed}\n\n    from {kept}\n\n)\n\n"
        "select * from renamed\n"
    )


def snake_case(name: str, taken: Collection[str]) -> str:
    """A name in lower case with underscores, unlike reserved words and names that are taken."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    plain = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_") or "field"
    if plain in _RESERVED:
        plain = f"{plain}_value"
    if plain[0].isdigit():
        plain = f"field_{plain}"
    found, number = plain, 1
    while found in taken:
        number += 1
        found = f"{plain}_{number}"
    return found


def column_sql(name: str) -> str:
    """A column in SQL, quoted only if it must be."""
    if _PLAIN.fullmatch(name) and name.lower() not in _RESERVED:
        return name
    return f"{{{{ adapter.quote('{name}') }}}}"
