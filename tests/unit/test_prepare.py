"""From an event to a record: what is filled in, what is refused, and whose quarantine it goes to."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from chaukas.server.auth.principal import ANONYMOUS, Principal
from chaukas.server.ingest.prepare import prepare
from chaukas.server.storage.contract import EventRecord, QuarantineItem
from chaukas.server.validation import Limits
from chaukas.server.wire.frames import Frame, parse_batch, parse_single
from chaukas.spec.common.v1.events_pb2 import Event
from tests.strategies import STRUCT_DEPTH_MAX, batch_body, length_delimited, nested_struct_event

NOW_NS = 1_790_000_000_123_456_789
SERVER = "chaukas.example.org"
LIMITS = Limits()


def _event(**fields: object) -> Event:
    event = Event(**{"event_id": "e", "tenant_id": "acme", "project_id": "p", "type": 1, **fields})  # type: ignore[arg-type]
    event.timestamp.seconds, event.timestamp.nanos = 1_700_000_000, 123_456_789
    return event


def _prepare(item: Frame | Event, principal: Principal = ANONYMOUS, limits: Limits = LIMITS) -> EventRecord | QuarantineItem:
    return prepare(item, principal, limits, SERVER, NOW_NS)


def _record(item: Frame | Event, principal: Principal = ANONYMOUS) -> EventRecord:
    prepared = _prepare(item, principal)
    assert isinstance(prepared, EventRecord), prepared
    return prepared


def _set_aside(item: Frame | Event, principal: Principal = ANONYMOUS, limits: Limits = LIMITS) -> QuarantineItem:
    prepared = _prepare(item, principal, limits)
    assert isinstance(prepared, QuarantineItem), prepared
    return prepared


def test_record_carries_what_the_store_indexes() -> None:
    """Promise: every field of a record is the event's own, and its bytes are cut behind field 23."""
    event = _event(session_id="s", trace_id="t", span_id="sp", agent_id="a", tags=["x", "y"], status=4, severity=2)
    event.message.text = "hello"
    stored = event.SerializeToString(deterministic=True)
    expected = EventRecord(
        tenant_id="acme",
        project_id="p",
        event_id="e",
        session_id="s",
        trace_id="t",
        span_id="sp",
        agent_id="a",
        tags=("x", "y"),
        type=1,
        status=4,
        severity=2,
        timestamp_us=1_700_000_000_123_456,
        timestamp_sub_ns=789,
        stored=stored,
        envelope_bytes=len(stored) - len(length_delimited(30, length_delimited(2, b"hello"))),
        received=stored,
    )
    for item in (event, parse_single(length_delimited(1, stored)), parse_batch(batch_body([stored])).frames[0]):
        record = _record(item)
        assert record == expected
        assert record.stored is record.received
        assert {type(value) for value in dataclasses.astuple(record)} == {str, tuple, int, bytes}


