"""Stitching: what belongs together, by which evidence, and what only time would connect."""

from __future__ import annotations

from chaukas.server.explain.model import Explanation, RunKind, RunOutcome, StepKind, StitchBy
from chaukas.server.explain.steps import structure_of

from .stories import Story, clean_run


def stitched(explanation: Explanation) -> list[set[StitchBy]]:
    return [{stitch.by for stitch in run.stitches} for run in explanation.runs]


def test_session_with_several_roots_is_several_runs():
    """Three runs under one session id stay three, and the session's view lists them."""
    events = [*clean_run(root="r1"), *clean_run(root="r2", begins=100), *clean_run(root="r3", begins=200)]
    explanation = structure_of(events)
    assert [(run.kind, run.outcome, len(run.events)) for run in explanation.runs] == [(RunKind.RUN, RunOutcome.ANSWERED, 12)] * 3
    (session,) = explanation.sessions
    assert (session.runs, session.starts, session.ends, len(session.events)) == ((0, 1, 2), 3, 3, 36)


def test_turns_of_one_session_are_runs():
    """A flat conversation without any parent is cut where an input follows an answer."""
    story = Story()
    story.session_start()
    for turn in range(3):
        story.input(f"question {turn}", parent="")
        story.add("AGENT_START", f"a{turn}", agent="Ann")
        story.model(f"m{turn}", f"a{turn}")
        story.add("AGENT_END", f"a{turn}", agent="Ann")
        story.output(f"answer {turn}", parent="")
    story.session_end()
    explanation = structure_of(story.events)
    assert [(len(run.inputs), len(run.outputs)) for run in explanation.runs] == [(1, 1)] * 3
    assert explanation.runs[1].stitches[-1].by in {StitchBy.TRACE, StitchBy.SESSION}


def test_session_starts_on_one_span_begin_turns():
    """A caller that uses one span for all its sessions still has several runs, each with its own start."""
    story = Story()
    for turn in range(3):
        story.session_start()
        story.input(f"question {turn}")
        story.output(f"answer {turn}")
        story.session_end()
    explanation = structure_of(story.events)
    assert [[step.kind for step in explanation.steps_of(run)] for run in explanation.runs] == [
        [StepKind.SESSION, StepKind.INPUT, StepKind.OUTPUT]
    ] * 3


def test_agent_inside_a_tool_is_no_turn():
    """Input and output of an agent that works as a tool cut nothing, even twice."""
    story = Story()
    story.session_start()
    story.input()
    for turn in range(2):
        story.add("TOOL_CALL_START", f"t{turn}", "root", agent="Ann", tool_call={"name": "translate"})
        story.input(f"text {turn}")
        story.add("AGENT_START", f"b{turn}", "root", agent="Bob")
        story.add("AGENT_END", f"b{turn}", "root", agent="Bob")
        story.output(f"Übersetzung {turn}")
        story.add("TOOL_CALL_END", f"t{turn}", "root", agent="Ann", tool_response={"output": {"output": f"Übersetzung {turn}"}})
    story.output()
    story.session_end()
    (run,) = structure_of(story.events).runs
    assert len(run.inputs) == len(run.outputs) == 3


def test_one_run_over_many_sessions():
    """Parents tie a run together although every event has a session and a trace of its own."""
    events = clean_run()
    for number, event in enumerate(events):
        event.session_id = f"lost-{number}"
        event.trace_id = f"lost-{number}"
    explanation = structure_of(events)
    (run,) = explanation.runs
    assert len(run.sessions) == len(run.traces) == len(events)
    assert stitched(explanation) == [{StitchBy.PARENT}]


def test_trace_joins_what_has_no_other_tie():
    """Parts with one trace and different sessions are one run, and the stitch says that the trace did it."""
    story = Story()
    story.input(parent="")
    story.add("AGENT_START", "a", session="s2", agent="Ann")
    story.add("AGENT_END", "a", session="s2", agent="Ann")
    story.output(parent="", session="s3")
    explanation = structure_of(story.events)
    (run,) = explanation.runs
    assert [(stitch.by, stitch.value) for stitch in run.stitches] == [(StitchBy.TRACE, "trace-1")]


def test_ids_join_parts():
    """A shared invocation id is evidence; a short one only within its session."""
    story = Story()
    story.input(parent="", invocation_id="invocation-0123456789", trace="")
    story.output(parent="", session="s2", trace="", invocation_id="invocation-0123456789")
    story.input(parent="", session="s3", trace="", invocation_id="1")
    story.output(parent="", session="s4", trace="", invocation_id="1")
    assert stitched(structure_of(story.events)) == [{StitchBy.IDS}, set(), set()]


