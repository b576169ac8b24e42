"""STARTs and ENDs into steps, in every way that real traffic breaks them."""

from __future__ import annotations

from chaukas.server.explain.model import PairedBy, Step, StepKind, StepState
from chaukas.server.explain.steps import structure_of
from chaukas.spec.common.v1 import events_pb2

from .stories import Story


def steps(story: Story, kind: StepKind) -> list[Step]:
    return [step for step in structure_of(story.events).steps if step.kind is kind]


def test_span_pairs_across_sessions_and_traces():
    """An END belongs to the START of its span even where the integration had lost session and trace."""
    story = Story()
    story.add("TOOL_CALL_START", "t", tool_call={"name": "lookup"})
    story.add("TOOL_CALL_END", "t", session="other", trace="other", at=11)
    (step,) = steps(story, StepKind.TOOL)
    assert (step.state, step.paired_by, step.name, step.duration_ms) == (StepState.CLOSED, PairedBy.SPAN, "lookup", 10.0)


def test_failed_end_takes_its_name_from_the_start():
    """An END that carries only an error still tells which model and tool it was."""
    story = Story()
    failed = {"status": events_pb2.EVENT_STATUS_FAILED, "error": {"errorMessage": "boom", "errorCode": "E1"}}
    story.add("MODEL_INVOCATION_START", "m", llm_invocation={"model": "gpt-4o"})
    story.add("MODEL_INVOCATION_END", "m", **failed)
    story.add("TOOL_CALL_START", "t", tool_call={"name": "lookup"})
    story.add("TOOL_CALL_END", "t", **failed)
    (model,), (tool,) = steps(story, StepKind.MODEL), steps(story, StepKind.TOOL)
    assert (model.model, tool.name) == ("gpt-4o", "lookup")
    assert tool.error is not None
    assert (tool.error.message, tool.error.code, tool.error.shown_by) == ("boom", "E1", "error")


def test_end_created_before_its_start_is_still_its_end():
    """Order of creation does not break a pair; a duration it does not give."""
    story = Story()
    story.add("AGENT_END", "a", at=5)
    story.add("AGENT_START", "a", at=6)
    (step,) = steps(story, StepKind.AGENT)
    assert (step.state, step.start, step.end, step.duration_ms) == (StepState.CLOSED, 1, 0, None)


def test_tool_call_id_pairs_where_spans_do_not():
    """An END on a span of its own is found by the id of the call."""
    story = Story()
    story.add("TOOL_CALL_START", "t1", tool_call={"id": "call-1", "name": "a"})
    story.add("TOOL_CALL_START", "t2", tool_call={"id": "call-2", "name": "b"})
    story.add("TOOL_CALL_END", "x1", tool_response={"toolCallId": "call-1"})
    story.add("TOOL_CALL_END", "x2", tool_response={"toolCallId": "call-2"})
    found = steps(story, StepKind.TOOL)
    assert [(step.name, step.paired_by, step.end) for step in found] == [("a", PairedBy.IDS, 2), ("b", PairedBy.IDS, 3)]


def test_order_pairs_within_one_agent_and_session():
    """Without any id, an END closes the latest open START of its kind, agent and session."""
    story = Story()
    story.add("MODEL_INVOCATION_START", "m1", agent="Ann")
    story.add("MODEL_INVOCATION_END", "x1", agent="Ann")
    story.add("MODEL_INVOCATION_START", "m2", agent="Ann")
    story.add("MODEL_INVOCATION_END", "x2", agent="Bob")
    found = steps(story, StepKind.MODEL)
    assert [(step.state, step.paired_by) for step in found] == [
        (StepState.CLOSED, PairedBy.ORDER),
        (StepState.OPEN, PairedBy.NOTHING),
        (StepState.ORPHANED, PairedBy.NOTHING),
    ]


