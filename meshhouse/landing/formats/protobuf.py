"""Protobuf: events as JSON, read with the descriptor that their writer registered.

Belongs here: which message of a schema an event holds, and protobuf's types in JSON. Not here: the
schema id in an event (wire.py).

The JSON is protobuf's, with the original names of fields and these differences: integers are
numbers, a `float` keeps its exact value, a field without presence is written with its default,
and a field that the schema does not know is written under its number, so that it is rescued.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from importlib import import_module
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from meshhouse.errors import MeshError
from meshhouse.landing.formats import values
from meshhouse.landing.formats.errors import Unreadable
from meshhouse.landing.formats.schema_registry import Schema
from meshhouse.landing.formats.wire import Framed, Reader
from meshhouse.repository import RawTable, display_path

_Convert = Callable[[Any], Any]


def protobuf(raw: RawTable) -> Framed:
    """The reader of a topic's events, with schemas of a schema registry."""
    return Framed("PROTOBUF", f"{display_path(raw.path)}:{raw.line}", _reader)


def _reader(schema: Schema) -> Reader:
    """Reads events with the schema that they name.

    Raises:
        ValueError: the schema cannot be used; the message says why.
    """
    pool = descriptor_pool.DescriptorPool()
    file = _file(schema, "default")
    try:
        _add(pool, file, schema)
    except TypeError as error:  # raised by the pool if a file does not fit the others
        raise ValueError(str(error)) from error
    converters: dict[tuple[int, ...], tuple[type[Message], _Convert]] = {}

    def read(value: bytes) -> str:
        path, start = _message_path(value)
        if path not in converters:
            converters[path] = _message(pool, file, path)
        kind, convert = converters[path]
        try:
            return values.json_text(convert(kind.FromString(value[start:])))
        except (DecodeError, ValueError, RecursionError) as error:
            raise Unreadable(f"does not decode as {kind.DESCRIPTOR.full_name}: {error}") from error

    return read


def _message(
    pool: descriptor_pool.DescriptorPool,
    file: descriptor_pb2.FileDescriptorProto,
    path: tuple[int, ...],
) -> tuple[type[Message], _Convert]:
    names = [file.package] if file.package else []
    messages = file.message_type
    for index in path:
        if not 0 <= index < len(messages):
            raise Unreadable(f"names a message that its schema does not have: {list(path)}")
        names.append(messages[index].name)
        messages = messages[index].nested_type
    descriptor = pool.FindMessageTypeByName(".".join(names))
    return message_factory.GetMessageClass(descriptor), _Converters().of(descriptor)


def _message_path(value: bytes) -> tuple[tuple[int, ...], int]:
    """Index of the event's message and of each message around it, and the message's start."""
    count, at = _varint(value, 0)
    path = []
    for _ in range(count):
        index, at = _varint(value, at)
        path.append(index)
    # An empty path means the first message of the file, by far the most common one.
    return tuple(path) or (0,), at


def _varint(value: bytes, at: int) -> tuple[int, int]:
    """The value of a zigzag varint, and the position after it."""
    number = shift = 0
    while at < len(value) and shift < 35:
        byte = value[at]
        number |= (byte & 0x7F) << shift
        at += 1
        shift += 7
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at
    raise Unreadable("does not say which message of its schema it holds")


def _file(schema: Schema, name: str) -> descriptor_pb2.FileDescriptorProto:
    try:
        data = base64.b64decode(schema.text, validate=True)
        file = descriptor_pb2.FileDescriptorProto.FromString(data)
    except (binascii.Error, ValueError, DecodeError) as error:
        raise MeshError(
            "The schema registry does not return protobuf schemas in serialized form "
            "(`?format=serialized`). Use a version that does."
        ) from error
    file.name = name  # files import each other by the names in their references
    return file


def _add(
    pool: descriptor_pool.DescriptorPool,
    file: descriptor_pb2.FileDescriptorProto,
    schema: Schema,
) -> None:
    """Adds a file to a pool, after the files that it imports."""
    referred = {reference.name: reference.schema for reference in schema.references}
    for name in file.dependency:
        if _holds(pool, name):
            continue
        if name in referred:
            _add(pool, _file(referred[name], name), referred[name])
        else:
            _add(pool, _built_in(name), Schema("PROTOBUF", ""))
    pool.AddSerializedFile(file.SerializeToString())


def _holds(pool: descriptor_pool.DescriptorPool, name: str) -> bool:
    try:
        pool.FindFileByName(name)
    except KeyError:
        return False
    return True


def _built_in(name: str) -> descriptor_pb2.FileDescriptorProto:
    """A file that schemas may import without a reference."""
    if name == "confluent/meta.proto":  # options only, which the conversion does not use
        return descriptor_pb2.FileDescriptorProto(name=name, package="confluent")
    if name == "confluent/type/decimal.proto":
        return _CONFLUENT_DECIMAL
    file = descriptor_pb2.FileDescriptorProto()
    if not name.startswith("google/"):
        raise ValueError(f"it imports {name}, which it does not refer to")
    try:
        module = import_module(name.removesuffix(".proto").replace("/", ".") + "_pb2")
    except ImportError as error:
        raise ValueError(f"it imports {name}, which the mesh does not have") from error
    module.DESCRIPTOR.CopyToProto(file)
    return file


