"""`record_of`: the slow and obvious way from an event to a record."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaukas.server.testing import make_event, make_record, record_of
from chaukas.spec.common.v1.events_pb2 import Event


def test_a_record_has_the_fields_of_its_event():
    """Everything that a store indexes is taken from the event as it is."""
    event = make_event("id", tags=["a", "", "a"], type=99, status=-3, at_ns=-1, agent_id="Ada \U0001f600")
    record = record_of(event)
    assert (record.event_id, record.tenant_id, record.project_id) == ("id", "acme", "shop")
    assert (record.session_id, record.trace_id, record.span_id) == ("session-1", "trace-1", "span-1")
    assert (record.agent_id, record.tags) == ("Ada \U0001f600", ("a", "", "a"))
    assert (record.type, record.status, record.severity) == (99, -3, 2)
    assert (record.timestamp_us, record.timestamp_sub_ns) == (-1, 999)
    assert Event.FromString(record.stored) == event
    assert record.received == record.stored


def test_the_server_timestamp_is_left_out_and_the_event_left_alone():
    """Field 1000 is never stored; the caller's event keeps it."""
    event = make_event("id")
    bare = record_of(event)
    event.server_timestamp.seconds = 5
    assert record_of(event) == bare
    assert event.server_timestamp.seconds == 5


def test_unknown_fields_below_the_content_are_refused():
    """An unknown field that only a scan of the wire format can place is an error, not a wrong cut."""
    for unknown in (b"\x28\x01", b"\xc0\x3e\x01"):
        with pytest.raises(ValueError, match="unknown fields"):
            record_of(Event.FromString(make_event("id").SerializeToString() + unknown))


def test_a_field_that_there_is_not_is_an_error():
    """A misspelt field fails instead of testing something else."""
    with pytest.raises(TypeError, match="no such field"):
        make_event("id", sesion_id="s")


@given(
    st.lists(st.text(max_size=5), max_size=3),
    st.text(max_size=200),
    st.integers(-62_135_596_800 * 10**9, 253_402_300_800 * 10**9 - 1),
    st.booleans(),
    st.sampled_from([b"", b"\xc0\x01\x07", b"\xca\xbb\x03\x05later"]),
)
def test_the_cut_is_where_the_content_begins(tags, text, at_ns, partial, unknown):
    """The envelope parses as the fields 1 to 23, and what follows is the content with unknown fields."""
    event = Event.FromString(make_event("id", tags=tags, text=text, at_ns=at_ns).SerializeToString() + unknown)
    event.is_partial = partial
    record = record_of(event)
    assert record.timestamp_us * 1_000 + record.timestamp_sub_ns == at_ns
    envelope, content = record.stored[: record.envelope_bytes], record.stored[record.envelope_bytes :]
    only_envelope, only_content = Event.FromString(envelope), Event.FromString(content)
    assert only_envelope.ByteSize() == len(envelope)
    assert {field.number for field, _ in only_envelope.ListFields()} <= set(range(1, 24))
    assert all(field.number > 23 for field, _ in only_content.ListFields())
    assert (only_envelope.event_id, list(only_envelope.tags)) == ("id", tags)
    assert only_content.message.text == text
    assert content.endswith(unknown)


def test_make_record_is_record_of_make_event():
    """The short way and the long way give the same record."""
    assert make_record("id", tags=["x"], text="") == record_of(make_event("id", tags=["x"], text=""))
