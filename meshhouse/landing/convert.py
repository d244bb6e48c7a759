"""SQL for DuckDB that converts the text of a field to a value of its declared type.

Belongs here: the texts that are valid for each type. Not here: reading the texts (documents.py).

A text is converted only if nothing is lost: `1.5` is not an integer and `1.999` is not a
decimal(12,2), although a plain SQL cast would round them. Plain casts also accept too much: for
DuckDB 1.5.5, `0x10` and `1_000` are numbers.
"""

from __future__ import annotations

from meshhouse.repository.types import DataType
from meshhouse.sql import literal

_NUMBER = "[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)"


def converted(field: str, kind: DataType) -> str:
    """Returns SQL that converts the text of a field, or gives null if that would lose something.

    Args:
        field: SQL of the text. For integers and decimals it has no exponent.
        kind: the declared type.
    """
    if kind.kind == "string":
        return field
    if kind.kind == "boolean":
        return f"case {field} when 'true' then true when 'false' then false end"
    if kind.kind in _ISO_8601:
        return _date_or_time(field, kind.kind)
    text = f"trim({field}, e' \\t\\r\\n')"
    if kind.kind == "double":
        cast = f"try_cast({text} as double)"
        number = f"regexp_full_match({text}, '{_NUMBER}([eE][+-]?[0-9]+)?')"
        return f"case when {number} and isfinite({cast}) then {cast} end"
    return _exact(text, kind)


def _exact(text: str, kind: DataType) -> str:
    """SQL for an integer or a decimal."""
    # A cast counts zeros at the end of a fraction as digits, so they are removed first.
    short = f"case when strpos({text}, '.') > 0 then rtrim(rtrim({text}, '0'), '.') else {text} end"
    behind = f"strpos({text}, '.')"
    fits = (
        f"{behind} = 0 or length({text}) - {behind} <= {kind.scale} "
        f"or length(rtrim({text}, '0')) - {behind} <= {kind.scale}"
    )
    # Without zeros, `.0` is empty and `-.0` is only a sign.
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
# DuckDB cannot cast a time without minutes, or a time with a zone but without seconds.
_SHORT = (f"^({_DAY}[T ][0-9]{{2}})(Z|[+-].*)?$", f"^({_DAY}[T ][0-9]{{2}}:[0-9]{{2}})(Z|[+-].*)?$")
_END_OF_DAY = {"timestamp": " 23:59:59.999999", "timestamptz": " 23:59:59.999999+00"}


def _date_or_time(field: str, kind: str) -> str:
    """SQL for a date or time: ISO 8601, at most microseconds, years 1 to 9999.

    A plain cast accepts more (DuckDB 1.5.5). It accepts `infinity` and years that Iceberg's writer
    cannot handle, so one such event would stop every landing. And after a value with a zone by
    name, it applies that zone to later values of the batch without a zone.
    """
    fits = f"regexp_full_match({field}, {literal(_ISO_8601[kind])})"
    text = field
    if kind != "date":
        for short in _SHORT:
            text = f"regexp_replace({text}, {literal(short)}, '\\1:00\\2')"
    cast = f"try_cast(case when {fits} then {text} end as {kind})"
    years = f"{kind} '0001-01-01' and {kind} '9999-12-31{_END_OF_DAY.get(kind, '')}'"
    return f"case when {cast} between {years} then {cast} end"
