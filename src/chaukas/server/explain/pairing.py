"""STARTs and ENDs into steps: span first, then ids, then what parent and agent say, then the order.

Real traffic decides the rules: ENDs with another session and trace than their START, missing, twice, on a span of their own after
an error, created before their START, several attempts on one span. `paired_by` on each step tells which rule was used.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable

from chaukas.server.explain.drafts import Draft
from chaukas.server.explain.model import Edge, EventRow, PairedBy, Record, StepKind, StepState

__all__ = ["drafts_of"]


def drafts_of(record: Record) -> list[Draft]:
    """Every row in exactly one draft, ordered by first event and numbered."""
    drafts: list[Draft] = []
    spans: defaultdict[tuple[StepKind, str], list[EventRow]] = defaultdict(list)
    bare: list[EventRow] = []
    for row in record.rows:
        if row.edge is Edge.POINT:
            drafts.append(Draft(row.kind, row, None, [row], StepState.POINT, PairedBy.NOTHING))
        elif row.span_id:
            spans[row.kind, row.span_id].append(row)
        else:
            bare.append(row)

    open_starts: list[EventRow] = [row for row in bare if row.edge is Edge.START]
    loose_ends: list[EventRow] = [row for row in bare if row.edge is Edge.END]
    crowded: list[list[EventRow]] = []
    for rows in spans.values():
        if len(rows) == 2 and rows[0].edge is not rows[1].edge:
            drafts.append(_paired(rows[0], rows[1]))
        elif len(rows) == 1:
            (open_starts if rows[0].edge is Edge.START else loose_ends).append(rows[0])
        else:
            crowded.append(rows)
    _settle_crowded(crowded, drafts, open_starts, loose_ends)
    if loose_ends and open_starts:
        _pair_loose(drafts, open_starts, loose_ends)
    drafts.extend(Draft(row.kind, row, None, [row], StepState.OPEN, PairedBy.NOTHING) for row in open_starts)
    drafts.extend(Draft(row.kind, None, row, [row], StepState.ORPHANED, PairedBy.NOTHING) for row in loose_ends)
    drafts.sort(key=_first)
    for number, draft in enumerate(drafts):
        draft.number = number
    return drafts


def _first(draft: Draft) -> int:
    return draft.rows[0].position


def _paired(one: EventRow, other: EventRow, *, by: PairedBy = PairedBy.SPAN) -> Draft:
    """The step of a START and an END, whichever comes first."""
    start, end = (one, other) if one.edge is Edge.START else (other, one)
    rows = [one, other] if one.position < other.position else [other, one]
    return Draft(start.kind, start, end, rows, StepState.CLOSED, by)


def _settle_crowded(
    crowded: list[list[EventRow]], drafts: list[Draft], open_starts: list[EventRow], loose_ends: list[EventRow]
) -> None:
    """Spans with more than one START or END.

    ENDs that contradict their span are looked at first: integrations that lose their context close somebody else's span.
    What remains is read as attempts on one span (START END START END), and what then is too much as a doubled step.
    """
    displaced: list[tuple[EventRow, list[EventRow]]] = []
    for rows in crowded:
        starts = [row for row in rows if row.edge is Edge.START]
        ends = [row for row in rows if row.edge is Edge.END]
        if not starts:
            _attempts(rows, drafts, open_starts, loose_ends)
            continue
        surplus = len(ends) - len(starts)
        foreign = [end for end in ends if not any(_agrees(start, end) for start in starts)] if surplus > 0 else []
        displaced.extend((end, rows) for end in foreign)
    taken = _displaced_homes(displaced, open_starts)
    if taken:
        for end, start in taken.items():
            drafts.append(_paired(start, end, by=PairedBy.PARENT))
        homes = set(map(id, taken.values()))
        open_starts[:] = [row for row in open_starts if id(row) not in homes]
    for rows in crowded:
        if any(row.edge is Edge.START for row in rows):
            _attempts([row for row in rows if row not in taken], drafts, open_starts, loose_ends)


def _position(row: EventRow) -> int:
    return row.position


def _agrees(start: EventRow, end: EventRow) -> bool:
    """Whether an END's own words do not contradict the START: the same parent, and no other agent."""
    return start.parent_span_id == end.parent_span_id and (
        not start.agent_id or not end.agent_id or start.agent_id == end.agent_id
    )


def _displaced_homes(displaced: list[tuple[EventRow, list[EventRow]]], open_starts: list[EventRow]) -> dict[EventRow, EventRow]:
    """ENDs on a foreign span -> the open START with their parent, agent, session and kind, where exactly one is there."""
    if not displaced:
        return {}
    homes: defaultdict[tuple[object, ...], list[EventRow]] = defaultdict(list)
    for start in open_starts:
        homes[_place(start)].append(start)
    wanted: defaultdict[tuple[object, ...], list[EventRow]] = defaultdict(list)
    for end, _ in displaced:
        wanted[_place(end)].append(end)
    return {ends[0]: homes[place][0] for place, ends in wanted.items() if len(ends) == 1 and len(homes.get(place, ())) == 1}


def _place(row: EventRow) -> tuple[object, ...]:
    return (row.kind, row.agent_id, row.parent_span_id, row.session_id)


