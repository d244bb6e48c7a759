"""Rows of Parquet files as JSON texts, without loss.

Belongs here: the JSON notation of each Arrow type. Not here: other files (files.py).
"""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Iterator
from decimal import Decimal
from typing import IO, Any

import pyarrow as pa

from meshhouse.errors import UsageError

_ROWS = 4_096


def parquet_events(content: IO[bytes], name: str) -> Iterator[tuple[int, bytes]]:
    """Each row, counted from 1, as a JSON object.

    Decimals keep their digits. Times are ISO 8601; bytes are Base64.

    Raises:
        UsageError: the file is not Parquet, is damaged, or holds a value that JSON lacks.
    """
    import pyarrow.parquet as pq  # takes 0.1 s, and most commands read no Parquet

    row = 0
    try:
        for batch in pq.ParquetFile(content).iter_batches(batch_size=_ROWS):
            columns = [_plain(each) for each in batch.columns]
            kinds = [each.type for each in columns]
            names = [json.dumps(each, ensure_ascii=False) for each in batch.schema.names]
            for values in zip(*(each.to_pylist() for each in columns), strict=True):
                row += 1
                members = (
                    f"{column}:{_text(value, kind)}"
                    for column, value, kind in zip(names, values, kinds, strict=True)
                )
                yield row, ("{" + ",".join(members) + "}").encode()
    except _NotJson as error:
        raise UsageError(f"{name}: row {row} holds {error}, which JSON does not have.") from error
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{name} cannot be read as Parquet: {reason[:200]}.") from error


class _NotJson(ValueError):
    pass


def _plain(column: pa.Array) -> pa.Array:
    """The column without nanoseconds, which Python's times lack; fails if that would lose some."""
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return column.cast(pa.timestamp("us", kind.tz))
    if pa.types.is_time64(kind) and kind.unit == "ns":
        return column.cast(pa.time64("us"))
    return column


def _text(value: Any, kind: pa.DataType) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _NotJson(str(value))
        return repr(value)
    if isinstance(value, Decimal | int):
        return format(value, "f" if isinstance(value, Decimal) else "d")
    if pa.types.is_nested(kind):
        return _nested(value, kind)
    if isinstance(value, bytes):
        return json.dumps(b64encode(value).decode())
    if hasattr(value, "isoformat"):
        return json.dumps(value.isoformat())
    return json.dumps(str(value), ensure_ascii=False)


def _nested(value: Any, kind: pa.DataType) -> str:
    if pa.types.is_map(kind):
        pairs = ((json.dumps(str(key)), _text(each, kind.item_type)) for key, each in value)
        return "{" + ",".join(f"{key}:{each}" for key, each in pairs) + "}"
    if pa.types.is_struct(kind):
        members = (
            f"{json.dumps(each.name, ensure_ascii=False)}:{_text(value[each.name], each.type)}"
            for each in kind
        )
        return "{" + ",".join(members) + "}"
    return "[" + ",".join(_text(each, kind.value_type) for each in value) + "]"
