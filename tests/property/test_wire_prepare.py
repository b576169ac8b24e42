"""Preparation of any event agrees with the plain reading of the rules, whatever shortcuts it takes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chaukas.server.auth.principal import ANONYMOUS, Principal
from chaukas.server.ingest.prepare import prepare
from chaukas.server.storage.contract import EventRecord, QuarantineItem
from chaukas.server.validation import Limits, violations
from chaukas.server.wire.event_bytes import envelope_length, received_bytes, timestamp_key
from chaukas.server.wire.frames import Frame
from chaukas.spec.common.v1.events_pb2 import Event
from tests.strategies import events, events_with_unknown_fields, unhurried, valid_events

SERVER = "chaukas.example.org"
NOW_NS = 1_790_000_000_123_456_789

#: From so small that hardly an event fits to the default, so that each limit is met from both sides.
_limits = st.just(Limits()) | st.builds(
    Limits,
    event_bytes_max=st.sampled_from([50, 200, 400, 2 * 1024 * 1024]),
    id_bytes_max=st.sampled_from([1, 20, 36, 64, 256]),
    name_bytes_max=st.sampled_from([1, 20, 1024]),
    tags_max=st.sampled_from([1, 2, 64]),
    tag_bytes_max=st.sampled_from([1, 10, 256]),
    origin_bytes_max=st.sampled_from([30, 60, 255]),
)
_times = st.tuples(
    st.sampled_from([0, -62_135_596_801, -62_135_596_800, 1_700_000_000, 253_402_300_799, 253_402_300_800]),
    st.sampled_from([-1, 0, 1, 999_999_999, 1_000_000_000]),
)


@st.composite
def _events_near_a_limit(draw: st.DrawFn) -> Event:
    """A small event of which one text, or the number of tags, is about as large as the default limits allow."""
    event = Event(event_id="e", tenant_id="t", type=1, trace_id=draw(st.text(max_size=4)))
    name = draw(st.sampled_from([*_TEXTS, "tags", "one tag"]))
    character = draw(st.sampled_from("xü語🎻"))
    size = draw(st.integers(-4, 4)) + {"agent_name": 1024, "tags": 64}.get(name, 256)
    text = character * (size // len(character.encode())) + "y" * (size % len(character.encode()))
    if name == "tags":
        event.tags.extend([draw(st.sampled_from(["", "t"]))] * size)
    elif name == "one tag":
        event.tags.append(text)
    else:
        setattr(event, name, text)
    return event


_TEXTS = [
    field.name
    for field in Event.DESCRIPTOR.fields
    if field.number < 24 and field.type == field.TYPE_STRING and field.name != "tags"
]
_DEFAULTS = Limits(origin_bytes_max=1000)


@unhurried
@given(_events_near_a_limit(), st.sampled_from([_DEFAULTS, Limits()]), st.one_of(st.none(), _times))
def test_shortcut_agrees_with_the_rules_at_each_limit(event: Event, limits: Limits, time: tuple[int, int] | None) -> None:
    """Promise: no limit is off by a byte or a tag because most events are not looked at field by field."""
    _assert_agrees(event, limits, time)


@unhurried
@given(st.one_of(valid_events(), events(), events_with_unknown_fields()), _limits, st.one_of(st.none(), _times))
def test_shortcut_agrees_with_the_rules(event: Event, limits: Limits, time: tuple[int, int] | None) -> None:
    """Promise: an event is stored if and only if it breaks no rule, and refused with every rule that it breaks."""
    _assert_agrees(event, limits, time)


def _assert_agrees(event: Event, limits: Limits, time: tuple[int, int] | None) -> None:
    if time is not None:
        event.timestamp.seconds, event.timestamp.nanos = time
    received = received_bytes(event)
    complete = event.HasField("timestamp")
    expected = [str(violation) for violation in violations(event, len(received), limits, SERVER)]
    prepared = prepare(Frame(received, event), ANONYMOUS, limits, SERVER, NOW_NS)
    if expected:
        assert isinstance(prepared, QuarantineItem)
        assert list(prepared.reasons) == expected
        assert prepared.raw == received
        return
    assert isinstance(prepared, EventRecord)
    assert prepared.received == received
    assert (prepared.stored == received) == complete
    stored = Event.FromString(prepared.stored)
    assert prepared.envelope_bytes == envelope_length(prepared.stored)
    assert (prepared.timestamp_us, prepared.timestamp_sub_ns) == timestamp_key(stored)
    assert (prepared.tags, prepared.type, prepared.status) == (tuple(stored.tags), stored.type, stored.status)
    ids = prepared.event_id, prepared.tenant_id, prepared.project_id, prepared.session_id, prepared.trace_id, prepared.span_id
    assert ids == (stored.event_id, stored.tenant_id, stored.project_id, stored.session_id, stored.trace_id, stored.span_id)
    assert (prepared.agent_id, prepared.severity) == (stored.agent_id, stored.severity)


_principals = st.builds(
    Principal,
    st.just("key"),
    st.one_of(st.none(), st.sampled_from(["acme", "other"])),
    st.one_of(st.none(), st.sampled_from(["p", "q"])),
)


@unhurried
@given(valid_events(), st.sampled_from(["", "acme", "other"]), st.sampled_from(["", "p", "q"]), _principals)
def test_nothing_leaves_the_scope_of_a_key(event: Event, tenant: str, project: str, principal: Principal) -> None:
    """Promise: whatever an event claims, it is stored or set aside within what the caller's key is bound to."""
    event.tenant_id, event.project_id = tenant, project
    received = received_bytes(event)
    prepared = prepare(event, principal, Limits(), SERVER, NOW_NS)
    if principal.tenant_id is not None:
        assert prepared.tenant_id == principal.tenant_id
    elif tenant:
        assert prepared.tenant_id == tenant
    if principal.project_id is not None and prepared.tenant_id:
        assert prepared.project_id == principal.project_id
    if isinstance(prepared, EventRecord):
        assert prepared.received == received
        stored = Event.FromString(prepared.stored)
        assert (stored.tenant_id, stored.project_id) == (prepared.tenant_id, prepared.project_id)
        assert tenant in ("", prepared.tenant_id)
        assert project in ("", prepared.project_id)
    else:
        assert prepared.raw == received
