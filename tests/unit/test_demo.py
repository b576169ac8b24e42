"""The sessions of the demonstration."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from chaukas.server.demo import BEGAN_BEFORE_S, DEMO_TENANT, DemoSession, demo_sessions
from chaukas.server.demo.ids import hex_id, time_ordered_uuid
from chaukas.spec.common.v1.events_pb2 import Event, EventStatus, EventType

_AT_NS = 1_769_796_000 * 1_000_000_000
_PAIRS = {
    EventType.EVENT_TYPE_SESSION_START: EventType.EVENT_TYPE_SESSION_END,
    EventType.EVENT_TYPE_AGENT_START: EventType.EVENT_TYPE_AGENT_END,
    EventType.EVENT_TYPE_MODEL_INVOCATION_START: EventType.EVENT_TYPE_MODEL_INVOCATION_END,
    EventType.EVENT_TYPE_TOOL_CALL_START: EventType.EVENT_TYPE_TOOL_CALL_END,
    EventType.EVENT_TYPE_MCP_CALL_START: EventType.EVENT_TYPE_MCP_CALL_END,
}


@pytest.fixture(scope="module")
def sessions() -> list[DemoSession]:
    return demo_sessions(_AT_NS)


@pytest.fixture(scope="module")
def events(sessions: list[DemoSession]) -> list[Event]:
    return [event for session in sessions for event in session.events]


def session_of(sessions: list[DemoSession], words: str) -> DemoSession:
    return next(session for session in sessions if words in session.title)


def test_the_same_moment_gives_the_same_bytes(sessions: list[DemoSession]) -> None:
    """Loading twice stores once: every byte is the same, also in the ids."""
    again = demo_sessions(_AT_NS)
    for one, other in zip(sessions, again, strict=True):
        assert [event.SerializeToString(deterministic=True) for event in one.events] == [
            event.SerializeToString(deterministic=True) for event in other.events
        ]


def test_another_moment_gives_other_events(events: list[Event]) -> None:
    """Loading for another day adds to the record; no id is given to two different events."""
    other = [event for session in demo_sessions(_AT_NS + 86_400 * 10**9) for event in session.events]
    ids = Counter(event.event_id for event in events + other)
    assert set(ids.values()) == {1}


def test_everything_happens_on_the_day_before(events: list[Event]) -> None:
    """No event lies in the future of the moment, and none more than the announced time before it."""
    times = [event.timestamp.ToNanoseconds() for event in events]
    assert min(times) >= _AT_NS - BEGAN_BEFORE_S * 10**9
    assert max(times) < _AT_NS


def test_there_is_something_of_everything(sessions: list[DemoSession], events: list[Event]) -> None:
    """Every kind of event, several frameworks and projects, a long session, partial outputs and personal data are among it."""
    kinds = {event.type for event in events}
    assert kinds == {number for _, number in EventType.items() if number}
    assert len({session.framework for session in sessions}) >= 5
    assert len({session.project_id for session in sessions}) >= 5
    assert max(len(session.events) for session in sessions) >= 100
    assert any(event.is_partial for event in events)
    assert any(event.pii_categories for event in events)
    assert {event.tenant_id for event in events} == {DEMO_TENANT}


def test_every_action_is_ended_but_in_the_run_that_was_killed(sessions: list[DemoSession]) -> None:
    """START and END share their span; only the killed run has open actions."""
    for session in sessions:
        open_spans: Counter[tuple[str, int]] = Counter()
        for event in session.events:
            for start, end in _PAIRS.items():
                open_spans[event.span_id, start] += (event.type == start) - (event.type == end)
        is_killed = "killed" in session.title
        assert any(open_spans.values()) is is_killed, session.title
        assert set(open_spans.values()) <= {0, 1}


def test_parents_are_there(sessions: list[DemoSession]) -> None:
    """A parent is a span of the same session."""
    for session in sessions:
        spans = {event.span_id for event in session.events}
        assert {event.parent_span_id for event in session.events} - {""} <= spans


def test_what_a_tool_gave_back_stands_in_the_next_prompt(sessions: list[DemoSession]) -> None:
    """Causes are visible: each output of a tool is among the messages of the model call that follows."""
    for session in sessions:
        waiting: list[dict[str, Any]] = []
        for event in session.events:
            if event.HasField("tool_response"):
                waiting.append(MessageToDict(event.tool_response.output))
            elif event.type == EventType.EVENT_TYPE_MODEL_INVOCATION_START:
                messages = MessageToDict(event.llm_invocation.request)["messages"]
                told = [json.loads(each["content"]) for each in messages if each["content"].startswith("{")]
                assert [output for output in waiting if output not in told] == []
                waiting.clear()


def test_the_denied_refund_did_not_run(sessions: list[DemoSession]) -> None:
    """No tool ran with the amount that the policy refused; the amount that it allowed was paid."""
    events = session_of(sessions, "refund").events
    outcomes = [event.policy.outcome for event in events if event.HasField("policy")]
    assert outcomes == ["deny", "allow"]
    paid = [event.tool_call.arguments["amount"] for event in events if event.tool_call.name == "refund_order"]
    assert paid == [144.95]


def test_failed_calls_say_why(events: list[Event]) -> None:
    """A failed event carries its error."""
    failed = [event for event in events if event.status == EventStatus.EVENT_STATUS_FAILED]
    assert len(failed) >= 10
    assert all(event.error.error_message for event in failed)


def test_ids_have_the_form_of_their_kind() -> None:
    """UUIDs are of version 7 and begin with their time; hexadecimal ids have as many digits as were asked for."""
    first, second = time_ordered_uuid(_AT_NS, "a"), time_ordered_uuid(_AT_NS + 10**6, "a")
    assert first[14] == "7"
    assert first[19] in "89ab"
    assert first < second
    assert int(first.replace("-", "")[:12], 16) == _AT_NS // 10**6
    assert len(hex_id(16, "a")) == 16