def _attempts(rows: list[EventRow], drafts: list[Draft], open_starts: list[EventRow], loose_ends: list[EventRow]) -> None:
    """One span read in order: each END closes the latest open START; an END too many doubles the step it follows.

    An END that comes before every START waits for the first one: it was created before it.
    """
    waiting: list[EventRow] = []
    opened: list[EventRow] = []
    closed: list[Draft] = []
    surplus: list[EventRow] = []
    for row in rows:
        if row.edge is Edge.START:
            if waiting:
                closed.append(_paired(waiting.pop(0), row))
            else:
                opened.append(row)
        elif opened:
            closed.append(_paired(opened.pop(), row))
        elif closed:
            surplus.append(row)
        else:
            waiting.append(row)
    if closed:
        _double(closed, [*waiting, *surplus])
    elif len(waiting) > 1:
        drafts.append(Draft(waiting[0].kind, None, waiting[0], waiting, StepState.DOUBLED, PairedBy.NOTHING, certain=False))
    else:
        loose_ends.extend(waiting)
    drafts.extend(closed)
    open_starts.extend(opened)


def _double(closed: list[Draft], surplus: list[EventRow]) -> None:
    """Add each END too many to the step it follows; the END that agrees with the START best is the step's end."""
    closed.sort(key=_first)
    firsts = [draft.first for draft in closed]
    doubled: set[int] = set()
    for row in surplus:
        place = max(bisect_left(firsts, row.position) - 1, 0)
        doubled.add(place)
        closed[place].rows.append(row)
    for place in doubled:
        draft = closed[place]
        draft.state = StepState.DOUBLED
        draft.rows.sort(key=_position)
        start = draft.head
        ends = sorted((row for row in draft.rows if row is not start), key=lambda row: _likeness(start, row), reverse=True)
        draft.end = ends[0]
        draft.certain = _likeness(start, ends[0]) > _likeness(start, ends[1])


def _likeness(start: EventRow, end: EventRow) -> tuple[bool, bool, bool, bool]:
    return (
        start.agent_id == end.agent_id,
        start.parent_span_id == end.parent_span_id,
        start.trace_id == end.trace_id,
        start.session_id == end.session_id,
    )


def _pair_loose(drafts: list[Draft], open_starts: list[EventRow], loose_ends: list[EventRow]) -> None:
    """ENDs whose span has no START: by ids, then by order within the same session, parent and agent."""
    for key in (_tool_call_key, _response_key, _invocation_key):
        _pair_unique(key, drafts, open_starts, loose_ends)
    _pair_in_order(drafts, open_starts, loose_ends)


def _tool_call_key(row: EventRow) -> Hashable | None:
    if row.kind is not StepKind.TOOL:
        return None
    if row.content == "tool_call":
        return row.event.tool_call.id or None
    if row.content == "tool_response":
        return row.event.tool_response.tool_call_id or None
    return None


def _response_key(row: EventRow) -> Hashable | None:
    return (row.kind, row.response_id) if row.response_id else None


def _invocation_key(row: EventRow) -> Hashable | None:
    return (row.kind, row.agent_id, row.invocation_id) if row.invocation_id else None


def _pair_unique(
    key_of: Callable[[EventRow], Hashable | None], drafts: list[Draft], open_starts: list[EventRow], loose_ends: list[EventRow]
) -> None:
    """Pair by a key that exactly one open START and one loose END have."""
    starts, ends = _by_key(key_of, open_starts), _by_key(key_of, loose_ends)
    done: set[int] = set()
    for key, (*others, end) in ends.items():
        candidates = starts.get(key, ())
        if not others and len(candidates) == 1:
            start = candidates[0]
            drafts.append(_paired(start, end, by=PairedBy.IDS))
            done.update((start.position, end.position))
    if done:
        open_starts[:] = [row for row in open_starts if row.position not in done]
        loose_ends[:] = [row for row in loose_ends if row.position not in done]


def _by_key(key_of: Callable[[EventRow], Hashable | None], rows: Iterable[EventRow]) -> dict[Hashable, list[EventRow]]:
    found: defaultdict[Hashable, list[EventRow]] = defaultdict(list)
    for row in rows:
        key = key_of(row)
        if key is not None:
            found[key].append(row)
    return found


def _pair_in_order(drafts: list[Draft], open_starts: list[EventRow], loose_ends: list[EventRow]) -> None:
    """Within one session (or trace), parent and agent each loose END closes the latest open START of its kind before it."""
    opened: defaultdict[tuple[object, ...], list[EventRow]] = defaultdict(list)
    done: set[int] = set()
    for row in sorted([*open_starts, *loose_ends], key=_position):
        if not row.session_id and not row.trace_id:
            continue
        place = (*_place(row), row.trace_id)
        if row.edge is Edge.START:
            opened[place].append(row)
        elif opened[place]:
            start = opened[place].pop()
            drafts.append(_paired(start, row, by=PairedBy.ORDER))
            done.update((start.position, row.position))
    if done:
        open_starts[:] = [row for row in open_starts if row.position not in done]
        loose_ends[:] = [row for row in loose_ends if row.position not in done]
