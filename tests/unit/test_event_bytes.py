"""What is left out of an event's bytes, where its envelope ends, and what the common module must declare."""

from __future__ import annotations

import struct

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from chaukas.server.errors import CannotServeError
from chaukas.server.wire import event_bytes
from chaukas.server.wire.event_bytes import (
    envelope_length,
    parse_as_answered,
    readable_in_answers,
    received_bytes,
    require_contract,
    timestamp_key,
)
from chaukas.server.wire.fields import MalformedError
from chaukas.spec.common.v1 import events_pb2
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.spec.common.v1.query_pb2 import QueryResponse
from chaukas.spec.server.v1.server_pb2 import QueryEventsResponse
from tests.strategies import STRUCT_DEPTH_MAX, nested_struct_event


def _event_class_without(number: int) -> type[Event]:
    """`Event` as a common module declares it that lacks one field."""
    pool = descriptor_pool.DescriptorPool()
    for file in events_pb2.DESCRIPTOR.dependencies:
        pool.Add(descriptor_pb2.FileDescriptorProto.FromString(file.serialized_pb))
    proto = descriptor_pb2.FileDescriptorProto.FromString(events_pb2.DESCRIPTOR.serialized_pb)
    message = next(message for message in proto.message_type if message.name == "Event")
    del message.field[next(index for index, field in enumerate(message.field) if field.number == number)]
    pool.Add(proto)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("chaukas.spec.common.v1.Event"))


def test_installed_contract_is_accepted() -> None:
    """Promise: the server starts with the contract that it carries."""
    require_contract()


def test_contract_without_trace_id_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: with a common module older than 1.0.5 the server refuses to start, saying what to install."""
    monkeypatch.setattr(event_bytes, "Event", _event_class_without(23))
    with pytest.raises(CannotServeError, match=r"trace_id.*chaukas-spec-client 1\.0\.5"):
        require_contract()


def test_server_timestamp_of_a_client_is_dropped_and_its_event_left_alone() -> None:
    """Promise: a client's `server_timestamp` is never stored, and the caller's event keeps it."""
    event = Event(event_id="e")
    event.server_timestamp.seconds = 5
    assert received_bytes(event) == Event(event_id="e").SerializeToString()
    assert event.server_timestamp.seconds == 5


def test_server_timestamp_is_dropped_where_the_common_module_does_not_know_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: with the published common module installed, field 1000 is dropped as well, and other unknown fields are kept."""
    event = Event(event_id="e", trace_id="t")
    event.server_timestamp.seconds = 5
    monkeypatch.setattr(event_bytes, "_DECLARES_SERVER_TIMESTAMP", False)
    published = _event_class_without(1000).FromString(event.SerializeToString() + b"\xc8\x3e\x07")
    assert received_bytes(published) == Event(event_id="e", trace_id="t").SerializeToString() + b"\xc8\x3e\x07"


def test_bits_of_odd_numbers_are_kept() -> None:
    """Promise: NaN payloads and negative zero are stored bit for bit."""
    payload = b"\x01\x02\x03\x00\x00\x00\xf8\x7f"
    event = Event(event_id="e")
    event.metadata["nan"] = struct.unpack("<d", payload)[0]
    event.cost.input_cost = -0.0
    data = received_bytes(Event.FromString(received_bytes(event)))
    assert payload in data
    assert struct.pack("<d", -0.0) in data


@pytest.mark.parametrize(
    ("seconds", "nanos", "key"),
    [
        (0, 0, (0, 0)),
        (0, 999, (0, 999)),
        (1, 1_001, (1_000_001, 1)),
        (-1, 999_999_999, (-1, 999)),
        (-62_135_596_800, 0, (-62_135_596_800_000_000, 0)),
        (253_402_300_799, 999_999_999, (253_402_300_799_999_999, 999)),
    ],
)
def test_timestamp_key_keeps_the_order_of_times(seconds: int, nanos: int, key: tuple[int, int]) -> None:
    """Promise: times are whole microseconds, floored, and the nanoseconds beyond, also before 1970 and at both ends."""
    event = Event()
    event.timestamp.seconds, event.timestamp.nanos = seconds, nanos
    assert timestamp_key(event) == key


def test_envelope_of_an_event_without_content_is_all_of_it() -> None:
    """Promise: nothing of an event without content falls out of the envelope, and an empty event has an empty one."""
    stored = Event(event_id="e", trace_id="t").SerializeToString()
    assert envelope_length(stored, "t") == envelope_length(stored) == len(stored)
    assert envelope_length(b"") == 0


def test_trace_id_too_long_for_the_shortcut() -> None:
    """Promise: a trace id of any length is cut right."""
    for length in (126, 127, 128, 300):
        event = Event(event_id="e", trace_id="t" * length)
        event.message.text = "x"
        stored = event.SerializeToString()
        assert stored[envelope_length(stored, event.trace_id) :] == b"\xf2\x01\x03\x12\x01x"


def test_large_event_is_cut_without_searching_it() -> None:
    """Promise: the cut is exact for events of any size."""
    event = Event(event_id="e", trace_id="t")
    event.message.text = "x" * 100_000
    stored = event.SerializeToString()
    assert envelope_length(stored, "t") == len(Event(event_id="e", trace_id="t").SerializeToString())


@pytest.mark.parametrize("stored", [b"\x0a", b"\x0a\x05ab\x80", b"\xba", b"\x08\x80", b"\x0c\x01"])
def test_bytes_that_are_no_message_have_no_envelope(stored: bytes) -> None:
    """Promise: damaged bytes give an error of ours, never an IndexError."""
    with pytest.raises(MalformedError):
        envelope_length(stored)


def test_event_that_is_too_deep_for_an_answer_is_found() -> None:
    """Promise: an event that parses on its own, but not inside an answer, is recognised before it is stored."""
    fits, too_deep = nested_struct_event(STRUCT_DEPTH_MAX), nested_struct_event(STRUCT_DEPTH_MAX + 1)
    for event in (fits, too_deep):
        Event.FromString(event.SerializeToString())
    assert readable_in_answers(received_bytes(fits))
    assert parse_as_answered(received_bytes(fits)) == fits
    QueryEventsResponse.FromString(QueryEventsResponse(response=QueryResponse(events=[fits])).SerializeToString())
    assert not readable_in_answers(received_bytes(too_deep))
    with pytest.raises(DecodeError):
        QueryEventsResponse.FromString(QueryEventsResponse(response=QueryResponse(events=[too_deep])).SerializeToString())
