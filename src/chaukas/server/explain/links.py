"""Explicit edges, which ids prove, and the edges of time that stand where nothing better is known."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence

from chaukas.server.explain.evidence import Basis, EdgeDrafts, EvidenceType, Place
from chaukas.server.explain.model import EventRow, Explanation, PairedBy, Step, StepKind
from chaukas.server.explain.model_calls import ModelCalls

__all__ = ["add_explicit", "add_order"]

_CALLS = frozenset({StepKind.TOOL, StepKind.MCP})
_BY_IDS = {PairedBy.SPAN: "span_id", PairedBy.PARENT: "parent_span_id"}
#: What is asked why, and of which kinds of step the latest one before it stands in for an unknown cause.
_LED_BY = {
    StepKind.TOOL: frozenset({StepKind.MODEL}),
    StepKind.MCP: frozenset({StepKind.MODEL, StepKind.TOOL}),
    StepKind.HANDOFF: frozenset({StepKind.MODEL}),
    StepKind.OUTPUT: frozenset({StepKind.MODEL}),
    StepKind.POLICY: frozenset({StepKind.MODEL, StepKind.TOOL, StepKind.MCP, StepKind.INPUT}),
    StepKind.DATA_ACCESS: frozenset({StepKind.TOOL, StepKind.MCP, StepKind.MODEL}),
    StepKind.ERROR: frozenset({StepKind.MODEL, StepKind.TOOL, StepKind.MCP}),
    StepKind.RETRY: frozenset({StepKind.ERROR, StepKind.MODEL, StepKind.TOOL, StepKind.MCP}),
    # A model call is what its prompt makes of it; the order is told only where the prompt tells nothing.
    StepKind.MODEL: frozenset({StepKind.INPUT, StepKind.TOOL, StepKind.MCP, StepKind.HANDOFF}),
}


def add_explicit(explanation: Explanation, calls: ModelCalls, edges: EdgeDrafts) -> None:
    """Add what ids say: pairs, parents, tool calls, handoffs, and the steps that errors and retries concern."""
    for step in explanation.steps:
        _add_pair(explanation, step, edges)
        _add_parent(explanation, step, edges)
        if step.kind in _CALLS:
            _add_asked(explanation, step, calls, edges)
    for run in explanation.runs:
        _add_handoffs(explanation, run.steps, edges)
        _add_inner_calls(explanation, run.steps, edges)


def _link(
    edges: EdgeDrafts, cause: EventRow, effect: EventRow, by: str, what: str, cause_field: str, effect_field: str = ""
) -> None:
    basis = Basis(by, what, Place(cause.position, cause_field), Place(effect.position, effect_field or cause_field))
    edges.add(EvidenceType.EXPLICIT, basis)


def _add_pair(explanation: Explanation, step: Step, edges: EdgeDrafts) -> None:
    """A START leads to every END of its step, whichever of them was created first."""
    if step.start is None or len(step.events) < 2:
        return
    rows = explanation.record.rows
    start = rows[step.start]
    for position in step.events:
        end = rows[position]
        if end is start or end.edge is start.edge:
            continue
        if step.paired_by in _BY_IDS:
            field = _BY_IDS[step.paired_by]
            _link(edges, start, end, "span" if field == "span_id" else "parent", start.span_id, field)
        elif step.paired_by is PairedBy.ORDER:
            edges.add(EvidenceType.TIME, Basis("order", "", Place(start.position, "timestamp"), Place(end.position, "timestamp")))
        call_id = start.event.tool_call.id if start.content == "tool_call" else ""
        if call_id and end.content == "tool_response" and end.event.tool_response.tool_call_id == call_id:
            _link(edges, start, end, "tool_call_id", call_id, "tool_call.id", "tool_response.tool_call_id")
        elif step.paired_by is PairedBy.IDS:
            field = "response_id" if start.response_id and start.response_id == end.response_id else "invocation_id"
            _link(edges, start, end, "id", getattr(start, field), field)


def _add_parent(explanation: Explanation, step: Step, edges: EdgeDrafts) -> None:
    """The step whose span is named as parent led to this one, where it came first."""
    if step.parent is None:
        return
    rows = explanation.record.rows
    parent = explanation.steps[step.parent]
    cause, effect = rows[parent.first], rows[step.first]
    if cause.position >= effect.position:
        return
    if effect.parent_span_id == cause.span_id and cause.span_id:
        _link(edges, cause, effect, "parent", cause.span_id, "span_id", "parent_span_id")
    elif effect.span_id == cause.span_id and cause.span_id:
        _link(edges, cause, effect, "span", cause.span_id, "span_id")


def _add_asked(explanation: Explanation, step: Step, calls: ModelCalls, edges: EdgeDrafts) -> None:
    """The response that holds the call's id, else the one that asks for this tool with just these arguments."""
    if step.start is None:
        return
    row = explanation.record.rows[step.start]
    call_id = row.event.tool_call.id if row.content == "tool_call" else ""
    asked = calls.asked_by_id(call_id, row.position) if call_id else None
    if asked is not None:
        basis = Basis("tool_call_id", call_id, asked.id_place, Place(row.position, "tool_call.id"))
        edges.add(EvidenceType.EXPLICIT, basis)
        return
    found = calls.asked_by_arguments(step.run, step.name, row)
    for asked in found:
        field = "tool_call.arguments" if row.content == "tool_call" else "mcp_call.request"
        basis = Basis("arguments", step.name, asked.arguments_place, Place(row.position, field), alternatives=len(found) - 1)
        edges.add(EvidenceType.CONTENT, basis)