def test_attempts_share_one_span():
    """Two attempts on one span are two steps, each with its own end."""
    story = Story()
    for status in (events_pb2.EVENT_STATUS_FAILED, events_pb2.EVENT_STATUS_COMPLETED):
        story.add("TOOL_CALL_START", "t", tool_call={"name": "lookup"})
        story.add("TOOL_CALL_END", "t", status=status)
    assert [(step.state, step.failed, step.events) for step in steps(story, StepKind.TOOL)] == [
        (StepState.CLOSED, True, (0, 1)),
        (StepState.CLOSED, False, (2, 3)),
    ]


def test_two_ends_show_as_doubled():
    """Two ENDs of one START are neither hidden nor guessed: no duration is claimed."""
    story = Story()
    story.add("AGENT_START", "a", agent="Ann")
    story.add("AGENT_END", "a", agent="Ann")
    story.add("AGENT_END", "a", agent="Ann")
    (step,) = steps(story, StepKind.AGENT)
    assert (step.state, step.events, step.duration_ms) == (StepState.DOUBLED, (0, 1, 2), None)


def test_end_that_agrees_better_is_the_end_of_a_doubled_step():
    """Of two ENDs the one with the START's own session counts, and then its time does too."""
    story = Story()
    story.add("AGENT_START", "a", agent="Ann")
    story.add("AGENT_END", "a", agent="Ann", session="lost", trace="lost")
    story.add("AGENT_END", "a", agent="Ann")
    (step,) = steps(story, StepKind.AGENT)
    assert (step.state, step.end, step.duration_ms) == (StepState.DOUBLED, 2, 2.0)


def test_end_on_a_foreign_span_goes_where_its_agent_and_parent_say():
    """An outer agent that closes the inner agent's span is told from it by its own name."""
    story = Story()
    story.add("AGENT_START", "outer", "root", agent="Ann")
    story.add("AGENT_START", "inner", "root", agent="Bob")
    story.add("AGENT_END", "inner", "root", agent="Bob")
    story.add("AGENT_END", "inner", "root", agent="Ann")
    found = steps(story, StepKind.AGENT)
    assert [(step.name, step.state, step.paired_by, step.end) for step in found] == [
        ("Ann", StepState.CLOSED, PairedBy.PARENT, 3),
        ("Bob", StepState.CLOSED, PairedBy.SPAN, 2),
    ]


def test_handoff_ends_an_agent_that_never_ended():
    """An agent that handed over has worked until then; nothing is said to be missing."""
    story = Story()
    story.add("AGENT_START", "a", agent="Ann")
    story.add("AGENT_HANDOFF", agent="Ann", agent_handoff={"fromAgentId": "Ann", "toAgentId": "Bob"}, at=11)
    story.add("AGENT_START", "b", agent="Bob")
    ann, bob = steps(story, StepKind.AGENT)
    assert (ann.state, ann.duration_ms, ann.stopped_by) == (StepState.HANDED_OFF, 10.0, 1)
    assert bob.state is StepState.OPEN


def test_error_stops_what_was_open():
    """The error after an open call, of the same agent and parent, is named as what ended it."""
    story = Story()
    story.add("MODEL_INVOCATION_START", "m", "root", agent="Ann")
    story.add("RETRY", parent="root", agent="Ann", retry={"attempt": 1})
    story.add("ERROR", parent="root", agent="Ann", error={"errorMessage": "429"})
    (step,) = steps(story, StepKind.MODEL)
    assert (step.state, step.retries, step.errors, step.stopped_by) == (StepState.OPEN, (1,), (2,), 2)


def test_tokens_cost_and_recorded_duration():
    """What the END tells of tokens, cost and duration stands on the step, also when its START is lost."""
    story = Story()
    story.add(
        "MODEL_INVOCATION_END",
        "m",
        llm_invocation={"model": "m-1", "promptTokens": 10, "completionTokens": 5, "durationMs": 812.5},
        cost={"totalCost": 0.5, "currency": "EUR"},
    )
    (step,) = steps(story, StepKind.MODEL)
    assert step.tokens is not None
    assert step.cost is not None
    assert (step.state, step.tokens.total, step.cost.total, step.cost.currency, step.duration_ms) == (
        StepState.ORPHANED,
        15,
        0.5,
        "EUR",
        812.5,
    )