def _confluent_decimal() -> descriptor_pb2.FileDescriptorProto:
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="confluent/type/decimal.proto", package="confluent.type", syntax="proto3"
    )
    message = file.message_type.add(name="Decimal")
    kinds = {"value": field.TYPE_BYTES, "precision": field.TYPE_UINT32, "scale": field.TYPE_INT32}
    for number, (name, kind) in enumerate(kinds.items(), start=1):
        message.field.add(name=name, number=number, type=kind, label=field.LABEL_OPTIONAL)
    return file


_CONFLUENT_DECIMAL = _confluent_decimal()


class _Converters:
    """Converters from messages to JSON values, one per message type."""

    def __init__(self) -> None:
        self._known: dict[str, _Convert] = {}

    def of(self, descriptor: Descriptor) -> _Convert:
        """The converter of a message type."""
        name = descriptor.full_name
        if name in _WELL_KNOWN:
            return _WELL_KNOWN[name]
        if name not in self._known:
            fields: list[Callable[[Message, dict], None]] = []
            # Stored before its fields are complete, because a type may contain itself.
            self._known[name] = _converter(descriptor, fields, self)
            fields += [self._field(field) for field in descriptor.fields]
        return self._known[name]

    def _field(self, field: FieldDescriptor) -> Callable[[Message, dict], None]:
        name, convert = field.name, self.value(field)
        if not field.has_presence:

            def put(message: Message, document: dict) -> None:
                document[name] = convert(getattr(message, name))
        else:

            def put(message: Message, document: dict) -> None:
                if message.HasField(name):
                    document[name] = convert(getattr(message, name))

        return put

    def value(self, field: FieldDescriptor) -> _Convert:
        """The converter of a field's value."""
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            single = self._single(field.message_type.fields_by_name["value"])
            return lambda entries: {key: single(value) for key, value in entries.items()}
        single = self._single(field)
        return (lambda each: [single(value) for value in each]) if field.is_repeated else single

    def _single(self, field: FieldDescriptor) -> _Convert:
        if field.message_type is not None:
            return self.of(field.message_type)
        if field.enum_type is not None:
            names = {number: each.name for number, each in field.enum_type.values_by_number.items()}
            return lambda number: names.get(number, number)
        return lambda value: value  # `json_text` handles bytes, NaN and infinities


def _converter(
    descriptor: Descriptor, fields: list[Callable[[Message, dict], None]], converters: _Converters
) -> _Convert:
    extendable = descriptor.is_extendable

    def convert(message: Message) -> dict[str, Any]:
        document: dict[str, Any] = {}
        for put in fields:
            put(message, document)
        if extendable:
            for field, value in message.ListFields():
                if field.is_extension:
                    document[f"[{field.full_name}]"] = converters.value(field)(value)
        document.update(_unknown(UnknownFieldSet(message)))
        return document

    return convert


def _unknown(fields: UnknownFieldSet) -> dict[str, list[Any]]:
    """Unknown fields: number -> all of the field's values."""
    by_number: dict[str, list[Any]] = {}
    for field in fields:
        data = field.data
        if not isinstance(data, (int, bytes)):
            data = _unknown(data)
        by_number.setdefault(str(field.field_number), []).append(data)
    return by_number


def _struct(message: Any) -> dict[str, Any]:
    return {key: _struct_value(value) for key, value in message.fields.items()}


def _struct_value(message: Any) -> Any:
    kind = message.WhichOneof("kind")
    if kind == "struct_value":
        return _struct(message.struct_value)
    if kind == "list_value":
        return [_struct_value(value) for value in message.list_value.values]
    return None if kind in (None, "null_value") else getattr(message, kind)


def _confluent(message: Any) -> str:
    return values.decimal(int.from_bytes(message.value, "big", signed=True), message.scale)


def _moment(message: Any) -> str | int:
    return values.moment(message.seconds * 10**9 + message.nanos, 10**9)


def _duration(message: Any) -> str:
    return f"{values.decimal(message.seconds * 10**9 + message.nanos, 9).rstrip('0').rstrip('.')}s"


_WELL_KNOWN: dict[str, _Convert] = {
    "google.protobuf.Timestamp": _moment,
    "google.protobuf.Duration": _duration,
    "google.protobuf.Struct": _struct,
    "google.protobuf.Value": _struct_value,
    "google.protobuf.ListValue": lambda message: [_struct_value(each) for each in message.values],
    "google.type.Decimal": lambda message: message.value,
    "confluent.type.Decimal": _confluent,
}
for _name in ("Bool", "Bytes", "Double", "Float", "Int32", "Int64", "String", "UInt32", "UInt64"):
    _WELL_KNOWN[f"google.protobuf.{_name}Value"] = lambda message: message.value
