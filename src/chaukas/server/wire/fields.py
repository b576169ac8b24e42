"""The fields of a serialised message, one after another, without knowing its type.

Source: the protobuf encoding guide. The protobuf runtime reads messages; this finds places in bytes that the runtime wrote,
and reads what the runtime refuses to read as a whole. It is as lenient as the runtime or more (numbers may be padded, unknown
groups may nest), but for one limit: a group, which no encoder writes any more, is read up to a thousand fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["LEN", "VARINT", "Field", "MalformedError", "encode_varint", "fields_of", "read_varint"]

#: Wire types: `LEN` is everything that states its length, as texts and messages do.
VARINT, _I64, LEN, _START_GROUP, _END_GROUP, _I32 = range(6)
_NUMBER_MAX = (1 << 29) - 1
#: The runtime gives up there as well.
_GROUPS_DEPTH_MAX = 100
#: Reading a field takes a microsecond here: groups of millions of them are made to keep a server busy.
_GROUP_FIELDS_MAX = 1000


class MalformedError(ValueError):
    """The bytes from `offset` on are no protobuf field."""

    def __init__(self, offset: int, problem: str) -> None:
        super().__init__(f"{problem} (byte {offset})")
        self.offset = offset
        self.problem = problem


class Field(NamedTuple):
    """One field. Offsets count from the start of the buffer."""

    number: int
    wire_type: int
    #: Where the tag begins.
    start: int
    #: Where the value begins; behind the length, if the field has one.
    value: int
    #: Where the next field begins.
    end: int


def encode_varint(value: int) -> bytes:
    """The shortest varint of a number that is not negative."""
    if value < 0x80:
        return bytes((value,))
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, position: int, limit: int) -> tuple[int, int]:
    """The varint at `position`, and where it ends. Raises `MalformedError` unless it ends before `limit` and in ten bytes."""
    value = shift = 0
    for at in range(position, min(limit, position + 10)):
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
        shift += 7
    raise MalformedError(position, "a number is cut off" if limit - position < 10 else "a number is longer than ten bytes")


def fields_of(data: bytes, start: int = 0, limit: int | None = None) -> Iterator[Field]:
    """The fields of `data[start:limit]`, lazily and without copies.

    Raises `MalformedError` at the first place that is no field. A field that claims more bytes than there are is given
    before that, `end` beyond `limit` telling it, because the bytes that are there may be of use; the error's offset is its start.
    """
    if limit is None:
        limit = len(data)
    position = start
    while position < limit:
        try:
            field = _field_at(data, position, limit)
        except MalformedError as error:
            # Within the field it does not matter where; whoever goes on reading needs the place up to which all was well.
            raise MalformedError(position, error.problem) from None
        yield field
        if field.end > limit:
            raise MalformedError(
                position, f"field {field.number} claims {field.end - field.value} bytes, {limit - field.value} are there"
            )
        position = field.end


def _field_at(data: bytes, position: int, limit: int) -> Field:
    tag = data[position]
    value = position + 1
    if tag >= 0x80:
        tag, value = read_varint(data, position, limit)
    number, wire_type = tag >> 3, tag & 7
    if not 0 < number <= _NUMBER_MAX:
        raise MalformedError(position, f"no field has the number {number}")
    if wire_type == LEN:
        length, value = read_varint(data, value, limit)
        return Field(number, wire_type, position, value, value + length)
    if wire_type == _START_GROUP:
        return Field(number, wire_type, position, value, _end_of_group(data, position, limit))
    return Field(number, wire_type, position, value, _end_of_scalar(data, wire_type, position, value, limit))


def _end_of_scalar(data: bytes, wire_type: int, position: int, value: int, limit: int) -> int:
    if wire_type == VARINT:
        return read_varint(data, value, limit)[1]
    if wire_type == _END_GROUP:
        raise MalformedError(position, "a group ends that did not begin")
    if wire_type not in (_I64, _I32):
        raise MalformedError(position, f"there is no wire type {wire_type}")
    end = value + (8 if wire_type == _I64 else 4)
    if end > limit:
        raise MalformedError(position, "a number is cut off")
    return end


def _end_of_group(data: bytes, start: int, limit: int) -> int:
    """Where the group that begins at `start` ends. A loop and not a recursion, because the depth is the sender's choice."""
    open_groups: list[int] = []
    position = start
    for _ in range(_GROUP_FIELDS_MAX):
        if position >= limit:
            raise MalformedError(start, "a group does not end")
        tag, value = read_varint(data, position, limit)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == _START_GROUP:
            open_groups.append(number)
            if len(open_groups) > _GROUPS_DEPTH_MAX:
                raise MalformedError(start, f"groups are nested deeper than {_GROUPS_DEPTH_MAX}")
            position = value
        elif wire_type == _END_GROUP:
            if open_groups.pop() != number:
                raise MalformedError(start, f"the group {number} ends inside another")
            position = value
            if not open_groups:
                return position
        elif wire_type == LEN:
            length, value = read_varint(data, value, limit)
            position = value + length
        else:
            position = _end_of_scalar(data, wire_type, position, value, limit)
    raise MalformedError(start, f"a group holds more than {_GROUP_FIELDS_MAX} fields")
