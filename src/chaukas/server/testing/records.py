"""Records for tests, built from real `Event` messages by plain protobuf means.

The ingest path prepares records in a faster way; this is the slow and obvious one, so a test may compare the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict, Unpack

from google.protobuf.unknown_fields import UnknownFieldSet

from chaukas.server.storage.contract import EventRecord
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["EventFields", "make_event", "make_record", "record_of"]

_LAST_ENVELOPE_FIELD = 23
_SERVER_TIMESTAMP_FIELD = 1000


def record_of(event: Event) -> EventRecord:
    """The record of an event that nothing enriched: `received` and `stored` are the same bytes.

    The event itself is not changed. Raises `ValueError` for an event with unknown fields numbered 1 to 23 or 1000: those
    need a scan of the wire format, and no client of the contract sends them.
    """
    unknown = UnknownFieldSet(event)
    numbers = {unknown[place].field_number for place in range(len(unknown))}
    odd = numbers & {*range(1, _LAST_ENVELOPE_FIELD + 1), _SERVER_TIMESTAMP_FIELD}
    if odd:
        raise ValueError(f"unknown fields with the numbers {sorted(odd)}")
    stored = _without(event, {_SERVER_TIMESTAMP_FIELD})
    # Known fields are written in ascending order and unknown ones last, so the content is exactly what a message without the
    # envelope's fields writes, and the envelope is what stands before it.
    content = _without(event, {*range(1, _LAST_ENVELOPE_FIELD + 1), _SERVER_TIMESTAMP_FIELD})
    return EventRecord(
        tenant_id=event.tenant_id,
        project_id=event.project_id,
        event_id=event.event_id,
        session_id=event.session_id,
        trace_id=event.trace_id,
        span_id=event.span_id,
        agent_id=event.agent_id,
        tags=tuple(event.tags),
        type=event.type,
        status=event.status,
        severity=event.severity,
        timestamp_us=event.timestamp.seconds * 1_000_000 + event.timestamp.nanos // 1_000,
        timestamp_sub_ns=event.timestamp.nanos % 1_000,
        stored=stored,
        envelope_bytes=len(stored) - len(content),
        received=stored,
    )


class EventFields(TypedDict, total=False):
    """What `make_event` lets a test choose; each has a default."""

    tenant_id: str
    project_id: str
    session_id: str
    trace_id: str
    span_id: str
    agent_id: str
    tags: Iterable[str]
    type: int
    status: int
    severity: int
    #: The timestamp in nanoseconds since 1970.
    at_ns: int
    #: What the event's message says; without a text the event has no content.
    text: str


_DEFAULTS: EventFields = {
    "tenant_id": "acme",
    "project_id": "shop",
    "session_id": "session-1",
    "trace_id": "trace-1",
    "span_id": "span-1",
    "agent_id": "agent-1",
    "tags": (),
    "type": 1,
    "status": 3,
    "severity": 2,
    "at_ns": 1_700_000_000_000_000_000,
    "text": "hello",
}


def make_event(event_id: str, **fields: Unpack[EventFields]) -> Event:
    """An event with the given fields and defaults for the others. Raises `TypeError` for a field that there is not."""
    if unknown := fields.keys() - _DEFAULTS.keys():
        raise TypeError(f"no such field: {sorted(unknown)}")
    chosen: EventFields = {**_DEFAULTS, **fields}
    event = Event(
        event_id=event_id,
        tenant_id=chosen["tenant_id"],
        project_id=chosen["project_id"],
        session_id=chosen["session_id"],
        trace_id=chosen["trace_id"],
        span_id=chosen["span_id"],
        agent_id=chosen["agent_id"],
        tags=chosen["tags"],
    )
    # Enums are open: a number that this version has no name for must pass, and stub files know only the names.
    for name in ("type", "status", "severity"):
        setattr(event, name, chosen[name])
    event.timestamp.seconds, event.timestamp.nanos = divmod(chosen["at_ns"], 1_000_000_000)
    if chosen["text"]:
        event.message.text = chosen["text"]
    return event


def make_record(event_id: str, **fields: Unpack[EventFields]) -> EventRecord:
    """`record_of(make_event(...))`: a record ready to be appended."""
    return record_of(make_event(event_id, **fields))


def _without(event: Event, numbers: set[int]) -> bytes:
    """The deterministic serialisation of the event without the fields that have these numbers."""
    rest = Event()
    rest.CopyFrom(event)
    for declared in event.DESCRIPTOR.fields:
        if declared.number in numbers:
            rest.ClearField(declared.name)
    return rest.SerializeToString(deterministic=True)
