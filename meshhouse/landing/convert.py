"""From the text of a field to a value of its declared type, as SQL for DuckDB.

Belongs here: which texts are a value of a type. Not here: where the texts come from
(documents.py).

A text converts only if nothing is lost: `1.5` is not an integer and `1.999` is not a
decimal(12,2), where a plain SQL cast would round. Casts also take more than they should:
`0x10` and `1_000` are numbers to DuckDB 1.5.5.
"""

from __future__ import annotations

from meshhouse.repository.types import DataType
from meshhouse.sql import literal

_NUMBER = "[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)"


def converted(field: str, kind: DataType) -> str:
    """SQL that converts the text of a field, to null where it cannot without loss.

    Args:
        field: SQL of the text; for integers and decimals without an exponent.
        kind: the declared type.
    """
    if kind.kind == "string":
        return field
    if kind.kind == "boolean":
        return f"case {field} when 'true' then true when 'false' then false end"
    if kind.kind in _ISO_8601:
        return _moment(field, kind.kind)
    text = f"trim({field}, e' \\t\\r\\n')"
    if kind.kind == "double":
        cast = f"try_cast({text} as double)"
        number = f"regexp_full_match({text}, '{_NUMBER}([eE][+-]?[0-9]+)?')"
        return f"case when {number} and isfinite({cast}) then {cast} end"
    return _exact(text, kind)


def _exact(text: str, kind: DataType) -> str:
    """SQL for an integer or a decimal."""
    # Zeros at the end of a fraction say nothing, and a cast counts them as digits.
    short = f"case when strpos({text}, '.') > 0 then rtrim(rtrim({text}, '0'), '.') else {text} end"
    behind = f"strpos({text}, '.')"
    fits = (
        f"{behind} = 0 or length({text}) - {behind} <= {kind.scale} "
        f"or length(rtrim({text}, '0')) - {behind} <= {kind.scale}"
    )
    # `.0` without its zeros is empty; so is `-.0` but for its sign.
    cast = f"try_cast(case when ({short}) in ('', '+', '-') then '0' else ({short}) end as {kind})"
    return f"case when regexp_full_match({text}, '{_NUMBER}') and ({fits}) then {cast} end"


_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = "([01][0-9]|2[0-3])(:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6}0*)?)?)?"
_ZONE = "Z|[+-]([01][0-9]|2[0-3])(:?[0-5][0-9])?"
_ISO_8601 = {
    "date": _DAY,
    "timestamp": f"{_DAY}([T ]{_TIME})?",
    "timestamptz": f"{_DAY}([T ]{_TIME}({_ZONE})?)?",
}
# DuckDB casts no time without minutes, and none without seconds that has a zone.
_SHORT = (f"^({_DAY}[T ][0-9]{{2}})(Z|[+-].*)?$", f"^({_DAY}[T ][0-9]{{2}}:[0-9]{{2}})(Z|[+-].*)?$")
_LAST_MOMENT = {"timestamp": " 23:59:59.999999", "timestamptz": " 23:59:59.999999+00"}


def _moment(field: str, kind: str) -> str:
    """SQL for a date or time: ISO 8601, no finer than a microsecond, years 1 to 9999.

    A bare cast takes more than that. It takes `infinity` and years that Iceberg's writer
    cannot handle, so that one event would stop every landing; and after a zone by name it
    reads the times without a zone that follow in the batch in that zone (DuckDB 1.5.5).
    """
    fits = f"regexp_full_match({field}, {literal(_ISO_8601[kind])})"
    text = field
    if kind != "date":
        for short in _SHORT:
            text = f"regexp_replace({text}, {literal(short)}, '\\1:00\\2')"
    cast = f"try_cast(case when {fits} then {text} end as {kind})"
    years = f"{kind} '0001-01-01' and {kind} '9999-12-31{_LAST_MOMENT.get(kind, '')}'"
    return f"case when {cast} between {years} then {cast} end"
