"""What has no scope: a handoff that can mean one agent only, a prompt that can come from one input only.

Both rest on what events say, not on when they were: a name or a text that two candidates share joins nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict

from chaukas.server.explain.drafts import Draft
from chaukas.server.explain.model import StepKind, StitchBy
from chaukas.server.explain.prompts import user_texts
from chaukas.server.explain.unions import Unions

__all__ = ["join_handoffs", "join_prompts"]

_ACTIONS = frozenset({StepKind.AGENT, StepKind.MODEL, StepKind.TOOL, StepKind.MCP})


def join_handoffs(drafts: list[Draft], unions: Unions) -> None:
    """Join a handoff with the agent it names where the run itself never started that agent and one agent elsewhere can be meant.

    One start after the handoff, in a part that no input set off, and no second handoff that waits for the same agent.
    """
    handoffs = [draft for draft in drafts if draft.kind is StepKind.HANDOFF and draft.head.content == "agent_handoff"]
    if not handoffs:
        return
    starts = _agent_starts(drafts)
    with_input = {unions.root(draft.number) for draft in drafts if draft.kind is StepKind.INPUT}
    last_in: dict[tuple[int, str], int] = {}
    loose: dict[str, list[int]] = {}
    for name, numbers in starts.items():
        loose[name] = [number for number in numbers if unions.root(number) not in with_input]
        last_in.update({(unions.root(number), name): number for number in numbers})
    waiting: defaultdict[int, list[int]] = defaultdict(list)
    for draft in handoffs:
        to = draft.head.event.agent_handoff
        name = to.to_agent_id if to.to_agent_id in starts else to.to_agent_name
        others = loose.get(name, [])
        place = bisect_right(others, draft.number)
        if last_in.get((unions.root(draft.number), name), -1) < draft.number and place == len(others) - 1:
            waiting[others[place]].append(draft.number)
    for agent, sources in waiting.items():
        if len(sources) == 1:
            unions.join(sources[0], agent, StitchBy.HANDOFF, drafts[agent].head.agent_name or drafts[agent].head.agent_id)


def _agent_starts(drafts: list[Draft]) -> dict[str, list[int]]:
    """Agent id or name -> the agent steps with a START, in order."""
    starts: defaultdict[str, list[int]] = defaultdict(list)
    for draft in drafts:
        if draft.kind is StepKind.AGENT and draft.start is not None:
            for name in {draft.start.agent_id, draft.start.agent_name} - {""}:
                starts[name].append(draft.number)
    return starts


def join_prompts(drafts: list[Draft], unions: Unions) -> None:
    """Join model calls without an input to the untied input whose text, whole, is a message of their prompt.

    Untied is an input whose part holds no agent, model or tool. Of several such messages the last one counts; an input text that
    two parts received counts for neither.
    """
    busy: set[int] = set()
    inputs: list[Draft] = []
    for draft in drafts:
        if draft.kind in _ACTIONS:
            busy.add(unions.root(draft.number))
        elif draft.kind is StepKind.INPUT and draft.head.content == "message":
            inputs.append(draft)
    by_text: dict[str, int | None] = {}
    for draft in inputs:
        text = draft.head.event.message.text.strip()
        if text and unions.root(draft.number) not in busy:
            known = by_text.get(text, draft.number)
            same = known is not None and unions.root(known) == unions.root(draft.number)
            by_text[text] = known if same else None
    if not by_text:
        return
    tied = {unions.root(draft.number) for draft in inputs}
    for draft in drafts:
        if draft.kind is StepKind.MODEL and draft.start is not None and unions.root(draft.number) not in tied:
            matches = [text for text in user_texts(draft.start) if text in by_text]
            source = by_text[matches[-1]] if matches else None
            if source is not None and source < draft.number:
                unions.join(source, draft.number, StitchBy.CONTENT, matches[-1])
