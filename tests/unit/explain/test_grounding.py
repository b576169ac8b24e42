"""Grounding: what of an answer or a call stands in a source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chaukas.server.demo import demo_sessions
from chaukas.server.explain.evidence_graph import evidenced
from chaukas.server.explain.explaining import explain
from chaukas.server.explain.grounding import GroundedPart, Grounding, ItemKind, Verdict, ground, groundable
from chaukas.spec.common.v1.events_pb2 import Event

from .recordings import events_of, folders
from .stories import START_NS, Story

_RESULT = {
    "ref": "RF-70311",
    "total": 64.5,
    "note": "The courier left the parcel with a neighbour called Okafor.",
    "city": "Porto",
}


def answered(text: str, result: dict[str, Any] | None = None) -> Grounding:
    told = Story()
    told.session_start()
    told.input("Where is order 48213?")
    told.add("TOOL_CALL_START", "t", "root", tool_call={"id": "1", "name": "lookup", "arguments": {"order_id": "48213"}})
    told.add("TOOL_CALL_END", "t", "root", tool_response={"output": result or _RESULT})
    told.output(text, id="out")
    return grounding(told.events, "out")


def grounding(events: list[Event], event_id: str) -> Grounding:
    explanation = explain(events)
    return ground(evidenced(explanation), explanation.record.by_event_id[event_id])


def part(text: str) -> GroundedPart:
    (found,) = answered(text).parts
    return found


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("The courier left the parcel with a neighbour called Okafor.", Verdict.FOUND),
        ("Reference RF-70311.", Verdict.PARTLY),
        ("A relative took your package in.", Verdict.NOT_FOUND),
        ("Is it with you, and was it there before?", Verdict.NOTHING_TO_CHECK),
        ("The courier left the parcel with a neighbour called Okafor at 17:45 o'clock.", Verdict.PARTLY),
    ],
)
def test_verdicts(text: str, verdict: Verdict):
    """Copied sentences are found, other words are not, function words count for nothing, and a wrong number spoils a copy."""
    assert part(text).verdict is verdict


def test_exact_items_and_where_they_stand():
    """Numbers and ids are found only as they are, with the field and range of their source."""
    found = answered("RF-70311 costs 64.50 EUR, not 64.60 EUR.")
    items = {item.text: item for item in found.parts[0].items}
    (place,) = items["RF-70311"].found
    assert (place.field, place.start, place.end) == ("tool_response.output.ref", 0, 8)
    assert [place.field for place in items["64.50"].found] == ["tool_response.output.total"]
    assert items["64.60"].found == ()
    assert (found.exact_found, found.exact_total) == (2, 3)


def test_quotations():
    """A quotation is held to the words as they stand, in their order."""
    found = part('The note says "a neighbour called Okafor" and "a neighbour named Okafor".')
    quotations = {item.text: bool(item.found) for item in found.items if item.kind is ItemKind.QUOTATION}
    assert quotations == {"a neighbour called Okafor": True, "a neighbour named Okafor": False}


def test_own_words_support_nothing():
    """What the agent said or asked for before is no source of what it says."""
    told = Story()
    told.session_start()
    told.input("Refund me")
    told.output("I will refund RF-99120 at once with 71.25 EUR.", id="first")
    told.add("TOOL_CALL_START", "t", "root", id="call", tool_call={"id": "1", "name": "refund", "arguments": {"ref": "RF-99120"}})
    told.output("I refunded RF-99120 with 71.25 EUR.", id="second")
    assert grounding(told.events, "call").exact_found == 0
    assert grounding(told.events, "second").exact_found == 0


def test_arguments():
    """Each argument value is looked for, short ones as a whole."""
    told = Story()
    told.session_start()
    told.input("Two nights in Lisbon for Jana Novák, quiet room please.")
    arguments = {"city": "Lisbon", "guest": "Jana Novák", "wish": "quiet room", "stars": 4}
    told.add("TOOL_CALL_START", "t", "root", id="call", tool_call={"id": "1", "name": "book", "arguments": arguments})
    parts = {part.field.rpartition(".")[2]: part.verdict for part in grounding(told.events, "call").parts}
    assert parts == {
        "city": Verdict.FOUND,
        "guest": Verdict.FOUND,
        "wish": Verdict.FOUND,
        "stars": Verdict.NOT_FOUND,
    }


def test_sources_come_before():
    """A result that came later supports nothing."""
    told = Story()
    told.session_start()
    told.output("It is RF-70311.", id="out")
    told.tool("lookup", "t", output="RF-70311")
    assert grounding(told.events, "out").exact_found == 0


def test_demo_research():
    """Every number and id of the demonstration's research answer is found, but for the one that it says it assumed."""
    (session,) = [session for session in demo_sessions(START_NS) if session.title.startswith("research")]
    explanation = explain(session.events)
    position = max(row.position for row in explanation.record.rows if groundable(row))
    found = ground(evidenced(explanation), position)
    missing = {item.text for part in found.parts for item in part.items if item.strict and not item.found}
    assert missing <= {"95"}
    assert found.exact_found == 6


def test_recordings(recorded_dir: Path):
    """Every output and call of every recording has a grounding whose ranges cut out what they say."""
    for folder in folders(recorded_dir):
        explanation = explain(events_of(folder))
        known = evidenced(explanation)
        for row in explanation.record.rows:
            if groundable(row):
                found = ground(known, row.position)
                assert 0 <= found.share <= 1
                for part in found.parts:
                    if part.field == "message.text":
                        assert row.event.message.text[part.start : part.end] == part.text
                        for item in part.items:
                            assert row.event.message.text[item.start : item.end] == item.text
