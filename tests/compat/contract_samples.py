"""Messages with every field filled, built from their descriptors.

The same code runs beside our stubs and beside the published ones, so equal declarations give equal messages. Every
value is derived from the number or name of its field: a mix-up of two fields cannot go unnoticed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from google.protobuf.descriptor import Descriptor, FileDescriptor
    from google.protobuf.message import Message

_STRUCT = {"none": None, "yes": True, "number": -1.5, "text": "日本語 \u0000 ✓", "list": [1, [], {"deep": [{}]}]}

_SCALARS: dict[int, Callable[[FieldDescriptor, int], Any]] = {
    FieldDescriptor.TYPE_DOUBLE: lambda field, index: field.number + 0.25 + index,
    FieldDescriptor.TYPE_INT32: lambda field, index: -field.number - index,
    FieldDescriptor.TYPE_INT64: lambda field, index: 2**40 + field.number + index,
    FieldDescriptor.TYPE_BOOL: lambda _field, _index: True,
    FieldDescriptor.TYPE_STRING: lambda field, index: f"{field.name} № {field.number}.{index}",
    FieldDescriptor.TYPE_BYTES: lambda field, index: bytes((0, 255, field.number, index)),
    FieldDescriptor.TYPE_ENUM: lambda field, index: field.enum_type.values[1 + index].number,
}


def top_level_messages(files: Collection[FileDescriptor]) -> Iterator[Descriptor]:
    """Every message of the files that no other one contains."""
    for file in files:
        yield from file.message_types_by_name.values()


def alternatives(files: Collection[FileDescriptor]) -> list[int]:
    """The field numbers of all alternatives of all oneofs: each of them makes another sample."""
    oneofs = [oneof for message in top_level_messages(files) for oneof in message.oneofs]
    return sorted({field.number for oneof in oneofs for field in oneof.fields})


def fill(message: Message, alternative: int, declared: Collection[str] | None = None) -> None:
    """Set every field, and of a oneof the field with the number given.

    With ``declared``, a set of full names, fields that are not in it stay unset.
    """
    if message.DESCRIPTOR.full_name == "google.protobuf.Struct":
        message.update(_STRUCT)  # type: ignore[attr-defined]
        return
    for field in message.DESCRIPTOR.fields:
        if field.containing_oneof is not None and field.number != alternative:
            continue
        if declared is not None and field.full_name.startswith("chaukas.") and field.full_name not in declared:
            continue
        _fill_field(message, field, alternative, declared)


def _fill_field(message: Message, field: FieldDescriptor, alternative: int, declared: Collection[str] | None) -> None:
    present = getattr(message, field.name)
    inner = field.message_type
    if inner is not None and inner.GetOptions().map_entry:
        for index in range(3):
            present[f"key {index}"] = _SCALARS[inner.fields_by_name["value"].type](field, index)
    elif inner is not None and field.is_repeated:
        for _index in range(2):
            fill(present.add(), alternative, declared)
    elif inner is not None:
        present.SetInParent()
        fill(present, alternative, declared)
    elif field.is_repeated:
        present.extend(_SCALARS[field.type](field, index) for index in range(2))
    else:
        setattr(message, field.name, _SCALARS[field.type](field, 0))
