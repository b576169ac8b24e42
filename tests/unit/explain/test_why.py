"""Slices of the evidence graph: what led to an event, and what it led to."""

from __future__ import annotations

from pathlib import Path

from chaukas.server.demo import demo_sessions
from chaukas.server.explain.evidence import EvidenceType
from chaukas.server.explain.evidence_graph import evidence_of
from chaukas.server.explain.explaining import explain
from chaukas.server.explain.model import Edge, Explanation, StepKind
from chaukas.server.explain.why import Slice, influence_of, why
from chaukas.spec.common.v1.events_pb2 import Event

from .recordings import events_of, folders
from .stories import START_NS, Story


def story() -> list[Event]:
    """An order is looked up, its reference is put into a mail and into the answer; another tool has nothing to do with it."""
    told = Story()
    told.session_start()
    told.input("Where is order 48213?", id="in")
    for span, name, arguments, output in (
        ("t", "lookup", {"order_id": "48213"}, {"ref": "RF-70311"}),
        ("w", "weather", {"city": "Porto"}, {"sky": "clear"}),
        ("s", "send_mail", {"subject": "About RF-70311"}, {"queued": "msg-000168"}),
    ):
        call = {"id": f"id-{span}", "name": name, "arguments": arguments}
        told.add("TOOL_CALL_START", span, "root", id=f"{span}+", tool_call=call)
        told.add("TOOL_CALL_END", span, "root", id=f"{span}-", tool_response={"output": output})
    told.output("Your reference is RF-70311.", id="out")
    return told.events


def asked(events: list[Event], event_id: str, *, forward: bool = False) -> Slice:
    explanation = explain(events)
    position = explanation.record.by_event_id[event_id]
    return (influence_of if forward else why)(explanation, evidence_of(explanation), position)


def steps_back(found: Slice) -> list[tuple[str, str]]:
    return [(link.events[0].event_id, link.events[1].event_id) for link in found.links]


def test_backward():
    """An answer leads back over the result and the call to the question, and not to the tool that gave nothing to it."""
    found = asked(story(), "out")
    assert steps_back(found) == [("t-", "out"), ("t+", "t-"), ("in", "t+")]
    assert [source.event_id for source in found.sources] == ["in"]
    assert [link.distance for link in found.links] == [1, 2, 3]
    assert found.complete


def test_forward():
    """A result leads on to the mail and the answer that hold its reference."""
    found = asked(story(), "t-", forward=True)
    assert steps_back(found) == [("t-", "s+"), ("s+", "s-"), ("t-", "out")]


def test_sentences():
    """Each edge has one sentence that says what it rests on."""
    assert [link.sentence for link in asked(story(), "out").links] == [
        'The output holds "RF-70311", which came into the record with the result of tool "lookup".',
        'The result of tool "lookup" belongs to the call of tool "lookup": the same span says so.',
        'The call of tool "lookup" holds "48213", which came into the record with the input.',
    ]


def test_limit():
    """A slice that is too long says that it is not complete."""
    explanation = explain(story())
    found = why(explanation, evidence_of(explanation), explanation.record.by_event_id["out"], links_max=2)
    assert len(found.links) == 2
    assert not found.complete


def test_repeated_prompts_are_followed():
    """A message of the first prompt is context of every later one that repeats it, backward and forward."""
    told = Story()
    told.session_start()
    told.input("Tell me a story", id="in")
    messages = [{"role": "user", "content": "Tell me a story"}]
    for number in range(4):
        told.model(f"m{number}", request={"messages": list(messages)})
        told.events[-2].event_id = f"m{number}"
        messages.append({"role": "assistant", "content": f"chapter {number}"})
    assert ("in", "m3") in steps_back(asked(told.events, "m3"))
    assert {("in", f"m{number}") for number in range(4)} <= set(steps_back(asked(told.events, "in", forward=True)))


def last_output(explanation: Explanation) -> int:
    return max(row.position for row in explanation.record.rows if row.kind is StepKind.OUTPUT)


def test_denied_refund():
    """The demonstration's refund: the answer leads back to the customer, the order, both decisions and the refund that ran."""
    (session,) = [session for session in demo_sessions(START_NS) if session.title == "a refund that a policy denied"]
    explanation = explain(session.events)
    found = why(explanation, evidence_of(explanation), last_output(explanation))
    steps = {
        (step.kind, step.name) for step in explanation.steps if {link.evidence.cause for link in found.links} & set(step.events)
    }
    assert {
        (StepKind.INPUT, ""),
        (StepKind.TOOL, "lookup_order"),
        (StepKind.TOOL, "refund_order"),
        (StepKind.POLICY, "refund-limits"),
    } <= steps
    assert [source.position for source in found.sources] == [1]


def test_recordings(recorded_dir: Path):
    """Every output, call, handoff, error and decision of every recording has a slice that ends, with a sentence per link."""
    for folder in folders(recorded_dir):
        explanation = explain(events_of(folder))
        graph = evidence_of(explanation)
        for row in explanation.record.rows:
            if row.kind in {StepKind.OUTPUT, StepKind.HANDOFF, StepKind.ERROR, StepKind.POLICY} or row.edge is Edge.START:
                found = why(explanation, graph, row.position)
                assert found.complete
                assert all(link.sentence.endswith(".") for link in found.links)
        answered = [row for row in explanation.record.rows if row.kind is StepKind.INPUT]
        for row in answered:
            kinds = {link.evidence.type for link in influence_of(explanation, graph, row.position).links}
            assert EvidenceType.TIME not in kinds
