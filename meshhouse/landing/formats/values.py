"""Values that JSON has no type for, written as JSON text without loss.

Belongs here: timestamps, decimals, bytes, NaN and infinities, the same for every binary format.
Not here: which field has which type (avro.py, protobuf.py).
"""

from __future__ import annotations

import base64
import json
import math
from datetime import datetime, timedelta
from typing import Any

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - the zone is written by hand
# Python's limit for the digits of an integer. A larger scale is garbage that would fill the memory.
_MOST_DIGITS = 4300


def moment(count: int, per_second: int, zone: str = "Z") -> str | int:
    """A timestamp, counted from 1970, in ISO 8601; the count itself outside years 1 to 9999."""
    seconds, rest = divmod(count, per_second)
    try:
        text = (_EPOCH + timedelta(seconds=seconds)).isoformat()
    except OverflowError:
        return count
    return f"{text}{_fraction(rest, per_second)}{zone}"


def day(count: int) -> str | int:
    """A date, counted from 1970, in ISO 8601; the count itself outside years 1 to 9999."""
    try:
        return (_EPOCH + timedelta(days=count)).date().isoformat()
    except OverflowError:
        return count


def time_of_day(count: int, per_second: int) -> str | int:
    """A time, counted from midnight, in ISO 8601; the count itself outside 24 hours."""
    seconds, rest = divmod(count, per_second)
    if not 0 <= seconds < 86_400:
        return count
    minutes, second = divmod(seconds, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{second:02}{_fraction(rest, per_second)}"


def _fraction(rest: int, per_second: int) -> str:
    digits = len(str(per_second)) - 1
    return f".{rest:0{digits}d}".rstrip("0") if rest else ""


def decimal(unscaled: int, scale: int) -> str:
    """A decimal with all its digits, without an exponent.

    Raises:
        ValueError: it has more digits than Python writes.
    """
    if abs(scale) > _MOST_DIGITS:
        raise ValueError(f"a decimal has a scale of {scale}")
    if scale <= 0:
        return str(unscaled * 10**-scale)
    digits = f"{abs(unscaled):0{scale + 1}d}"
    return f"{'-' if unscaled < 0 else ''}{digits[:-scale]}.{digits[-scale:]}"


def base64_text(value: bytes) -> str:
    """Bytes in base64, as in protobuf's JSON."""
    return base64.b64encode(value).decode("ascii")


def json_text(document: Any) -> str:
    """A document as JSON text; bytes become base64, NaN and infinities become strings."""
    try:
        return _encode(document)
    except ValueError:  # NaN and infinities are rare, so only look for them after a failure
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
        # The same strings as in protobuf's JSON.
        return "NaN" if math.isnan(value) else f"{'-' if value < 0 else ''}Infinity"
    if isinstance(value, dict):
        return {key: _spelled(each) for key, each in value.items()}
    return [_spelled(each) for each in value] if isinstance(value, list) else value
