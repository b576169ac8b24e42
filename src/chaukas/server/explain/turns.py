"""Turns: where a run that goes on after its answer begins anew with the next input."""

from __future__ import annotations

from collections.abc import Sequence

from chaukas.server.explain.drafts import Draft
from chaukas.server.explain.model import StepKind
from chaukas.server.explain.unions import Unions

__all__ = ["turns_of"]

_TERMINATORS = frozenset({StepKind.OUTPUT, StepKind.ERROR})


def turns_of(drafts: list[Draft], steps: Sequence[int], hard: Unions) -> list[list[int]]:
    """Cut a set of steps before each input or session start after an output or error, where nothing `hard` ties crosses the cut.

    So an agent that works as another one's tool, with input and output of its own, cuts nothing: the tool call is under way. A
    session's step belongs to its first turn and does not stand in the way.
    """
    inputs = sum(1 for step in steps if drafts[step].kind is StepKind.INPUT)
    if inputs < 2:
        return [list(steps)]
    reach: dict[int, int] = {}
    for step in steps:
        if drafts[step].kind is not StepKind.SESSION:
            group = hard.root(step)
            reach[group] = max(reach.get(group, -1), drafts[step].last)
    turns: list[list[int]] = [[]]
    furthest = -1
    seen_input = ended = False
    for step in steps:
        draft = drafts[step]
        opens = draft.kind is StepKind.INPUT or (draft.kind is StepKind.SESSION and draft.start is not None)
        if opens and seen_input and ended and furthest < draft.first:
            turns.append([])
            ended = False
        if draft.kind is StepKind.INPUT:
            seen_input = True
        elif draft.kind in _TERMINATORS:
            ended = True
        turns[-1].append(step)
        if draft.kind is not StepKind.SESSION:
            furthest = max(furthest, reach[hard.root(step)])
    return turns