def _add_handoffs(explanation: Explanation, steps: Sequence[int], edges: EdgeDrafts) -> None:
    """From the agent that gives to the handoff, and from it to the first start of the agent that takes."""
    latest: dict[str, EventRow] = {}
    waiting: dict[str, EventRow] = {}
    for number in steps:
        step = explanation.steps[number]
        row = explanation.record.rows[step.first]
        if step.kind is StepKind.AGENT and step.start is not None:
            _add_taker(row, waiting, edges)
            latest.update({name: row for name in (row.agent_id, row.agent_name) if name})
        elif step.kind is StepKind.HANDOFF and row.content == "agent_handoff":
            handoff = row.event.agent_handoff
            for side in ("from_agent_id", "from_agent_name"):
                giver = latest.get(getattr(handoff, side))
                if giver is not None:
                    name = getattr(handoff, side)
                    field = "agent_id" if giver.agent_id == name else "agent_name"
                    _link(edges, giver, row, "handoff", name, field, f"agent_handoff.{side}")
                    break
            waiting.update({name: row for name in (handoff.to_agent_id, handoff.to_agent_name) if name})


def _add_taker(row: EventRow, waiting: dict[str, EventRow], edges: EdgeDrafts) -> None:
    """An agent that starts takes the latest handoff that names it, and no other start takes that one again."""
    for field in ("agent_id", "agent_name"):
        name = getattr(row, field)
        handoff = waiting.get(name) if name else None
        if handoff is not None:
            to = handoff.event.agent_handoff
            side = "to_agent_id" if to.to_agent_id == name else "to_agent_name"
            _link(edges, handoff, row, "handoff", name, f"agent_handoff.{side}", field)
            waiting.pop(to.to_agent_id, None)
            waiting.pop(to.to_agent_name, None)
            return


def _add_inner_calls(explanation: Explanation, steps: Sequence[int], edges: EdgeDrafts) -> None:
    """An MCP call that carries the name of the tool that is under way is that tool's work."""
    rows = explanation.record.rows
    for number in steps:
        step = explanation.steps[number]
        if step.kind is not StepKind.MCP or step.within is None or step.start is None:
            continue
        tool = explanation.steps[step.within]
        if tool.kind is not StepKind.TOOL or tool.start is None or tool.start >= step.start or step.parent == tool.number:
            continue
        basis = Basis("name", step.name, Place(tool.start, "tool_call.name"), Place(step.start, "mcp_call.request"))
        edges.add(EvidenceType.CONTENT, basis)
        if tool.end is not None and step.end is not None and step.end < tool.end:
            edges.add(
                EvidenceType.TIME,
                Basis("order", "", Place(rows[step.end].position, "timestamp"), Place(rows[tool.end].position, "timestamp")),
            )


def add_order(explanation: Explanation, edges: EdgeDrafts) -> None:
    """Where no recorded cause is of the kind that leads to such an event: the latest of that kind, in its run and of its agent.

    So a tool call whose arguments come from the input still shows which model call came right before it.
    """
    rows = explanation.record.rows
    for run in explanation.runs:
        #: (kind, agent) -> positions of that kind's events so far; agent "" stands for all.
        ends: defaultdict[tuple[StepKind, str], list[int]] = defaultdict(list)
        for position in run.events:
            row = rows[position]
            for agent in {row.agent_id, ""}:
                ends[row.kind, agent].append(position)
        for number in run.steps:
            step = explanation.steps[number]
            led_by = _LED_BY.get(step.kind)
            if led_by is None or step.start is None:
                continue
            causes = edges.causes_of(step.start)
            if any(step.kind is StepKind.MODEL or rows[cause].kind in led_by for cause in causes):
                continue
            cause = _latest(ends, led_by, step.agent_id, step.start)
            if cause is not None and cause not in step.events:
                places = Place(cause, "timestamp"), Place(step.start, "timestamp")
                edges.add(EvidenceType.TIME, Basis("order", "", *places))


def _latest(ends: dict[tuple[StepKind, str], list[int]], kinds: frozenset[StepKind], agent_id: str, position: int) -> int | None:
    for agent in dict.fromkeys((agent_id, "")):
        found = []
        for kind in kinds:
            positions = ends.get((kind, agent), [])
            place = bisect_left(positions, position)
            if place:
                found.append(positions[place - 1])
        if found:
            return max(found)
    return None
