"""Hypothesis strategies for what travels: events with every field of the contract, and bytes that are almost events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from chaukas.spec.common.v1.events_pb2 import Event, EventBatch
from chaukas.spec.server.v1.server_pb2 import IngestEventBatchRequest

#: A test must not depend on how busy the machine is.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

#: Objects, one in another, that a Struct of an event can hold in a batch and in an answer: protobuf reads 100 levels.
STRUCT_DEPTH_MAX = 32
TIMESTAMP_SECONDS_MIN = -62_135_596_800
TIMESTAMP_SECONDS_MAX = 253_402_300_799

#: Any text of protobuf: every code point but surrogates, NUL among them; now and then the bytes of tags (U+00BA is C2 BA).
texts = st.one_of(
    st.text(max_size=12),
    st.text(alphabet="º\x01\x02 a", max_size=8),
    st.text(alphabet=st.characters(codec="utf-8"), min_size=60, max_size=140),
)
#: Ids as clients make them.
ids = st.one_of(st.uuids().map(str), st.text(alphabet="abcdef0123456789", min_size=1, max_size=32), texts)

_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_STRING: texts,
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=20),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_DOUBLE: st.floats(),
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    # Known numbers mostly, and such that the contract does not have (yet).
    FieldDescriptor.TYPE_ENUM: st.one_of(st.integers(0, 63), st.integers(-(2**31), 2**31 - 1)),
}

json_values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)


@st.composite
def struct_dicts(draw: st.DrawFn, depth_max: int = 30) -> dict[str, Any]:
    """The content of a Struct, with objects nested up to `depth_max` deep around the rest."""
    value: dict[str, Any] = draw(st.dictionaries(texts, json_values, max_size=4))
    room = max(0, depth_max - _depth(value))
    for _ in range(draw(st.one_of(st.just(0), st.integers(0, room)))):
        value = {draw(st.text(max_size=3)): value}
    return value


def _depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def _fill_struct(draw: st.DrawFn, message: Message) -> None:
    assert isinstance(message, Struct)
    message.update(draw(struct_dicts()))


def _fill_timestamp(draw: st.DrawFn, message: Any) -> None:
    message.seconds = draw(
        st.one_of(st.integers(TIMESTAMP_SECONDS_MIN, TIMESTAMP_SECONDS_MAX), st.integers(1_600_000_000, 1_900_000_000))
    )
    message.nanos = draw(st.integers(0, 999_999_999))


def _fill_any(draw: st.DrawFn, message: Any) -> None:
    message.type_url = draw(
        st.sampled_from(["", "type.googleapis.com/google.protobuf.Empty", "type.googleapis.com/no.such.Type"])
    )
    message.value = draw(st.binary(max_size=20))


_FILLERS: dict[str, Callable[[st.DrawFn, Any], None]] = {
    "google.protobuf.Struct": _fill_struct,
    "google.protobuf.Timestamp": _fill_timestamp,
    "google.protobuf.Any": _fill_any,
}


def _fill(draw: st.DrawFn, message: Any, fields: Sequence[FieldDescriptor]) -> None:
    for field in fields:
        if field.message_type is None:
            values = _SCALARS[field.type]
            if field.is_repeated:
                getattr(message, field.name).extend(draw(st.lists(values, min_size=1, max_size=3)))
            else:
                setattr(message, field.name, draw(values))
            continue
        inner = getattr(message, field.name)
        if field.is_repeated:
            parts = [inner.add() for _ in range(draw(st.integers(1, 2)))]
        else:
            inner.SetInParent()
            parts = [inner]
        filler = _FILLERS.get(field.message_type.full_name)
        for part in parts:
            if filler is not None:
                filler(draw, part)
            else:
                _fill(draw, part, draw(_some(field.message_type.fields)))


def _some(fields: Sequence[FieldDescriptor], max_size: int = 6) -> st.SearchStrategy[list[FieldDescriptor]]:
    return st.lists(
        st.sampled_from(sorted(fields, key=lambda field: field.number)), unique_by=lambda field: field.number, max_size=max_size
    )


_CONTRACT_FIELDS = [field for field in Event.DESCRIPTOR.fields if field.number < 1000]


@st.composite
def events(draw: st.DrawFn, *, fields: Sequence[FieldDescriptor] = _CONTRACT_FIELDS) -> Event:
    """An event with any of the contract's fields set to anything they can hold; often not one that may be stored."""
    event = Event()
    _fill(draw, event, draw(_some(fields, 10)))
    return event


