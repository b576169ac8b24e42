"""The bytes of an event: how it is serialised, what is left out of them, and where its envelope ends (DESIGN §4).

`SerializeToString(deterministic=True)` writes the known fields of a message in ascending order of their numbers, map entries
in the order of their keys, and unknown fields last, in the order in which they were received.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from chaukas.server.errors import CannotServeError, ValidationError, Violation
from chaukas.server.wire.fields import LEN, VARINT, MalformedError, encode_varint, fields_of
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.spec.server.v1.server_pb2 import IngestEventBatchRequest

__all__ = [
    "envelope_length",
    "parse_as_answered",
    "readable_in_answers",
    "received_bytes",
    "require_contract",
    "timestamp_key",
]

_ENVELOPE_LAST = 23
#: A tag is number << 3 | wire type.
_ENVELOPE_TAG_LAST = _ENVELOPE_LAST << 3 | 7
_SERVER_TIMESTAMP = 1000
# The common module of the published client wheel does not declare field 1000: there, a client's value is an unknown field.
_DECLARES_SERVER_TIMESTAMP = "server_timestamp" in Event.DESCRIPTOR.fields_by_name

#: Each of them costs a look, by which an event that is made of nothing else could keep a server busy.
_UNKNOWN_FIELDS_MAX = 1000

#: First byte of the tag of `trace_id`; as a number, because the search for a single byte is the fastest.
_TRACE_ID_TAG = 0xBA
#: Tag and length of a `trace_id` of up to 127 bytes, by its length.
_TRACE_ID_HEADS = tuple(bytes((0xBA, 0x01, length)) for length in range(128))
#: Above this size the field-by-field scan beats searching the bytes for the trace id.
_SEARCHED_BYTES_MAX = 16 * 1024


def require_contract() -> None:
    """Refuse a common module without field 23 (`trace_id`): with it, what belongs into the envelope would be unknown fields.

    Called at start-up. Raises `CannotServeError`.
    """
    field = Event.DESCRIPTOR.fields_by_number.get(_ENVELOPE_LAST)
    if field is None or field.name != "trace_id":
        raise CannotServeError(
            "the installed chaukas.spec.common is older than release 1.0.5 of the contract (its Event has no trace_id): "
            "install chaukas-spec-server again, or chaukas-spec-client 1.0.5 or later"
        )


def received_bytes(event: Event) -> bytes:
    """The deterministic serialisation without field 1000, which is the server's to set. The event stays as it is.

    Equal for equal content whatever the order of map entries; unknown fields and the bits of NaN and -0.0 are kept. Raises
    `ValidationError` for more unknown fields than an event of any contract can have.
    """
    if _DECLARES_SERVER_TIMESTAMP and event.HasField("server_timestamp"):
        bare = Event()
        bare.CopyFrom(event)
        bare.ClearField("server_timestamp")
        event = bare
    data = event.SerializeToString(deterministic=True)
    unknown = len(UnknownFieldSet(event))
    return _without_server_timestamp(data, unknown) if unknown else data


def _without_server_timestamp(data: bytes, unknown: int) -> bytes:
    """Drop field 1000 where it is unknown: to an older contract, or by its wire type. All else stays byte for byte."""
    if unknown > _UNKNOWN_FIELDS_MAX:
        raise ValidationError(
            [
                Violation(
                    "event", f"has {unknown} fields that the contract does not know; at most {_UNKNOWN_FIELDS_MAX} are allowed"
                )
            ]
        )
    try:
        return b"".join(data[field.start : field.end] for field in fields_of(data) if field.number != _SERVER_TIMESTAMP)
    except MalformedError as error:
        raise ValidationError([Violation("event", f"has a field that the contract does not know: {error.problem}")]) from error


def envelope_length(stored: bytes, trace_id: str = "") -> int:
    """Length of the envelope of a serialised event: the prefix before its first field with a number above 23.

    `trace_id` is the event's own, where the caller has it; it makes the answer cheaper, never different. Raises
    `MalformedError` for bytes that are no serialised message.

    The shortcut: the event has this trace id, so its field 23 stands somewhere in the bytes exactly as `needle`. If `needle`
    occurs once only, that occurrence is the field, whatever the other strings hold; and so it is, found much faster, if the
    first byte of its tag occurs once only, as in most events. Known fields that follow it are above 23;
    but a declared number with a wrong wire type is unknown, comes last, and may be below 24. So the tag that follows is looked
    at: a tag is number << 3 | wire type, numbers above 23 begin at 192, and two bytes that settle it are C0 01 and above.
    """
    if trace_id and len(stored) <= _SEARCHED_BYTES_MAX:
        value = trace_id.encode()
        size = len(value)
        if size < 128:
            start = stored.find(_TRACE_ID_TAG)
            unique = stored.find(_TRACE_ID_TAG, start + 1) < 0
            if not unique:
                needle = _TRACE_ID_HEADS[size] + value
                start = stored.find(needle)
                unique = stored.find(needle, start + 1) < 0
            if unique:
                end = start + 3 + size
                if end == len(stored):
                    return end
                low = stored[end]
                if low >= 0x80:
                    high = stored[end + 1] & 0x7F
                    if high > 1 or (high == 1 and low >= 0xC0):
                        return end
    return _scan_envelope(stored)


def _scan_envelope(stored: bytes) -> int:
    """Field by field: what protobuf writes for short texts and small numbers is read here, all else by `fields_of`."""
    position, limit = 0, len(stored)
    try:
        while position < limit:
            tag, at = stored[position], position + 1
            if tag >= 0x80:
                # A tag of more than two bytes comes out as 0x4000 and above here.
                tag, at = tag & 0x7F | stored[at] << 7, position + 2
                if _ENVELOPE_TAG_LAST < tag < 0x4000:
                    return position
            byte = stored[at]
            if tag <= _ENVELOPE_TAG_LAST and byte < 0x80 and tag & 7 == LEN:
                position = at + 1 + byte
            elif tag <= _ENVELOPE_TAG_LAST and byte < 0x80 and tag & 7 == VARINT:
                position = at + 1
            else:
                field = next(fields_of(stored, position))
                if field.number > _ENVELOPE_LAST:
                    return position
                position = field.end
    except IndexError:
        position = limit + 1
    if position > limit:
        raise MalformedError(limit, "the last field is cut off")
    return limit


def timestamp_key(event: Event) -> tuple[int, int]:
    """The event's timestamp as (whole microseconds since 1970, floor; remaining nanoseconds, 0 to 999)."""
    timestamp = event.timestamp
    nanos = timestamp.nanos
    return timestamp.seconds * 1_000_000 + nanos // 1000, nanos % 1000


def parse_as_answered(raw: bytes) -> Event:
    """The event, parsed at the depth at which it stands in a batch and in an answer, `QueryEventsResponse.response.events`.

    Protobuf gives up at 100 levels, counted from the outermost message: an event that uses all of them on its own would
    make every answer that holds it unreadable. Raises protobuf's `DecodeError`.
    """
    inner = b"\x1a" + encode_varint(len(raw))
    request = IngestEventBatchRequest.FromString(b"\x0a" + encode_varint(len(inner) + len(raw)) + inner + raw)
    return request.event_batch.events[0]


def readable_in_answers(stored: bytes) -> bool:
    """Whether these bytes parse where an answer holds them; see `parse_as_answered`."""
    try:
        parse_as_answered(stored)
    except DecodeError:
        return False
    return True
