"""The few lines of protobuf's wire format that the workload writes by hand.

Templates are written here rather than by the generated classes because slots of known width have to be found again in the
bytes, and because the entries of a Struct shall stand in the order of the program that made them: the generated classes
write them sorted (deterministic) or in an order that differs from process to process. Sources: the protobuf encoding
guide; google/protobuf/struct.proto; google/protobuf/timestamp.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

__all__ = ["StructValue", "boolean", "double", "length_delimited", "struct_value", "text", "varint", "varint_field"]

#: What a Struct can hold, except null; bytes are UTF-8 text that is already encoded, slots included.
StructValue = bool | float | int | bytes | str | Sequence["StructValue"] | Mapping[str, "StructValue"]


def varint(value: int) -> bytes:
    """The base-128 form of a number that is not negative."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def length_delimited(number: int, value: bytes) -> bytes:
    """A field of wire type 2: text, bytes, or a message."""
    return varint(number << 3 | 2) + varint(len(value)) + value


def text(number: int, value: bytes | str) -> bytes:
    """A string field; nothing at all for the empty string, as proto3 has it."""
    raw = value.encode() if isinstance(value, str) else value
    return length_delimited(number, raw) if raw else b""


def varint_field(number: int, value: int) -> bytes:
    """An int32, int64 or enum field that is not negative; nothing at all for 0."""
    return varint(number << 3) + varint(value) if value else b""


def boolean(number: int, value: bool) -> bytes:
    """A bool field; nothing at all for false."""
    return varint_field(number, int(value))


def double(number: int, value: float) -> bytes:
    """A double field; nothing at all for 0."""
    return varint(number << 3 | 1) + struct.pack("<d", value) if value else b""


def struct_value(entries: Mapping[str, StructValue]) -> bytes:
    """A google.protobuf.Struct with its entries in the order given."""
    return b"".join(
        length_delimited(1, length_delimited(1, key.encode()) + length_delimited(2, _value(value)))
        for key, value in entries.items()
    )


def _value(value: StructValue) -> bytes:
    """A google.protobuf.Value. Its fields are a oneof, so a default is written out."""
    if isinstance(value, bool):
        return b"\x20" + varint(int(value))
    if isinstance(value, int | float):
        return b"\x11" + struct.pack("<d", value)
    if isinstance(value, str):
        return length_delimited(3, value.encode())
    if isinstance(value, bytes):
        return length_delimited(3, value)
    if isinstance(value, Mapping):
        return length_delimited(5, struct_value(value))
    return length_delimited(6, b"".join(length_delimited(1, _value(item)) for item in value))