def test_handoff_joins_the_agent_it_names():
    """A handoff leads to the one agent that it can mean, in another session and trace."""
    story = Story()
    story.input(parent="")
    story.add("AGENT_HANDOFF", agent="Ann", agent_handoff={"fromAgentId": "Ann", "toAgentId": "Bob"})
    story.add("AGENT_START", "b", agent="Bob", session="s2", trace="t2")
    story.add("AGENT_END", "b", agent="Bob", session="s2", trace="t2")
    (run,) = structure_of(story.events).runs
    assert run.stitches[0].by is StitchBy.HANDOFF


def test_handoff_that_two_agents_could_take_joins_nothing():
    """Where two starts could be meant, only time would tell, and time is no evidence."""
    story = Story()
    story.input(parent="")
    story.add("AGENT_HANDOFF", agent="Ann", agent_handoff={"fromAgentId": "Ann", "toAgentId": "Bob"})
    for session in ("s2", "s3"):
        story.add("AGENT_START", f"b-{session}", agent="Bob", session=session, trace=session)
        story.add("AGENT_END", f"b-{session}", agent="Bob", session=session, trace=session)
    explanation = structure_of(story.events)
    assert len(explanation.runs) == 3
    assert not any(StitchBy.HANDOFF in found for found in stitched(explanation))


def test_prompt_joins_the_one_input_it_holds():
    """A model call in a lost session belongs to the input whose text its prompt holds."""
    story = Story()
    story.input("ticket 1: where is it?", parent="", session="s1", trace="t1")
    story.input("ticket 2: where is it?", parent="", session="s2", trace="t2")
    printed = {"messages": [{"role": "user", "content": "{'content': 'ticket 2: where is it?', 'role': 'user'}"}]}
    story.add("MODEL_INVOCATION_START", "m", session="s3", trace="t3", llm_invocation={"request": printed})
    explanation = structure_of(story.events)
    assert [len(run.steps) for run in explanation.runs] == [1, 2]
    assert explanation.runs[1].stitches[0].by is StitchBy.CONTENT


def test_prompt_that_two_inputs_fit_joins_nothing():
    """The same words from two users tie a prompt to neither."""
    story = Story()
    for session in ("s1", "s2"):
        story.input("hello", parent="", session=session, trace=session)
    request = {"messages": [{"role": "user", "content": "hello"}]}
    story.add("MODEL_INVOCATION_START", "m", session="s3", trace="t3", llm_invocation={"request": request})
    assert [len(run.steps) for run in structure_of(story.events).runs] == [1, 1, 1]


def test_time_alone_joins_nothing():
    """Events of two processes that alternate by the millisecond stay apart."""
    one, other = Story("s1", "t1"), Story("s2", "t2")
    for story, offset in ((one, 0.0), (other, 0.5)):
        story.now_ms = offset
        story.input(f"question of {story.session}", parent="")
        story.output(parent="")
    explanation = structure_of([*one.events, *other.events])
    assert [run.sessions for run in explanation.runs] == [("s1",), ("s2",)]


def test_loose_part_in_contested_time_stays_a_fragment():
    """Two runs at once under one session id: what neither claims is given to neither."""
    one, other = clean_run(root="r1"), clean_run(root="r2", begins=3.5)
    story = Story()
    story.add("SYSTEM", at=8.2, id="loose", trace="trace of session-1")
    explanation = structure_of([*one, *other, *story.events])
    assert [run.kind for run in explanation.runs] == [RunKind.RUN, RunKind.RUN, RunKind.FRAGMENT]


def test_loose_part_in_one_roots_time_belongs_to_it():
    """Under a shared session id, what lies in the bounds of one run alone is that run's."""
    one, other = clean_run(root="r1"), clean_run(root="r2", begins=100)
    story = Story()
    story.add("SYSTEM", at=105.5, id="loose", trace="trace of session-1")
    explanation = structure_of([*one, *other, *story.events])
    assert [len(run.events) for run in explanation.runs] == [12, 13]


def test_circle_of_parents_ends():
    """A record in which two steps are each other's parent still has a root."""
    story = Story()
    story.add("AGENT_START", "a", "b", agent="Ann")
    story.add("AGENT_START", "b", "a", agent="Bob")
    explanation = structure_of(story.events)
    (run,) = explanation.runs
    assert run.roots == (0,)


def test_way_through_another_turn_is_a_stitch():
    """Steps of a turn that only a step of another turn ties together are stitched to each other: no run without a reason."""
    story = Story(session="", trace="")
    story.session_start("outer", at=0)
    story.input("hello", parent="", at=1, invocation_id="i1")
    story.input("hello again", parent="", at=2, invocation_id="i1")
    story.add("ERROR", parent="inner", at=3, invocation_id="i1", error={"error_message": "no"})
    story.session_start("inner", parent="outer", at=4)
    one, other = structure_of(story.events).runs
    assert (one.steps, other.steps) == ((0, 1, 2, 3), (4,))
    assert [(stitch.by, stitch.value, stitch.steps) for stitch in one.stitches] == [
        (StitchBy.PARENT, "inner", (0, 3)),
        (StitchBy.IDS, "i1", (1, 2, 3)),
    ]
