"""Stored bytes of an event: where the envelope ends, and the few names in it that a verifier compares or shows.

The contract numbers the fields of an envelope 1 to 23, all of them declared, and protobuf's deterministic serialisation writes
known fields in ascending order: the envelope is what stands before the first field number above 23. Nothing here knows the
contract beyond these numbers, so an event of a newer contract is read as well.
"""

from __future__ import annotations

from dataclasses import dataclass

from chaukas.verify.errors import VerificationError

__all__ = ["ENVELOPE_FIELD_MAX", "StoredEvent", "envelope_length", "read_stored_event"]

#: The highest field number of an envelope.
ENVELOPE_FIELD_MAX = 23
_NAMES = {1: "event_id", 2: "tenant_id", 3: "project_id", 4: "session_id"}
_TYPE, _TIMESTAMP = 7, 11
_VARINT, _LENGTH_DELIMITED = 0, 2
_FIXED_WIDTHS = {1: 8, 5: 4}


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """`envelope` ‖ `content` are the stored bytes. Names are empty and numbers 0 where the event says nothing."""

    envelope: bytes
    content: bytes
    event_id: str
    tenant_id: str
    project_id: str
    session_id: str
    #: Number in the contract's enum EventType.
    type: int
    #: The client's time: seconds since 1970 and nanoseconds, as in google.protobuf.Timestamp.
    timestamp: tuple[int, int]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """(value, position after it) of the varint at `at`."""
    value = shift = 0
    while shift < 70 and at < len(data):
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
    raise VerificationError("the stored event is not a protobuf message")


def _value(data: bytes, wire_type: int, at: int) -> tuple[bytes | int | None, int]:
    """(value, position after it) of a field: a number, the bytes of a length-delimited field, None for fixed width."""
    if wire_type == _LENGTH_DELIMITED:
        length, start = _varint(data, at)
        end = start + length
        if end > len(data):
            raise VerificationError("the stored event ends within a field")
        return data[start:end], end
    if wire_type == _VARINT:
        return _varint(data, at)
    width = _FIXED_WIDTHS.get(wire_type)
    if width is None:
        raise VerificationError("the stored event has a field with a wire type that an envelope does not use")
    if at + width > len(data):
        raise VerificationError("the stored event ends within a field")
    return None, at + width


def _envelope_fields(stored: bytes) -> tuple[dict[int, bytes | int | None], int]:
    """Values of fields 1 to 23 (the last one of each counts) and the length of the envelope."""
    fields: dict[int, bytes | int | None] = {}
    at, end = 0, len(stored)
    while at < end:
        tag, start = _varint(stored, at)
        number = tag >> 3
        if number > ENVELOPE_FIELD_MAX:
            break
        if number == 0:
            raise VerificationError("the stored event has a field with the number 0")
        fields[number], at = _value(stored, tag & 7, start)
    return fields, at


def envelope_length(stored: bytes) -> int:
    """How many of the stored bytes of an event are its envelope. Raises `VerificationError` if they are no protobuf message."""
    return _envelope_fields(stored)[1]


def _text(fields: dict[int, bytes | int | None], number: int) -> str:
    value = fields.get(number, b"")
    if not isinstance(value, bytes):
        raise VerificationError(f"the stored event's field {_NAMES[number]} is no text")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise VerificationError(f"the stored event's field {_NAMES[number]} is no UTF-8") from error


def _timestamp(value: bytes | int | None) -> tuple[int, int]:
    """Seconds and nanoseconds of a google.protobuf.Timestamp; it is only shown, so what is odd in it shows as zero."""
    parts = {1: 0, 2: 0}
    at, data = 0, value if isinstance(value, bytes) else b""
    while at < len(data):
        tag, at = _varint(data, at)
        part, at = _value(data, tag & 7, at)
        if isinstance(part, int) and tag >> 3 in parts:
            parts[tag >> 3] = part - (1 << 64) if part >> 63 else part
    return parts[1], parts[2]


def read_stored_event(stored: bytes) -> StoredEvent:
    """Cut the stored bytes of an event and read its names. Raises `VerificationError` if they are no protobuf message."""
    fields, cut = _envelope_fields(stored)
    names = {name: _text(fields, number) for number, name in _NAMES.items()}
    number = fields.get(_TYPE, 0)
    return StoredEvent(
        envelope=stored[:cut],
        content=stored[cut:],
        type=number if isinstance(number, int) else 0,
        timestamp=_timestamp(fields.get(_TIMESTAMP, b"")),
        **names,
    )
