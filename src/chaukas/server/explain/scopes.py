"""Traces and sessions as evidence: what carries the same id belongs together, as long as one root is all there is.

Real traffic puts many runs under one session id, so a scope with several roots proves nothing by itself. Then a loose part joins
the root in whose time it lies alone: the shared id says that it belongs to one of them, and the roots' own bounds say to which. A
part in the time of two roots, or of none, stays loose: only time would tie it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass

from chaukas.server.explain.drafts import Draft
from chaukas.server.explain.model import StepKind, StitchBy
from chaukas.server.explain.unions import Unions

__all__ = ["join_scope"]

_FAR = 1 << 62


@dataclass(slots=True)
class _Part:
    """A set of steps on its way to a run. `rooted`: it stands on its own, by a session's start or an input with what followed."""

    root: int
    first: int
    last: int
    rooted: bool
    inputs_only: bool
    open_session: bool


def join_scope(drafts: list[Draft], unions: Unions, by: StitchBy) -> None:
    """Join the parts that share a trace id (or a session id), as far as the module's rule allows."""
    carriers: defaultdict[str, dict[int, int]] = defaultdict(dict)
    for draft in drafts:
        root = unions.root(draft.number)
        for row in draft.rows:
            value = row.trace_id if by is StitchBy.TRACE else row.session_id
            if value:
                carriers[value].setdefault(root, draft.number)
    shared = {value: found for value, found in carriers.items() if len(found) > 1}
    if not shared:
        return
    parts = _parts(drafts, unions)
    for value, found in shared.items():
        # Joins made for values before this one may have made one set of two.
        carrier_of: dict[int, int] = {}
        for step in found.values():
            carrier_of.setdefault(unions.root(step), step)
        present = [parts[root] for root in carrier_of]
        rooted = sorted((part for part in present if part.rooted), key=_first)
        joins = _homes(present, rooted) if len(rooted) > 1 else [(present[0], part) for part in present[1:]]
        for home, part in joins:
            unions.join(carrier_of[home.root], carrier_of[part.root], by, value)
        for home, part in joins:
            _merge(parts, unions, home, part)


def _first(part: _Part) -> int:
    return part.first


def _parts(drafts: list[Draft], unions: Unions) -> dict[int, _Part]:
    parts: dict[int, _Part] = {}
    has_input: set[int] = set()
    for draft in drafts:
        root = unions.root(draft.number)
        part = parts.get(root)
        if part is None:
            part = parts[root] = _Part(root, draft.first, draft.last, False, True, False)
        elif draft.last > part.last:
            part.last = draft.last
        if draft.kind is StepKind.INPUT:
            has_input.add(root)
            continue
        part.inputs_only = False
        if draft.kind is StepKind.SESSION and draft.start is not None:
            part.rooted = True
            part.open_session = part.open_session or draft.end is None
    for root in has_input:
        parts[root].rooted = parts[root].rooted or not parts[root].inputs_only
    return parts


def _merge(parts: dict[int, _Part], unions: Unions, home: _Part, part: _Part) -> None:
    """After a join, one part of two; both keys lead to it, so that parts not yet looked at again are found."""
    root = unions.root(home.root)
    home.root = root
    home.first = min(home.first, part.first)
    home.last = max(home.last, part.last)
    home.rooted = home.rooted or part.rooted
    home.inputs_only = home.inputs_only and part.inputs_only
    home.open_session = home.open_session or part.open_session
    parts[root] = home


def _homes(present: list[_Part], rooted: list[_Part]) -> list[tuple[_Part, _Part]]:
    """(root, loose part) for each part that lies in the time of that root alone.

    A session that never ended lasts until the next root. An input that stands directly before a root, and in the time of no
    other, belongs to it: it is usually recorded just before the session that it starts.
    """
    starts = [part.first for part in rooted]
    ends: list[int] = []
    latest: list[int] = []  # the greatest end of the roots up to here
    for place, part in enumerate(rooted):
        next_start = starts[place + 1] if place + 1 < len(rooted) else _FAR
        ends.append(max(part.last, next_start - 1) if part.open_session else part.last)
        latest.append(max(ends[-1], latest[-1]) if latest else ends[-1])
    joins: list[tuple[_Part, _Part]] = []
    for part in present:
        if part.rooted:
            continue
        place = bisect_right(starts, part.first) - 1
        next_start = starts[place + 1] if place + 1 < len(rooted) else _FAR
        others_end = latest[place - 1] if place > 0 else -1
        if place >= 0 and others_end < part.first and part.last <= ends[place] and part.last < next_start:
            joins.append((rooted[place], part))
        elif part.inputs_only and next_start == part.last + 1 and (place < 0 or latest[place] < part.first):
            joins.append((rooted[place + 1], part))
    return joins
