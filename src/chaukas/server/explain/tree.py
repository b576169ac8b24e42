"""Nesting: where a step stands in the tree.

Integrations record flat: everything under the session's span. What closer place the record itself shows is used and named: the
agent that a step names, when one step of that agent is under way in the run; the tool whose name an MCP call carries; the tool
that returned, word for word, what an agent inside it put out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from heapq import heappop, heappush

from chaukas.server.explain.contents import output_text
from chaukas.server.explain.drafts import Draft
from chaukas.server.explain.model import Nesting, StepKind, StepState

__all__ = ["nest"]

_FAR = 1 << 62
_HOLDERS = frozenset({StepKind.AGENT, StepKind.MODEL, StepKind.TOOL, StepKind.MCP, StepKind.HANDOFF})
_INNER = frozenset({StepKind.INPUT, StepKind.AGENT, StepKind.OUTPUT})
_UNDER_AGENT = frozenset(
    {
        StepKind.MODEL,
        StepKind.TOOL,
        StepKind.MCP,
        StepKind.HANDOFF,
        StepKind.ERROR,
        StepKind.RETRY,
        StepKind.POLICY,
        StepKind.DATA_ACCESS,
        StepKind.STATE,
        StepKind.SYSTEM,
    }
)


def nest(drafts: list[Draft], runs: Sequence[Sequence[int]]) -> None:
    """Set `within` and `nested_by` of every draft; chains always end at a root, and never leave their run."""
    for steps in runs:
        _nest_by_parent(drafts, steps)
        _nest_flat(drafts, steps)
        _nest_inner_agents(drafts, steps)
        _cut_circles(drafts, steps)


def _until(draft: Draft) -> int:
    """Last position at which a step is under way: far away while it is open."""
    if draft.state is StepState.OPEN:
        return _FAR
    return draft.last if draft.ended_by is None else draft.ended_by.position


def _nest_by_parent(drafts: list[Draft], steps: Sequence[int]) -> None:
    for step in steps:
        draft = drafts[step]
        if draft.parent is not None and drafts[draft.parent].run == draft.run:
            draft.within, draft.nested_by = draft.parent, Nesting.PARENT


def _flat(drafts: list[Draft], draft: Draft) -> bool:
    return draft.within is None or drafts[draft.within].kind not in _HOLDERS


class _UnderWay:
    """Steps that are under way, by name; asked in the record's order."""

    __slots__ = ("_heaps",)

    def __init__(self) -> None:
        self._heaps: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)

    def add(self, name: str, draft: Draft) -> None:
        heappush(self._heaps[name], (_until(draft), draft.number))

    def only(self, name: str, position: int) -> int | None:
        """The one step of a name that is under way at a position; None when there is none, or more than one."""
        heap = self._heaps.get(name)
        if not heap:
            return None
        while heap and heap[0][0] < position:
            heappop(heap)
        return heap[0][1] if len(heap) == 1 else None


def _nest_flat(drafts: list[Draft], steps: Sequence[int]) -> None:
    """One pass in order, with the agents and tools that are under way."""
    agents, tools = _UnderWay(), _UnderWay()
    for step in steps:
        draft = drafts[step]
        agent_id = draft.head.agent_id or draft.head.agent_name
        if draft.kind in _UNDER_AGENT and _flat(drafts, draft):
            holder = tools.only(draft.name, draft.first) if draft.kind is StepKind.MCP else None
            if holder is not None:
                draft.within, draft.nested_by = holder, Nesting.NAME
            elif agent_id:
                holder = agents.only(agent_id, draft.first)
                if holder is not None:
                    draft.within, draft.nested_by = holder, Nesting.AGENT
        if draft.start is not None and draft.kind is StepKind.AGENT and agent_id:
            agents.add(agent_id, draft)
        elif draft.start is not None and draft.kind is StepKind.TOOL and draft.name:
            tools.add(draft.name, draft)


def _nest_inner_agents(drafts: list[Draft], steps: Sequence[int]) -> None:
    """An output inside one tool call that holds what the tool returned: what led to it belongs to the tool."""
    calls = _UnderWay()
    since: list[Draft] = []
    for step in steps:
        draft = drafts[step]
        if draft.kind is StepKind.TOOL and draft.state is StepState.CLOSED:
            calls.add("", draft)
            since = []
        elif draft.kind in _INNER and _flat(drafts, draft):
            since.append(draft)
            if draft.kind is StepKind.OUTPUT:
                tool = calls.only("", draft.first)
                if tool is not None and _returns(drafts[tool], draft):
                    for inner in since:
                        if inner.first > drafts[tool].first:
                            inner.within, inner.nested_by = tool, Nesting.CONTENT
                since = []


def _returns(tool: Draft, output: Draft) -> bool:
    """Whether the tool's result stands, whole, in the output's text."""
    if tool.end is None or output.head.content != "message":
        return False
    text = output_text(tool.end).strip()
    return len(text) > 1 and text in output.head.event.message.text


def _cut_circles(drafts: list[Draft], steps: Sequence[int]) -> None:
    """Parents that lead back to their child (a record may say so) lose the link of the earliest step of the circle."""
    safe: set[int] = set()
    for step in steps:
        path: list[int] = []
        seen: set[int] = set()
        at: int | None = step
        while at is not None and at not in safe and at not in seen:
            seen.add(at)
            path.append(at)
            at = drafts[at].within
        if at is not None and at in seen:
            circle = path[path.index(at) :]
            head = drafts[min(circle)]
            head.within, head.nested_by = None, Nesting.NOTHING
        safe.update(path)
