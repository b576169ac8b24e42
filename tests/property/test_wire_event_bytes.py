"""The bytes of any event: the same for the same content, cut where the contract says, nothing lost."""

from __future__ import annotations

import random
from typing import Any

from google.protobuf.struct_pb2 import Struct
from hypothesis import example, given
from hypothesis import strategies as st

from chaukas.server.wire.event_bytes import envelope_length, received_bytes
from chaukas.server.wire.fields import fields_of
from chaukas.spec.common.v1.events_pb2 import Event
from tests.strategies import events, events_with_unknown_fields, length_delimited, struct_dicts, texts, unhurried, unknown_fields


def _envelope_by_protobuf(event: Event) -> bytes:
    """The envelope, made by asking protobuf to serialise an event that has nothing else. An oracle without unknown fields."""
    bare = Event()
    bare.CopyFrom(event)
    for field in Event.DESCRIPTOR.fields:
        if field.number > 23:
            bare.ClearField(field.name)
    return bare.SerializeToString(deterministic=True)


def _number_at(data: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        value += (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 0x80:
            return value, at


def _behind_value(data: bytes, wire_type: int, at: int) -> int:
    if wire_type == 0:
        return _number_at(data, at)[1]
    if wire_type == 2:
        size, at = _number_at(data, at)
        return at + size
    if wire_type == 3:
        tag, at = _number_at(data, at)
        while tag & 7 != 4:
            tag, at = _number_at(data, _behind_value(data, tag & 7, at))
        return at
    return at + {1: 8, 5: 4}[wire_type]


def _envelope_length_by_reading(stored: bytes) -> int:
    """A second, naive reading of the encoding guide."""
    at = 0
    while at < len(stored):
        tag, value_at = _number_at(stored, at)
        if tag >> 3 > 23:
            return at
        at = _behind_value(stored, tag & 7, value_at)
    return at


@unhurried
@given(events())
def test_envelope_is_what_protobuf_writes_of_fields_1_to_23(event: Event) -> None:
    """Promise: the envelope commitment covers exactly the fields 1 to 23, with and without the trace id at hand."""
    stored = received_bytes(event)
    envelope = _envelope_by_protobuf(event)
    assert stored[: envelope_length(stored)] == envelope
    assert stored[: envelope_length(stored, event.trace_id)] == envelope


@unhurried
@given(events_with_unknown_fields())
@example(Event.FromString(length_delimited(23, b"t") + b"\x10\x05"))
@example(Event.FromString(length_delimited(23, b"t") + b"\xb8\x81\x00\x05"))
@example(Event.FromString(length_delimited(23, b"t") + b"\xc0\x81\x00\x05"))
@example(Event.FromString(length_delimited(23, b"t") + b"\xbb\x01\xbc\x01" + b"\xc0\x01\x05"))
def test_envelope_ends_before_the_first_number_above_23_whatever_is_unknown(event: Event) -> None:
    """Promise: unknown fields do not move the cut away from where a second reading of the same bytes finds it."""
    stored = received_bytes(event)
    expected = _envelope_length_by_reading(stored)
    assert envelope_length(stored) == expected
    assert envelope_length(stored, event.trace_id) == expected


@unhurried
@given(
    events(),
    texts.filter(bool),
    st.sampled_from(["branch", "agent_name", "event_id", "tags", "text", "metadata"]),
    st.sampled_from(["", "\u00e4", "\u00fe\x01", "\u00e4\u00ba\x01x"]),
    st.booleans(),
)
def test_texts_that_look_like_the_trace_id_field_do_not_move_the_cut(
    event: Event, trace_id: str, where: str, behind: str, alone: bool
) -> None:
    """Promise: no text that a client may choose makes the envelope end at a wrong place."""
    if alone:
        event.Clear()
    event.trace_id = trace_id
    # The tag, BA 01, is valid text behind a lead byte, so the whole field can stand inside another text; behind it more text
    # that reads like the tag of a content field.
    copy = (b"\xc2" + length_delimited(23, trace_id.encode())).decode(errors="replace") + behind
    if where == "tags":
        event.tags.append(copy)
    elif where == "text":
        event.message.text = copy
    elif where == "metadata":
        event.metadata[copy] = copy
    else:
        setattr(event, where, copy)
    stored = received_bytes(event)
    assert envelope_length(stored, trace_id) == len(_envelope_by_protobuf(event))


@unhurried
@given(st.one_of(events(), events_with_unknown_fields()))
def test_stored_bytes_are_the_event(event: Event) -> None:
    """Promise: envelope and content put together parse to the event that was received, and serialise to the same bytes."""
    stored = received_bytes(event)
    cut = envelope_length(stored, event.trace_id)
    again = Event.FromString(stored[:cut] + stored[cut:])
    assert received_bytes(again) == stored
    if not any(field.number == 1000 for field in fields_of(event.SerializeToString())):
        assert event.SerializeToString(deterministic=True) == stored


@unhurried
@given(events(), unknown_fields(), st.binary(max_size=10), st.booleans())
def test_field_1000_is_dropped_and_nothing_else(event: Event, unknown: bytes, value: bytes, declared: bool) -> None:
    """Promise: what a client claims as the server's time is never stored, in whatever form; other unknown fields are kept."""
    data = event.SerializeToString()
    kept = b"".join(unknown[field.start : field.end] for field in fields_of(unknown) if field.number != 1000)
    claimed = length_delimited(1000, b"\x08\x05") if declared else b"\xc0\xbe\x00" + b"\x05" + b"\xc1\x3e" + value[:8].ljust(8)
    received = received_bytes(Event.FromString(data + claimed + unknown))
    assert received == Event.FromString(data + kept).SerializeToString(deterministic=True)
    assert all(field.number != 1000 for field in fields_of(received))


def _shuffled(value: Any, order: random.Random) -> Any:
    if isinstance(value, dict):
        items = [(key, _shuffled(item, order)) for key, item in value.items()]
        order.shuffle(items)
        return dict(items)
    return [_shuffled(item, order) for item in value] if isinstance(value, list) else value


def _struct_in_order(value: dict[str, Any]) -> bytes:
    """A Struct serialised with its entries in the order of the dict, as clients in other languages may."""
    out = b""
    for key, item in value.items():
        if isinstance(item, dict):
            inner = length_delimited(5, _struct_in_order(item))
        else:
            single = Struct()
            single.update({"": item})
            inner = single.fields[""].SerializeToString()
        out += length_delimited(1, length_delimited(1, key.encode()) + length_delimited(2, inner))
    return out


@unhurried
@given(struct_dicts(), st.randoms(use_true_random=False))
def test_order_of_map_entries_does_not_matter(content: dict[str, Any], order: random.Random) -> None:
    """Promise: an event that is sent again with its maps in another order is the same content, not a rejected one."""
    first, second = (
        Event.FromString(length_delimited(1, b"e") + length_delimited(90, _struct_in_order(value)))
        for value in (content, _shuffled(content, order))
    )
    assert received_bytes(first) == received_bytes(second)
