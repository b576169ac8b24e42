"""Edges of the evidence graph: each type where the record shows it, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chaukas.server.demo import demo_sessions
from chaukas.server.explain.evidence import Evidence, EvidenceGraph, EvidenceType
from chaukas.server.explain.evidence_graph import evidence_of
from chaukas.server.explain.explaining import explain
from chaukas.spec.common.v1.events_pb2 import Event, EventType

from .recordings import events_of, folders
from .stories import START_NS, Story

_DOCUMENT = "The seal of the pump housing must be greased with lithium every ninth winter by a trained fitter."


def graph_of(events: list[Event]) -> tuple[EvidenceGraph, dict[str, int]]:
    explanation = explain(events)
    return evidence_of(explanation), dict(explanation.record.by_event_id)


def pairs(events: list[Event], kind: EvidenceType) -> set[tuple[str, str]]:
    """Cause and effect of all edges of a type that do not merely follow a parent's span."""
    graph, positions = graph_of(events)
    names = {position: name for name, position in positions.items()}
    return {
        (names[edge.cause], names[edge.effect])
        for edge in graph.edges
        if edge.type is kind and any(basis.by not in {"parent", "span"} for basis in edge.bases)
    }


def edge_between(events: list[Event], cause: str, effect: str, kind: EvidenceType) -> Evidence:
    graph, positions = graph_of(events)
    (edge,) = [edge for edge in graph.causes_of(positions[effect]) if edge.cause == positions[cause] and edge.type is kind]
    return edge


class Told(Story):
    """A story whose events have ids of their own."""

    def call(self, name: str, span: str, arguments: dict[str, Any], output: dict[str, Any] | None = None, **fields: Any) -> None:
        self.add(
            "TOOL_CALL_START",
            span,
            id=f"{span}+",
            agent="Ann",
            tool_call={"id": f"id-{span}", "name": name, "arguments": arguments},
        )
        if output is not None:
            fields["tool_response"] = {"output": output}
        self.add("TOOL_CALL_END", span, id=f"{span}-", agent="Ann", **fields)


def told() -> Told:
    story = Told()
    story.session_start(id="session")
    return story


def test_values_go_from_input_to_call_to_answer():
    """The order number of the question is in the call, the reference that the tool gave in the answer."""
    story = told()
    story.input("Where is order 48213?", id="in")
    story.call("lookup", "t", {"order_id": "48213"}, {"order_id": "48213", "ref": "RF-70311"})
    story.output("Your reference is RF-70311 for order 48213.", id="out")
    assert pairs(story.events, EvidenceType.CONTENT) == {("in", "t+"), ("in", "out"), ("t-", "out")}
    edge = edge_between(story.events, "t-", "out", EvidenceType.CONTENT)
    (basis,) = edge.bases
    assert (basis.cause.field, basis.effect.field, basis.what) == ("tool_response.output.ref", "message.text", "RF-70311")
    assert (basis.effect.start, basis.effect.end) == (18, 26)


def test_copied_sentence_is_content_and_paraphrase_is_not():
    """A sentence that stands in both is evidence; the same thing in other words, and a polite phrase, are not."""
    story = told()
    story.call("read", "doc", {"path": "manual"}, {"text": f"Chapter nine. {_DOCUMENT}"})
    story.output(f"The manual says: {_DOCUMENT}", id="copy")
    story.output("A skilled person should put grease on the pump's gasket once in nine years.", id="paraphrase")
    story.call("greet", "polite", {}, {"text": "Please do not hesitate to contact us if you have any further questions."})
    story.output("Please do not hesitate to contact us if you have any further questions.", id="courtesy")
    assert pairs(story.events, EvidenceType.CONTENT) == {("doc-", "copy")}


def test_boilerplate_of_many_results_is_no_cause():
    """What every result ends with leads from none of them."""
    footer = "Figures delivered by the northern statistics bureau under licence seven without guarantee of completeness."
    story = told()
    for number in range(6):
        story.call("read", f"t{number}", {}, {"text": f"{footer}"})
    story.output(f"As they say: {footer}", id="out")
    assert pairs(story.events, EvidenceType.CONTENT) == set()


def test_two_origins_are_both_named_and_ambiguous():
    """A value that two results brought in leads from both, and each edge says that the other fits as well."""
    story = told()
    story.call("first", "a", {"region": "north"}, {"total": 61250})
    story.call("second", "b", {"region": "south"}, {"total": 61250})
    story.output("The sum is 61,250 EUR.", id="out")
    assert pairs(story.events, EvidenceType.CONTENT) == {("a-", "out"), ("b-", "out")}
    assert edge_between(story.events, "a-", "out", EvidenceType.CONTENT).ambiguous


def test_a_cause_comes_first():
    """What was said later is no cause of what was said before."""
    story = told()
    story.output("The reference is RF-70311.", id="out")
    story.call("lookup", "t", {}, {"ref": "RF-70311"})
    assert ("t-", "out") not in pairs(story.events, EvidenceType.CONTENT)


