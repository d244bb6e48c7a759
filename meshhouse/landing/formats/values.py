"""Values that JSON has no type for, as JSON text from which nothing is lost.

Belongs here: moments, decimals, bytes and numbers that are none; the same for every
binary format. Not here: which field holds which of them (avro.py, protobuf.py).
"""

from __future__ import annotations

import base64
import json
import math
from datetime import datetime, timedelta
from typing import Any

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - the zone is written by hand
# Python writes no integers with more digits; a scale beyond is garbage that would fill memory.
_MOST_DIGITS = 4300


def moment(count: int, per_second: int, zone: str = "Z") -> str | int:
    """A time since 1970 in ISO 8601; the count itself where that is outside years 1 to 9999."""
    seconds, rest = divmod(count, per_second)
    try:
        text = (_EPOCH + timedelta(seconds=seconds)).isoformat()
    except OverflowError:
        return count
    return f"{text}{_fraction(rest, per_second)}{zone}"


def day(count: int) -> str | int:
    """A date since 1970 in ISO 8601; the count itself where that is outside years 1 to 9999."""
    try:
        return (_EPOCH + timedelta(days=count)).date().isoformat()
    except OverflowError:
        return count


def time_of_day(count: int, per_second: int) -> str | int:
    """A time since midnight in ISO 8601; the count itself where a day does not have it."""
    seconds, rest = divmod(count, per_second)
    if not 0 <= seconds < 86_400:
        return count
    minutes, second = divmod(seconds, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{second:02}{_fraction(rest, per_second)}"


def _fraction(rest: int, per_second: int) -> str:
    digits = len(str(per_second)) - 1
    return f".{rest:0{digits}d}".rstrip("0") if rest else ""


def decimal(unscaled: int, scale: int) -> str:
    """A decimal, every digit of it, without exponent.

    Raises:
        ValueError: it has more digits than a number has.
    """
    if abs(scale) > _MOST_DIGITS:
        raise ValueError(f"a decimal has a scale of {scale}")
    if scale <= 0:
        return str(unscaled * 10**-scale)
    digits = f"{abs(unscaled):0{scale + 1}d}"
    return f"{'-' if unscaled < 0 else ''}{digits[:-scale]}.{digits[-scale:]}"


def base64_text(value: bytes) -> str:
    """Bytes in base64, as protobuf's JSON has them."""
    return base64.b64encode(value).decode("ascii")


def json_text(document: Any) -> str:
    """A document as JSON; bytes become base64, and NaN and infinities words."""
    try:
        return _encode(document)
    except ValueError:  # a NaN or an infinity is so rare that looking for it costs too much
        return _encode(_spelled(document))


_encode = json.JSONEncoder(
    ensure_ascii=False,
    allow_nan=False,
    check_circular=False,
    separators=(",", ":"),
    default=base64_text,
).encode


def _spelled(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        # The words that protobuf's JSON has for them.
        return "NaN" if math.isnan(value) else f"{'-' if value < 0 else ''}Infinity"
    if isinstance(value, dict):
        return {key: _spelled(each) for key, each in value.items()}
    return [_spelled(each) for each in value] if isinstance(value, list) else value