def test_timestamp_is_filled_in_where_it_is_missing() -> None:
    """Promise: an event without a time gets the server's; a time that is there is kept, also 1970."""
    event = _event()
    event.ClearField("timestamp")
    received = event.SerializeToString(deterministic=True)
    record = _record(event)
    assert (record.timestamp_us, record.timestamp_sub_ns) == (NOW_NS // 1000, NOW_NS % 1000)
    assert Event.FromString(record.stored).timestamp.ToNanoseconds() == NOW_NS
    assert record.received == received
    epoch = _event()
    epoch.timestamp.Clear()
    epoch.timestamp.SetInParent()
    record = _record(epoch)
    assert (record.timestamp_us, record.timestamp_sub_ns, record.stored) == (0, 0, record.received)


@pytest.mark.parametrize("status", [0, 1, 5, 99])
def test_status_is_the_clients(status: int) -> None:
    """Promise: the server never changes the status that a client gave, nor invents one."""
    record = _record(_event(status=status))
    assert record.status == status
    assert Event.FromString(record.stored).status == status


def test_tenant_and_project_come_from_the_key_where_they_are_missing() -> None:
    """Promise: a client whose key says whose events it sends need not say it; the duplicate check sees what it sent."""
    event = _event(tenant_id="", project_id="")
    received = event.SerializeToString(deterministic=True)
    record = _record(event, Principal("key", "acme", "shop"))
    assert (record.tenant_id, record.project_id, record.received) == ("acme", "shop", received)
    stored = Event.FromString(record.stored)
    assert (stored.tenant_id, stored.project_id) == ("acme", "shop")
    same = _event(tenant_id="acme", project_id="shop")
    record = _record(same, Principal("key", "acme", "shop"))
    assert record.stored is record.received
    record = _record(_event(project_id="any"), Principal("key", "acme"))
    assert (record.project_id, record.stored is record.received) == ("any", True)


@pytest.mark.parametrize(
    ("tenant", "project", "principal", "kept_under", "reasons"),
    [
        ("other", "p", Principal("key", "acme"), ("acme", ""), ("tenant_id: is not the tenant that the caller's key is for",)),
        (
            "acme",
            "x",
            Principal("key", "acme", "p"),
            ("acme", "p"),
            ("project_id: is not the project that the caller's key is for",),
        ),
        (
            "other",
            "x",
            Principal("key", "acme", "p"),
            ("acme", "p"),
            (
                "tenant_id: is not the tenant that the caller's key is for",
                "project_id: is not the project that the caller's key is for",
            ),
        ),
        ("other", "", Principal("key", "acme"), ("acme", ""), ("tenant_id: is not the tenant that the caller's key is for",)),
    ],
)
def test_foreign_tenant_or_project_is_kept_under_the_keys_own(
    tenant: str, project: str, principal: Principal, kept_under: tuple[str, str], reasons: tuple[str, ...]
) -> None:
    """Promise: nobody writes into another's tenant, its quarantine included, and the event is not lost."""
    event = _event(tenant_id=tenant, project_id=project)
    raw = event.SerializeToString(deterministic=True)
    found = _set_aside(event, principal)
    assert (found.tenant_id, found.project_id) == kept_under
    assert (found.reasons, found.raw, found.event_id) == (reasons, raw, "e")


def test_foreign_tenant_and_broken_rules_are_said_together() -> None:
    """Promise: one round is enough to learn everything that is wrong with an event."""
    found = _set_aside(_event(tenant_id="other", type=0, session_id="s" * 300), Principal("key", "acme"))
    assert [reason.split(":")[0] for reason in found.reasons] == ["tenant_id", "type", "session_id"]


def test_bytes_of_a_refused_event_are_kept_as_received() -> None:
    """Promise: the quarantine has the very bytes that came, also where the event was read from a whole batch."""
    # The session comes twice and the type is unset: protobuf would write this event differently.
    raw = b"".join(
        [length_delimited(4, b"first"), length_delimited(1, b"e"), length_delimited(4, b"s"), length_delimited(2, b"acme")]
    )
    for frame in (parse_batch(batch_body([b"", raw])).frames[1], parse_single(length_delimited(1, raw))):
        assert frame.event is not None
        found = _set_aside(frame)
        assert found.raw == raw != frame.event.SerializeToString()
        assert (found.event_id, found.tenant_id, found.project_id) == ("e", "acme", "")
        assert found.reasons == ("type: is required, and must not be EVENT_TYPE_UNSPECIFIED",)


def test_frame_that_does_not_parse_is_kept_under_whom_it_names() -> None:
    """Promise: what does not parse is attributed to the caller's key, or else to the tenant that its bytes name."""
    raw = _event().SerializeToString() + length_delimited(5, b"\xff")
    frame = parse_single(length_delimited(1, raw))
    assert frame.event is None
    problem = "event: does not parse as an Event: span_id is not valid UTF-8"
    assert _set_aside(frame) == QuarantineItem("acme", "p", "e", raw, (problem,))
    assert _set_aside(frame, Principal("key", "acme")) == QuarantineItem("acme", "p", "e", raw, (problem,))
    assert _set_aside(frame, Principal("key", "mine")) == QuarantineItem("mine", "", "e", raw, (problem,))
    assert _set_aside(frame, Principal("key", "mine", "own")) == QuarantineItem("mine", "own", "e", raw, (problem,))


@pytest.mark.parametrize(
    ("tenant", "project", "kept_under"),
    [
        ("", "p", ("", "")),
        ("t" * 257, "p", ("", "")),
        ("t" * 250, "p", ("", "")),
        ("ü" * 100, "p", ("", "")),
        ("acme", "p" * 257, ("acme", "")),
        ("acme", "🎻" * 20, ("acme", "")),
        ("acme", "🎻", ("acme", "🎻")),
    ],
)
def test_only_what_may_name_a_log_names_a_place_in_the_quarantine(tenant: str, project: str, kept_under: tuple[str, str]) -> None:
    """Promise: no claimed tenant or project of any size reaches the quarantine's own columns."""
    found = _set_aside(_event(tenant_id=tenant, project_id=project, type=0))
    assert (found.tenant_id, found.project_id) == kept_under


def test_id_in_the_quarantine_is_short() -> None:
    """Promise: an id that is too long is shown cut, between characters; its bytes are kept whole."""
    event = _event(event_id="x" + "ü" * 1000)
    found = _set_aside(event)
    assert found.event_id == "x" + "ü" * 127
    assert Event.FromString(found.raw).event_id == event.event_id


def test_event_that_no_answer_can_hold_is_refused() -> None:
    """Promise: an event that was not parsed inside a batch is checked for its depth before it is stored."""
    assert isinstance(_prepare(nested_struct_event(STRUCT_DEPTH_MAX)), EventRecord)
    found = _set_aside(nested_struct_event(STRUCT_DEPTH_MAX + 1))
    assert found.reasons == ("event: is nested deeper than an answer can hold, of which protobuf reads 100 levels",)


@pytest.mark.parametrize(
    ("unknown", "reason"),
    [
        (b"\xc0\x3f\x01" * 1001, "event: has 1001 fields that the contract does not know; at most 1000 are allowed"),
        (
            b"\xc3\x3f" + b"\x08\x01" * 1000 + b"\xc4\x3f",
            "event: has a field that the contract does not know: a group holds more than 1000 fields",
        ),
    ],
)
def test_event_that_is_made_to_be_slow_is_refused(unknown: bytes, reason: str) -> None:
    """Promise: no event keeps the server busy with millions of fields that it does not know; up to a thousand are kept."""
    raw = _event().SerializeToString() + unknown
    frame = parse_single(length_delimited(1, raw))
    assert _set_aside(frame) == QuarantineItem("acme", "p", "e", raw, (reason,))
    raw = _event().SerializeToString() + b"\xc0\x3f\x01" * 1000
    assert _record(parse_single(length_delimited(1, raw))).stored == raw


def test_client_cannot_set_the_servers_time() -> None:
    """Promise: field 1000 is neither stored nor part of what makes two events the same."""
    event = _event()
    plain = _record(_event())
    event.server_timestamp.seconds = 7
    assert _record(event) == plain


def test_same_content_in_other_map_order_is_the_same() -> None:
    """Promise: the digest that decides "same content" does not depend on the order of map entries."""
    digests = set()
    for keys in (["a", "b", "c"], ["c", "b", "a"], ["b", "a", "c"]):
        event = _event()
        for key in keys:
            event.metadata[key] = key
        digests.add(hashlib.sha256(_record(event).received).digest())
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("event_id", ""),
        ("tenant_id", ""),
        ("type", 0),
        ("session_id", "s" * 257),
        ("parent_span_id", "s" * 257),
        ("agent_name", "n" * 1025),
        ("tags", ["t" * 257]),
        ("tags", [""] * 65),
        ("timestamp", Timestamp(seconds=-62_135_596_801)),
        ("timestamp", Timestamp(seconds=253_402_300_800)),
        ("timestamp", Timestamp(nanos=-1)),
        ("timestamp", Timestamp(nanos=1_000_000_000)),
        ("tenant_id", "ü" * 50),
    ],
)
def test_each_broken_rule_is_noticed(field: str, value: object) -> None:
    """Promise: the way that most events take overlooks no rule."""
    event = Event(**{"event_id": "e", "tenant_id": "acme", "type": 1, field: value})  # type: ignore[arg-type]
    (reason,) = _set_aside(parse_single(length_delimited(1, event.SerializeToString()))).reasons
    assert reason.startswith(field)


def test_event_at_its_largest() -> None:
    """Promise: the limit of an event counts the bytes as received, to the byte; what the server adds is not held against it."""
    event = _event()
    event.ClearField("timestamp")
    event.message.text = "x" * (LIMITS.event_bytes_max - 100)
    event.message.text += "x" * (LIMITS.event_bytes_max - event.ByteSize())
    assert event.ByteSize() == LIMITS.event_bytes_max
    assert len(_record(event).stored) > LIMITS.event_bytes_max
    event = _event()
    event.message.text = "x" * LIMITS.event_bytes_max
    assert _set_aside(event).reasons == (f"event: has {event.ByteSize()} bytes; at most {LIMITS.event_bytes_max} are allowed",)