def test_ids_are_explicit():
    """Call ids, handoffs, document and policy ids lead explicitly."""
    story = told()
    story.add("AGENT_START", "ann", "root", id="ann+", agent="Ann")
    response = {"tool_calls": [{"id": "id-t", "function": {"name": "read", "arguments": "{}"}}]}
    story.add("MODEL_INVOCATION_END", "m", "root", id="m-", agent="Ann", llm_invocation={"model": "m-1", "response": response})
    story.call("read", "t", {}, {"text": "nothing"})
    story.add(
        "DATA_ACCESS", id="data", agent="Ann", data_access={"datasource": "files", "document_ids": ["terms-4.2", "terms-of-use"]}
    )
    story.add("POLICY_DECISION", id="policy", agent="Ann", policy={"policy_id": "refund-limits", "outcome": "deny"})
    handoff = {"from_agent_id": "Ann", "to_agent_id": "Bob", "reason": "refund-limits said no"}
    story.add("AGENT_HANDOFF", id="handoff", agent="Ann", agent_handoff=handoff)
    story.add("AGENT_START", "bob", "root", id="bob+", agent="Bob")
    story.output("It follows from terms-4.2.", id="out")
    story.output("It follows from terms-of-use, not from terms-of-uses.", id="words")
    assert pairs(story.events, EvidenceType.EXPLICIT) == {
        ("m-", "t+"),
        ("ann+", "handoff"),
        ("handoff", "bob+"),
        ("policy", "handoff"),
        ("data", "out"),
        ("data", "words"),
    }


def test_prompts_give_context_and_repetition_is_kept_once():
    """Each message of a prompt leads from its event; a prompt that goes on from an earlier one refers to it."""
    story = told()
    story.input("Where is my parcel?", id="in")
    question = {"role": "user", "content": "Where is my parcel?"}
    story.model("m1", request={"messages": [{"role": "system", "content": "Be brief."}, question]})
    story.events[-2].event_id, story.events[-1].event_id = "m1+", "m1-"
    story.call("track", "t", {}, {"place": "depot", "eta": "2026-02-01"})
    result = {"role": "tool", "content": '{"eta": "2026-02-01", "place": "depot"}'}
    story.model("m2", request={"messages": [{"role": "system", "content": "Be brief."}, question, result]})
    story.events[-2].event_id = "m2+"
    assert pairs(story.events, EvidenceType.CONTEXT) == {("in", "m1+"), ("m1+", "m2+"), ("t-", "m2+")}
    graph, positions = graph_of(story.events)
    assert graph.prompts == {positions["m2+"]: positions["m1+"]}
    assert [edge.cause for edge in graph.context_of(positions["m2+"])] == [positions["t-"], positions["in"]]


def test_time_only_where_nothing_better_is_known():
    """A call whose asker is recorded has no edge of time; one without has one, from the model call right before it."""
    story = told()
    story.model("m")
    story.events[-1].event_id = "m-"
    story.call("lookup", "t", {}, {"x": 1})
    assert ("m-", "t+") in pairs(story.events, EvidenceType.TIME)
    story.events[-3].llm_invocation.response.update({"tool_calls": [{"id": "id-t", "name": "lookup", "arguments": "{}"}]})
    assert ("m-", "t+") not in pairs(story.events, EvidenceType.TIME)
    assert ("m-", "t+") in pairs(story.events, EvidenceType.EXPLICIT)


def test_recordings(recorded_dir: Path):
    """Every recording has a graph whose places are real, and whose content and time never run backwards."""
    for folder in folders(recorded_dir):
        explanation = explain(events_of(folder))
        graph = evidence_of(explanation)
        assert graph.complete
        for edge in graph.edges:
            assert edge.bases
            assert edge.type is EvidenceType.EXPLICIT or edge.cause < edge.effect
            for basis in edge.bases:
                assert (basis.cause.position, basis.effect.position) == (edge.cause, edge.effect)


def test_agent_as_tool(recorded_dir: Path):
    """What the translator put out is what the orchestrator's tool returned."""
    explanation = explain(events_of(recorded_dir / "agent_as_tool"))
    graph = evidence_of(explanation)
    (tool,) = [step for step in explanation.steps if step.name == "translate_to_german"]
    assert tool.end is not None
    (edge,) = [edge for edge in graph.causes_of(tool.end) if edge.type is EvidenceType.CONTENT]
    assert explanation.record.rows[edge.cause].event.message.text.count("Ihr Paket ist unterwegs.") == 1


def test_demo_causes():
    """The causes that the demonstration's scenes were written with are found."""
    wanted = {
        "a refund that a policy denied": {("RF-70311", "OUTPUT"), ("48213", "TOOL_CALL_START"), ("289.9", "AGENT_HANDOFF")},
        "a double charge, handed off to billing": {("ch_882", "TOOL_CALL_START"), ("50077", "AGENT_HANDOFF")},
        "a bug fix through MCP servers": {("9f31c2a", "OUTPUT"), ("rental/dates.py", "MCP_CALL_START")},
        "an insurance claim in German with personal data": {("Z-30177", "OUTPUT"), ("2026-0117", "TOOL_CALL_START")},
    }
    for session in demo_sessions(START_NS):
        explanation = explain(session.events)
        found = {
            (basis.what, _type(explanation.event(edge.effect)))
            for edge in evidence_of(explanation).edges
            if edge.type is EvidenceType.CONTENT
            for basis in edge.bases
        }
        missing = {
            (what, kind)
            for what, kind in wanted.get(session.title, set())
            if not any(what == other and kind in other_kind for other, other_kind in found)
        }
        assert not missing, session.title


def _type(event: Event) -> str:
    return EventType.Name(event.type).removeprefix("EVENT_TYPE_")
