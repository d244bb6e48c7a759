"""pyiceberg's writer and reader of Arrow batches, with nulls of arrays and maps kept.

Belongs here: one mistake of pyiceberg 0.12.0 (`ArrowProjectionVisitor`): an array of structs, or a
map to structs, that is null became an empty one, in files that it wrote and in rows that it read.
Not here: what is written and read (files.py, landing/reprocess.py), which import these names
from here.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.io.pyarrow import (
    ArrowProjectionVisitor,
    ArrowScan,
    bin_pack_record_batches,
    write_file,
)
from pyiceberg.types import ListType, MapType

__all__ = ["ArrowScan", "bin_pack_record_batches", "write_file"]

_theirs = ArrowProjectionVisitor.list


def _list(
    self: ArrowProjectionVisitor,
    list_type: ListType,
    list_array: pa.Array | None,
    value_array: pa.Array | None,
) -> pa.Array | None:
    if not isinstance(list_array, pa.ListArray | pa.LargeListArray) or value_array is None:
        return _theirs(self, list_type, list_array, value_array)
    values = self._cast_if_needed(list_type.element_field, value_array)
    field = self._construct_field(list_type.element_field, values.type)
    is_large = isinstance(list_array, pa.LargeListArray)
    kind = pa.large_list(field) if is_large else pa.list_(field)
    return type(list_array).from_arrays(
        _whole(list_array.offsets), values, type=kind, mask=list_array.is_null()
    )


def _map(
    self: ArrowProjectionVisitor,
    map_type: MapType,
    map_array: pa.Array | None,
    key_result: pa.Array | None,
    value_result: pa.Array | None,
) -> pa.Array | None:
    if not isinstance(map_array, pa.MapArray) or key_result is None or value_result is None:
        return None
    keys = self._cast_if_needed(map_type.key_field, key_result)
    values = self._cast_if_needed(map_type.value_field, value_result)
    kind = pa.map_(
        self._construct_field(map_type.key_field, keys.type),
        self._construct_field(map_type.value_field, values.type),
    )
    return pa.MapArray.from_arrays(
        _whole(map_array.offsets), keys, values, kind, mask=map_array.is_null()
    )


def _whole(offsets: pa.Array) -> pa.Array:
    """A copy: Arrow takes no mask together with a slice of offsets."""
    return pc.add(offsets, pa.scalar(0, offsets.type))


ArrowProjectionVisitor.list = _list
ArrowProjectionVisitor.map = _map
