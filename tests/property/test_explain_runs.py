"""Explanations do not depend on the order in which events arrived, nor on how often."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaukas.server.explain.explaining import explain
from chaukas.server.explain.model import Explanation, StepState
from chaukas.spec.common.v1.events_pb2 import Event
from tests.unit.explain.recordings import events_of
from tests.unit.explain.stories import START_NS

_TYPES = [1, 2, 10, 11, 12, 20, 21, 22, 23, 24, 25, 30, 31, 40, 41, 60, 61, 62, 63, 99]
_SPANS = st.sampled_from(["", "a", "b", "c", "d", "e"])


@st.composite
def _events(draw: st.DrawFn) -> list[Event]:
    """Events that collide in every id, with times that collide too."""
    events = []
    for number in range(draw(st.integers(1, 24))):
        event = Event(
            event_id=f"e{number}",
            tenant_id="acme",
            project_id="shop",
            session_id=draw(st.sampled_from(["", "s1", "s2"])),
            trace_id=draw(st.sampled_from(["", "t1", "t2"])),
            span_id=draw(_SPANS),
            parent_span_id=draw(_SPANS),
            type=draw(st.sampled_from(_TYPES)),
            status=draw(st.sampled_from([0, 1, 3, 4])),
            agent_id=draw(st.sampled_from(["", "Ann", "Bob"])),
            invocation_id=draw(st.sampled_from(["", "", "i1", "i2"])),
        )
        event.timestamp.FromNanoseconds(START_NS + draw(st.integers(0, 12)) * 1_000_000)
        if event.type == 12:
            event.agent_handoff.to_agent_id = draw(st.sampled_from(["", "Ann", "Bob"]))
        elif event.type in {30, 31}:
            event.message.text = draw(st.sampled_from(["hello", "where?", ""]))
        elif event.type == 20:
            event.llm_invocation.request.update(
                {"messages": [{"role": "user", "content": draw(st.sampled_from(["hello", "where?"]))}]}
            )
        elif event.type == 60:
            event.policy.outcome = draw(st.sampled_from(["deny", "allow"]))
        events.append(event)
    return events


def _told(explanation: Explanation) -> object:
    """Everything an explanation says; rows compare by their ids."""
    ids = [row.event_id for row in explanation.record.rows]
    return ids, explanation.steps, explanation.runs, explanation.sessions, explanation.findings


@settings(max_examples=150, deadline=None)
@given(events=_events(), seed=st.randoms(use_true_random=False), copies=st.integers(0, 10))
def test_order_and_copies_do_not_matter(events: list[Event], seed: object, copies: int):
    """Any order of arrival, with any copies, gives the same explanation."""
    expected = _told(explain(events))
    again = events + events[:copies]
    seed.shuffle(again)  # type: ignore[attr-defined]
    assert _told(explain(again)) == expected


@settings(max_examples=150, deadline=None)
@given(events=_events())
def test_every_event_has_one_place(events: list[Event]):
    """Every event is in one step, every step in one run, and every step is reached from its run's roots."""
    explanation = explain(events)
    positions = sorted(position for step in explanation.steps for position in step.events)
    assert positions == list(range(len(events)))
    numbers = [number for run in explanation.runs for number in run.steps]
    assert sorted(numbers) == list(range(len(explanation.steps)))
    for run in explanation.runs:
        for number in run.steps:
            step, seen = explanation.steps[number], set()
            assert step.run == run.number
            while step.within is not None:
                assert step.number not in seen
                seen.add(step.number)
                step = explanation.steps[step.within]
                assert step.run == run.number
            assert step.number in run.roots
    for step in explanation.steps:
        if step.state is StepState.CLOSED:
            assert len(step.events) == 2


@settings(max_examples=150, deadline=None)
@given(events=_events())
def test_runs_rest_on_evidence(events: list[Event]):
    """The stitches of a run connect all of its steps: nothing is in a run without a named reason."""
    explanation = explain(events)
    for run in explanation.runs:
        reached = {run.steps[0]}
        grown = True
        while grown:
            grown = False
            for stitch in run.stitches:
                steps = set(stitch.steps)
                if steps & reached and not steps <= reached:
                    reached |= steps
                    grown = True
        assert reached == set(run.steps)


@pytest.mark.parametrize("name", ["concurrent_one_process", "agent_as_tool", "errors_retry", "guardrails", "mcp_tools"])
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.randoms(use_true_random=False))
def test_recordings_in_any_order(recorded_dir: Path, name: str, seed: object):
    """Real traffic, shuffled, is told the same."""
    events = events_of(recorded_dir / name)
    expected = _told(explain(events))
    seed.shuffle(events)  # type: ignore[attr-defined]
    assert _told(explain(events)) == expected
