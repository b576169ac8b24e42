"""Steps into runs: what ids, parents, handoffs and contents tie together, and never what only time connects.

The order of the evidence is its strength. First come links that no boundary may cut: a shared span, a recorded parent, shared
ids. Then the scopes: a session's span as parent, a parent that never arrived, the trace, the session id; a scope that holds
several roots is divided among them where each root's time is its own, and what lies elsewhere stays a fragment. Last, what has no
scope: a handoff that names the one agent it can mean, and a prompt that holds the text of the one input it can come from.

A run that holds several turns one after another (input, ..., output, input, ..., output) is cut between them, unless a link
crosses the cut.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from chaukas.server.explain.drafts import Draft
from chaukas.server.explain.loose_ends import join_handoffs, join_prompts
from chaukas.server.explain.model import StepKind, StepState, Stitch, StitchBy
from chaukas.server.explain.scopes import join_scope
from chaukas.server.explain.stitches import stitches_of
from chaukas.server.explain.turns import turns_of
from chaukas.server.explain.unions import Unions

__all__ = ["Grouping", "group_runs"]

#: Ids shorter than this ("inv-1", "call_2") are taken to be unique within their session only.
_UNIQUE_ID_CHARS = 16


@dataclass(frozen=True, slots=True)
class Grouping:
    """The runs as lists of step numbers, in order of their first event, each with its stitches (the strongest first)."""

    runs: tuple[tuple[int, ...], ...]
    stitches: tuple[tuple[Stitch, ...], ...]


def group_runs(drafts: list[Draft]) -> Grouping:
    """Put every step into exactly one run; sets `parent` and `run` of the drafts."""
    owners = _owners(drafts)
    _set_parents(drafts, owners)
    hard = Unions(len(drafts))
    _join_spans(drafts, owners, hard)
    _join_parents(drafts, hard)
    _join_ids(drafts, hard)
    soft = hard.copy()
    _join_session_children(drafts, owners, soft)
    _join_missing_parents(drafts, soft)
    join_scope(drafts, soft, StitchBy.TRACE)
    join_scope(drafts, soft, StitchBy.SESSION)
    join_handoffs(drafts, soft)
    join_prompts(drafts, soft)
    members = _members(len(drafts), soft)
    runs = [turn for steps in members for turn in turns_of(drafts, steps, hard)]
    runs.sort(key=lambda steps: drafts[steps[0]].first)
    for number, steps in enumerate(runs):
        for step in steps:
            drafts[step].run = number
    return Grouping(tuple(map(tuple, runs)), stitches_of(drafts, soft, len(runs), cut=len(runs) > len(members)))


def _owners(drafts: list[Draft]) -> dict[str, int]:
    """Span id -> the step that owns it: the first with a START there, else the first with an END, else the first point."""
    owners: dict[str, int] = {}
    pairs = [draft for draft in drafts if draft.state is not StepState.POINT]
    for draft in pairs:
        if draft.start is not None:
            owners.setdefault(draft.start.span_id, draft.number)
    for draft in pairs:
        for row in draft.rows:
            owners.setdefault(row.span_id, draft.number)
    for draft in drafts:
        owners.setdefault(draft.head.span_id, draft.number)
    owners.pop("", None)
    return owners


def _set_parents(drafts: list[Draft], owners: dict[str, int]) -> None:
    for draft in drafts:
        head = draft.head
        parent_span = head.parent_span_id or (draft.end.parent_span_id if draft.end is not None else "")
        parent = owners.get(parent_span) if parent_span else None
        if parent is None and draft.state is StepState.POINT and head.span_id:
            # A point that carries the span of a step, and names no other parent, was recorded inside it.
            parent = owners.get(head.span_id)
        draft.parent = parent if parent != draft.number else None


def _join_spans(drafts: list[Draft], owners: dict[str, int], hard: Unions) -> None:
    for draft in drafts:
        span_id = draft.head.span_id
        owner = owners.get(span_id, draft.number) if span_id else draft.number
        if owner != draft.number and drafts[owner].kind is not StepKind.SESSION:
            hard.join(owner, draft.number, StitchBy.SPAN, span_id)


def _join_parents(drafts: list[Draft], hard: Unions) -> None:
    for draft in drafts:
        if draft.parent is not None and drafts[draft.parent].kind is not StepKind.SESSION:
            hard.join(draft.parent, draft.number, StitchBy.PARENT, drafts[draft.parent].head.span_id)


def _join_ids(drafts: list[Draft], hard: Unions) -> None:
    holders: dict[tuple[str, str, str], int] = {}
    for draft in drafts:
        for row in draft.rows:
            if row.invocation_id or row.response_id or row.content in {"tool_call", "tool_response"}:
                for kind, value in _ids(row.invocation_id, row.response_id, draft, row.content):
                    scope = "" if len(value) >= _UNIQUE_ID_CHARS else row.session_id
                    holder = holders.setdefault((kind, value, scope), draft.number)
                    if holder != draft.number:
                        hard.join(holder, draft.number, StitchBy.IDS, value)


def _ids(invocation_id: str, response_id: str, draft: Draft, content: str) -> Iterator[tuple[str, str]]:
    if invocation_id:
        yield "invocation", invocation_id
    if response_id:
        yield "response", response_id
    if content == "tool_call" and draft.start is not None and draft.start.content == "tool_call":
        call_id = draft.start.event.tool_call.id
        if call_id:
            yield "tool call", call_id
    elif content == "tool_response" and draft.end is not None and draft.end.content == "tool_response":
        call_id = draft.end.event.tool_response.tool_call_id
        if call_id:
            yield "tool call", call_id


def _join_session_children(drafts: list[Draft], owners: dict[str, int], soft: Unions) -> None:
    """A session's span as parent, or as the own span of a point: strong, but turns inside a session may still be told apart."""
    for draft in drafts:
        if draft.parent is not None and drafts[draft.parent].kind is StepKind.SESSION:
            soft.join(draft.parent, draft.number, StitchBy.PARENT, drafts[draft.parent].head.span_id)
        span_id = draft.head.span_id
        owner = owners.get(span_id, draft.number) if span_id else draft.number
        if owner != draft.number:
            soft.join(owner, draft.number, StitchBy.SPAN, span_id)


def _join_missing_parents(drafts: list[Draft], soft: Unions) -> None:
    """Steps that name the same parent belong together, although the parent itself never arrived."""
    holders: dict[str, int] = {}
    for draft in drafts:
        parent_span = draft.head.parent_span_id
        if parent_span and draft.parent is None and parent_span != draft.head.span_id:
            holder = holders.setdefault(parent_span, draft.number)
            if holder != draft.number:
                soft.join(holder, draft.number, StitchBy.PARENT, parent_span)


def _members(size: int, soft: Unions) -> list[list[int]]:
    """The sets as lists of step numbers, each in order."""
    members: defaultdict[int, list[int]] = defaultdict(list)
    for number in range(size):
        members[soft.root(number)].append(number)
    return list(members.values())