@st.composite
def valid_events(draw: st.DrawFn) -> Event:
    """An event that keeps the server's rules at their default limits."""
    event: Event = draw(events())
    short = st.one_of(st.uuids().map(str), st.text(max_size=20))
    for name in (
        "project_id",
        "session_id",
        "span_id",
        "parent_span_id",
        "agent_id",
        "invocation_id",
        "response_id",
        "branch",
        "trace_id",
    ):
        setattr(event, name, draw(short))
    event.event_id = draw(short.filter(bool))
    event.tenant_id = draw(st.text(alphabet="acmeä/ \x00", min_size=1, max_size=8))
    event.project_id = draw(st.text(max_size=4))
    event.type = draw(st.sampled_from([1, 20, 63, 999]))
    del event.tags[:]
    event.tags.extend(draw(st.lists(st.text(max_size=20), max_size=4)))
    return event


def batch_body(events: Sequence[bytes], batch_id: str = "batch") -> bytes:
    """A serialised `IngestEventBatchRequest` around event frames that need not parse."""
    head = EventBatch(batch_id=batch_id).SerializeToString()
    return length_delimited(1, head + b"".join(length_delimited(3, event) for event in events))


def good_batch_body(events: Sequence[Event]) -> bytes:
    """A serialised `IngestEventBatchRequest` as a client makes it."""
    return IngestEventBatchRequest(event_batch=EventBatch(batch_id="batch", events=events)).SerializeToString()


def varint(value: int, padding: int = 0) -> bytes:
    """A varint, padded by `padding` bytes more than it needs."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    for _ in range(padding):
        out[-1] |= 0x80
        out.append(0)
    return bytes(out)


def length_delimited(number: int, value: bytes) -> bytes:
    """A field of wire type 2."""
    return varint(number << 3 | 2) + varint(len(value)) + value


def nested_struct_event(depth: int, event_id: str = "deep") -> Event:
    """An event whose metadata holds objects nested `depth` deep."""
    event = Event(event_id=event_id, tenant_id="acme", type=1)
    struct = event.metadata
    for _ in range(depth - 1):
        struct = struct.fields["in"].struct_value
    struct.fields["end"].number_value = 1
    return event


@st.composite
def unknown_fields(draw: st.DrawFn) -> bytes:
    """Fields that `Event` does not declare: by their number, or by their wire type; numbers padded as no good encoder does."""
    out = b""
    for _ in range(draw(st.integers(1, 4))):
        padding = draw(st.sampled_from([0, 0, 1]))
        # All declared numbers of the envelope but 7 to 10, 16 and 17 are texts or messages: a varint makes them unknown.
        number = draw(st.sampled_from([2, 5, 11, 22, 23, 24, 29, 40, 100, 999, 1000, 1001, 5000]))
        kind = draw(st.sampled_from(["varint", "fixed64", "fixed32", "bytes", "group"]))
        if kind == "varint":
            out += varint(number << 3, padding) + varint(draw(st.integers(0, 2**64 - 1)))
        elif kind == "fixed64":
            out += varint(number << 3 | 1, padding) + draw(st.binary(min_size=8, max_size=8))
        elif kind == "fixed32":
            out += varint(number << 3 | 5, padding) + draw(st.binary(min_size=4, max_size=4))
        elif kind == "bytes" and number in (24, 29, 40, 100, 999, 1001, 5000):
            value = draw(st.binary(max_size=20))
            out += varint(number << 3 | 2, padding) + varint(len(value), padding) + value
        elif kind == "group":
            out += varint(number << 3 | 3, padding) + varint(8) + varint(1) + varint(number << 3 | 4)
    return out


@st.composite
def events_with_unknown_fields(draw: st.DrawFn) -> Event:
    """An event as a newer, older or broken client may send it."""
    return Event.FromString(draw(events()).SerializeToString() + draw(unknown_fields()))
