"""What a set of .proto files declares, flat and comparable."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FileDescriptor

from chaukas.spec.client.v1 import client_pb2
from chaukas.spec.common.v1 import events_pb2, query_pb2
from chaukas.spec.server.v1 import server_pb2

OURS = (events_pb2.DESCRIPTOR, query_pb2.DESCRIPTOR, server_pb2.DESCRIPTOR, client_pb2.DESCRIPTOR)

Declarations = dict[str, tuple[object, ...]]


def declarations(files: Iterable[FileDescriptor]) -> Declarations:
    """Everything that files declare, as a signature by kind and name."""
    found: Declarations = {}
    for file in files:
        found[f"file {file.name}"] = (file.package,)
        for message in file.message_types_by_name.values():
            _declare_message(found, file, message)
        for enum in file.enum_types_by_name.values():
            _declare_enum(found, file, enum)
        for service in file.services_by_name.values():
            found[f"service {service.full_name}"] = (file.name,)
            for method in service.methods:
                types = (method.input_type.full_name, method.output_type.full_name)
                found[f"method {method.full_name}"] = (*types, method.client_streaming, method.server_streaming)
    return found


def _declare_message(found: Declarations, file: FileDescriptor, message: Descriptor) -> None:
    found[f"message {message.full_name}"] = (file.name, message.GetOptions().map_entry)
    for field in message.fields:
        found[f"field {field.full_name}"] = (
            field.number,
            field.type,
            field.is_repeated,
            field.is_packed,
            field.has_presence,
            field.json_name,
            field.message_type and field.message_type.full_name,
            field.enum_type and field.enum_type.full_name,
            field.containing_oneof and field.containing_oneof.name,
        )
    for nested in message.nested_types:
        _declare_message(found, file, nested)
    for enum in message.enum_types:
        _declare_enum(found, file, enum)


def _declare_enum(found: Declarations, file: FileDescriptor, enum: EnumDescriptor) -> None:
    found[f"enum {enum.full_name}"] = (file.name, enum.is_closed)
    for value in enum.values:
        found[f"value {enum.full_name}.{value.name}"] = (value.number,)


def missing(published: Declarations, ours: Declarations) -> list[str]:
    """What is published and not the same with us."""
    return [f"{name}: {signature}, ours {ours.get(name)}" for name, signature in published.items() if ours.get(name) != signature]
