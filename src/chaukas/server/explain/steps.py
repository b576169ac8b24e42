"""From rows to finished steps and runs: the whole structure of an explanation, without its findings."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence

from chaukas.server.explain import contents
from chaukas.server.explain.drafts import Draft
from chaukas.server.explain.model import (
    Cost,
    EventRow,
    Explanation,
    PairedBy,
    Record,
    Run,
    RunKind,
    RunOutcome,
    SessionView,
    Step,
    StepKind,
    StepState,
    Stitch,
    Tokens,
)
from chaukas.server.explain.ordering import record_of
from chaukas.server.explain.pairing import drafts_of
from chaukas.server.explain.runs import group_runs
from chaukas.server.explain.tree import nest
from chaukas.spec.common.v1 import events_pb2

__all__ = ["structure_of"]

_ACTIONS = frozenset({StepKind.MODEL, StepKind.TOOL, StepKind.MCP})
_STOPPABLE = _ACTIONS | {StepKind.AGENT}
_NS_PER_MS = 1_000_000


def structure_of(events: Iterable[events_pb2.Event]) -> Explanation:
    """Rows, steps, runs and sessions of a list of events in any order; `findings` is left empty.

    The events are only read. Time and memory grow near-linearly with their number; the explanation keeps the events alive.
    """
    record = record_of(events)
    drafts = drafts_of(record)
    for draft in drafts:
        draft.name = contents.name_of(draft)
    grouping = group_runs(drafts)
    _close_by_handoff(drafts)
    nest(drafts, grouping.runs)
    _attach_troubles(drafts, grouping.runs)
    steps = tuple(map(_frozen, drafts))
    runs = tuple(
        _run(number, [steps[step] for step in members], record, grouping.stitches[number])
        for number, members in enumerate(grouping.runs)
    )
    return Explanation(record, steps, runs, _sessions(record, steps))


def _close_by_handoff(drafts: list[Draft]) -> None:
    """An agent without END that handed over has ended there: integrations end only the last agent of a chain."""
    opened: dict[tuple[int, str], Draft] = {}
    for draft in drafts:
        if draft.kind is StepKind.AGENT and draft.start is not None:
            for name in (draft.start.agent_id, draft.start.agent_name):
                if name:
                    opened[draft.run, name] = draft
        elif draft.kind is StepKind.HANDOFF and draft.head.content == "agent_handoff":
            handoff = draft.head.event.agent_handoff
            for name in (handoff.from_agent_id, handoff.from_agent_name, draft.head.agent_id):
                agent = opened.get((draft.run, name)) if name else None
                if agent is not None:
                    if agent.state is StepState.OPEN:
                        agent.state, agent.paired_by = StepState.HANDED_OFF, PairedBy.HANDOFF
                        agent.stopped_by, agent.ended_by = draft.number, draft.head
                    break


def _attach_troubles(drafts: list[Draft], runs: Sequence[Sequence[int]]) -> None:
    """Tie ERROR and RETRY events to the steps that they concern."""
    for steps in runs:
        latest: dict[tuple[str, str], Draft] = {}
        errors: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        stoppable: list[Draft] = []
        for step in steps:
            draft = drafts[step]
            head = draft.head
            if draft.kind in _STOPPABLE and draft.state is StepState.OPEN:
                stoppable.append(draft)
            if draft.kind in _ACTIONS:
                latest[head.agent_id, head.parent_span_id] = draft
            elif draft.kind is StepKind.RETRY or draft.kind is StepKind.ERROR:
                _attach(drafts, draft, latest)
                if draft.kind is StepKind.ERROR:
                    for agent_id in {head.agent_id, ""}:
                        errors[agent_id, head.parent_span_id].append(step)
        for draft in stoppable:
            _stop(draft, errors)


def _attach(drafts: list[Draft], draft: Draft, latest: dict[tuple[str, str], Draft]) -> None:
    """To the call that is its parent, else to the latest call of its agent under its parent, if that one is under way.

    A RETRY may also follow a call that has failed.
    """
    call = drafts[draft.parent] if draft.parent is not None and drafts[draft.parent].kind in _ACTIONS else None
    if call is None:
        call = latest.get((draft.head.agent_id, draft.head.parent_span_id))
        if call is None:
            return
        under_way = call.state is StepState.OPEN or call.last > draft.first
        if not under_way and (draft.kind is StepKind.ERROR or contents.error_of(call) is None):
            return
    (call.retries if draft.kind is StepKind.RETRY else call.errors).append(draft.number)


def _stop(draft: Draft, errors: dict[tuple[str, str], list[int]]) -> None:
    """The first error after an open step, of its agent and under its parent (or under itself), is what ended it."""
    head = draft.head
    found: list[int] = []
    for key in ((head.agent_id, head.parent_span_id), ("", head.span_id)):
        later = errors.get(key, [])
        place = bisect_right(later, draft.number)
        if place < len(later):
            found.append(later[place])
    if found:
        draft.stopped_by = min(found)


def _frozen(draft: Draft) -> Step:
    start, end, head = draft.start, draft.end, draft.head
    last = start if draft.state is StepState.POINT else (end or draft.ended_by)
    duration_ms: float | None = None
    if start is None or last is None:
        duration_ms = contents.recorded_duration_ms(draft)
    elif start is not last and draft.certain and last.time_ns >= start.time_ns:
        duration_ms = (last.time_ns - start.time_ns) / _NS_PER_MS
    return Step(
        number=draft.number,
        kind=draft.kind,
        name=draft.name,
        model=contents.model_of(draft),
        agent_id=head.agent_id,
        agent_name=head.agent_name,
        span_id=head.span_id,
        parent_span_id=head.parent_span_id,
        start=None if start is None else start.position,
        end=None if end is None else end.position,
        events=tuple(row.position for row in draft.rows),
        state=draft.state,
        paired_by=draft.paired_by,
        status=head.status if end is None else end.status,
        started_ns=None if start is None else start.time_ns,
        ended_ns=None if last is None else last.time_ns,
        duration_ms=duration_ms,
        parent=draft.parent,
        within=draft.within,
        nested_by=draft.nested_by,
        run=draft.run,
        tokens=contents.tokens_of(draft),
        cost=contents.cost_of(draft),
        error=contents.error_of(draft),
        errors=tuple(draft.errors),
        retries=tuple(draft.retries),
        stopped_by=draft.stopped_by,
    )


def _run(number: int, steps: list[Step], record: Record, stitches: tuple[Stitch, ...]) -> Run:
    events = sorted(position for step in steps for position in step.events)
    rows = [record.rows[position] for position in events]
    inputs = tuple(step.number for step in steps if step.kind is StepKind.INPUT)
    outputs = tuple(step.number for step in steps if step.kind is StepKind.OUTPUT)
    errors = tuple(step.number for step in steps if step.kind is StepKind.ERROR)
    timed = [row for row in rows if row.kind is not StepKind.SESSION] or rows
    started = any(step.kind is StepKind.SESSION and step.start is not None for step in steps)
    return Run(
        number=number,
        id=rows[0].event_id,
        kind=RunKind.RUN if inputs or started else RunKind.FRAGMENT,
        outcome=_outcome(steps, inputs, outputs, errors),
        steps=tuple(step.number for step in steps),
        roots=tuple(step.number for step in steps if step.within is None),
        events=tuple(events),
        stitches=stitches,
        sessions=_distinct(row.session_id for row in rows),
        traces=_distinct(row.trace_id for row in rows),
        agents=_distinct(row.agent_name or row.agent_id for row in rows),
        inputs=inputs,
        outputs=outputs,
        errors=errors,
        started_ns=min(row.time_ns for row in timed),
        ended_ns=max(row.time_ns for row in timed),
        tokens=_token_sum(steps),
        cost=_cost_sum(steps),
    )


def _outcome(steps: list[Step], inputs: tuple[int, ...], outputs: tuple[int, ...], errors: tuple[int, ...]) -> RunOutcome:
    if outputs and (not errors or errors[-1] < outputs[-1]):
        return RunOutcome.ANSWERED
    if errors:
        return RunOutcome.FAILED
    if inputs or any(step.state is StepState.OPEN for step in steps):
        return RunOutcome.UNFINISHED
    return RunOutcome.CLOSED


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    """The values that are not empty, each once, in order of appearance."""
    return tuple(value for value in dict.fromkeys(values) if value)


def _token_sum(steps: list[Step]) -> Tokens | None:
    counted = [step.tokens for step in steps if step.tokens is not None]
    if not counted:
        return None
    return Tokens(
        prompt=_sum(tokens.prompt for tokens in counted),
        completion=_sum(tokens.completion for tokens in counted),
        total=_sum(tokens.total for tokens in counted),
    )


def _sum(values: Iterable[int | None]) -> int | None:
    """The sum, None when one of the values is unknown: a part is not a total."""
    total = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total


def _cost_sum(steps: list[Step]) -> Cost | None:
    costs = [step.cost for step in steps if step.cost is not None]
    if not costs or len({cost.currency for cost in costs}) > 1:
        return None
    return Cost(sum(cost.total for cost in costs), costs[0].currency)


def _sessions(record: Record, steps: tuple[Step, ...]) -> tuple[SessionView, ...]:
    """The recorded sessions, in order of their first event."""
    run_of = [0] * len(record.rows)
    for step in steps:
        for position in step.events:
            run_of[position] = step.run
    rows_of: defaultdict[str, list[EventRow]] = defaultdict(list)
    for row in record.rows:
        if row.session_id:
            rows_of[row.session_id].append(row)
    return tuple(_session(session_id, rows, run_of) for session_id, rows in rows_of.items())


def _session(session_id: str, rows: list[EventRow], run_of: list[int]) -> SessionView:
    return SessionView(
        session_id=session_id,
        events=tuple(row.position for row in rows),
        runs=tuple(dict.fromkeys(run_of[row.position] for row in rows)),
        starts=sum(1 for row in rows if row.type == events_pb2.EVENT_TYPE_SESSION_START),
        ends=sum(1 for row in rows if row.type == events_pb2.EVENT_TYPE_SESSION_END),
    )
