"""The other forms of an explanation: the tree for terminals, the chart, and JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from chaukas.server.explain.evidence_graph import evidenced
from chaukas.server.explain.explaining import explain
from chaukas.server.explain.rendering.arrows import arrows_of
from chaukas.server.explain.rendering.evidence_form import edge_values, grounding_values, slice_values
from chaukas.server.explain.rendering.json_form import explanation_values
from chaukas.server.explain.rendering.markdown import fenced
from chaukas.server.explain.rendering.mermaid import mermaid_of
from chaukas.server.explain.rendering.text import text_of
from chaukas.server.explain.why import why
from tests.unit.explain.recordings import events_of, folders
from tests.unit.explain.stories import Story

_NODE = re.compile(r'^    [sm]\d+[\[({]+"[^"`<>]*"[\])}]+$')
_ARROW = re.compile(r'^  s\d+ (?:-->|-\.->)(?:\|"[a-z]+"\|)? s\d+$')
_OTHER = re.compile(
    r'^(?:flowchart TD|  subgraph r\d+\["[^"]*"\]|  end|  more\["[^"]*"\]|  classDef [\w :#,-]+|  class [\w, ]+)$'
)


def _hostile() -> Story:
    story = Story()
    story.session_start()
    story.input('"]; click s1 "javascript:alert(1)"\n  end\n```mermaid <b>')
    story.add("TOOL_CALL_START", "w", "root", tool_call={"id": "1", "name": 'x"] --> y["`z`'})
    story.add("TOOL_CALL_END", "w", "root", tool_response={"output": {"output": "\x1b[2J\u202e"}})
    story.output("done")
    return story


def test_every_line_of_every_chart_is_a_node_an_arrow_or_a_frame(recorded_dir: Path) -> None:
    """No text of the record becomes syntax of the chart, and every arrow leads from a drawn node to another one."""
    for events in [_hostile().events, *(events_of(folder) for folder in folders(recorded_dir))]:
        explanation = explain(events)
        known = evidenced(explanation)
        for chart in (mermaid_of(explanation), mermaid_of(explanation, arrows_of(known, known.graph.edges))):
            lines = chart.splitlines()
            assert all(_NODE.match(line) or _ARROW.match(line) or _OTHER.match(line) for line in lines), chart
            nodes = {line.split("[")[0].split("(")[0].split("{")[0].strip() for line in lines if _NODE.match(line)}
            ends = {end for line in lines if _ARROW.match(line) for end in re.findall(r"s\d+", re.sub(r'\|".*?"\|', "", line))}
            assert ends <= nodes


def test_a_chart_of_a_long_run_is_bounded() -> None:
    """Above its limit a chart draws the first steps and counts the rest."""
    story = Story()
    for number in range(500):
        story.add("TOOL_CALL_START", f"w{number}", "root", tool_call={"name": "get_page"})
    chart = mermaid_of(explain(story.events))
    assert chart.count("get_page") == 120
    assert "380 more steps are not drawn" in chart


def test_a_terminal_gets_no_control_signs() -> None:
    """What an event holds cannot move the cursor, change colours or turn the direction of writing."""
    text = text_of(explain(_hostile().events))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", text)
    assert "\ufffd" in text


def test_the_tree_shows_what_stands_inside_what(recorded_dir: Path) -> None:
    """Steps hang below the step that they happened in, failures and findings stand out by their words."""
    text = text_of(explain(events_of(recorded_dir / "agent_as_tool")))
    tool = next(line for line in text.splitlines() if "translate_to_german" in line)
    inner = next(line for line in text.splitlines() if "Translator" in line)
    assert inner.index("Agent") > tool.index("Tool")
    assert "Findings (1)" in text


def test_a_fence_holds_whatever_it_is_given() -> None:
    """Back quotes in a text do not end the block that it stands in."""
    page = fenced("t", "a ``` b ```` c")
    assert page.count("`````") == 2


def test_json_names_events_by_ids_and_steps_by_numbers(recorded_dir: Path) -> None:
    """Every reference in the JSON form leads to something: steps to steps, runs to runs, event ids to the events."""
    for folder in folders(recorded_dir):
        events = events_of(folder)
        explanation = explain(events)
        values = json.loads(json.dumps(explanation_values(explanation)))
        ids = {event.event_id for event in events}
        numbers = {step["number"] for step in values["steps"]}
        for step in values["steps"]:
            assert set(step["events"]) <= ids
            assert step["run"] in {run["number"] for run in values["runs"]}
            assert {step["within"], step["parent"], step["stopped_by"]} - {None} <= numbers
        for run in values["runs"]:
            assert set(run["steps"]) <= numbers
        for finding in values["findings"]:
            assert {each["event_id"] for each in finding["events"]} <= ids


@pytest.mark.parametrize("name", ["support_tools", "handoff"])
def test_json_of_edges_slices_and_groundings_leads_to_events(recorded_dir: Path, name: str) -> None:
    """Edges, links and places name events of the record, and character ranges within the text that they are about."""
    events = events_of(recorded_dir / name)
    explanation = explain(events)
    known = evidenced(explanation)
    ids = {event.event_id for event in events}
    output = next(row.position for row in explanation.record.rows if row.kind.value == "output")
    edges = json.loads(json.dumps(edge_values(explanation.record, known.graph.edges)))
    assert edges
    assert {edge[end] for edge in edges for end in ("cause", "effect")} <= ids
    part = slice_values(explanation.record, why(explanation, known.graph, output))
    assert part["event"] in ids
    from chaukas.server.explain.grounding import ground

    grounding = grounding_values(explanation.record, ground(known, output))
    assert grounding["parts"]
