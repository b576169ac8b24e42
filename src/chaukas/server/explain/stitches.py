"""The evidence that holds each run together, told within the run.

A join between two turns is undone by the cut between them. Where it was also the way from one step of a turn to another (a
session inside a session: its step stands in the next turn, what names it as parent in this one), the ends of that way are
stitched to each other instead, by the weakest evidence on it: so the stitches of a run always connect all of its steps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from chaukas.server.explain.drafts import Draft
from chaukas.server.explain.model import Stitch, StitchBy
from chaukas.server.explain.unions import Unions

__all__ = ["stitches_of"]

_STRENGTH = {by: place for place, by in enumerate(StitchBy)}


def stitches_of(drafts: list[Draft], soft: Unions, count: int, *, cut: bool) -> tuple[tuple[Stitch, ...], ...]:
    """The stitches of each of `count` runs, the strongest first. `cut`: some set of joined steps became several runs."""
    found: list[list[Stitch]] = [[] for _ in range(count)]
    for (by, value), joined in soft.joins.items():
        per_run: defaultdict[int, list[int]] = defaultdict(list)
        for step in sorted(joined):
            per_run[drafts[step].run].append(step)
        for run, steps in per_run.items():
            if len(steps) > 1:
                found[run].append(_stitch(drafts, by, value, steps))
    if cut:
        for stitch in _bridges(drafts, soft, found):
            found[drafts[stitch.steps[0]].run].append(stitch)
    for stitches in found:
        stitches.sort(key=lambda stitch: (_STRENGTH[stitch.by], stitch.steps, stitch.value))
    return tuple(map(tuple, found))


def _stitch(drafts: list[Draft], by: StitchBy, value: str, steps: Iterable[int]) -> Stitch:
    steps = tuple(sorted(steps))
    return Stitch(by, value, steps, tuple(sorted(row.position for step in steps for row in drafts[step].rows)))


def _bridges(drafts: list[Draft], soft: Unions, found: list[list[Stitch]]) -> list[Stitch]:
    """Stitches between parts of a run that only steps of other runs connect.

    All joins are made once more, the strongest first, on top of what the stitches connect already. Each set knows one step of
    every broken run in it, so that a join which brings two parts of such a run together is seen; it is the weakest on their way.
    """
    sets = Unions(len(drafts))
    held = _parts_of_broken_runs(drafts, sets, found)
    if not held:
        return []
    bridges: list[Stitch] = []
    for (by, value), joined in sorted(soft.joins.items(), key=lambda join: (_STRENGTH[join[0][0]], min(join[1]), join[0][1])):
        first: dict[int, int] = {}
        for step in sorted(joined):
            # What was joined under one value may belong to several sets: a trace that is divided among its roots.
            home = first.setdefault(soft.root(step), step)
            one, other = sets.root(home), sets.root(step)
            if one == other:
                continue
            sets.join(one, other, by, value)
            sides = held.pop(one, {}), held.pop(other, {})
            small, large = sorted(sides, key=len)
            # Of a run on both sides one step of each is stitched; the one that shares the value itself speaks for its part.
            for run in sorted(small.keys() & large.keys()):
                ends = (near if drafts[near].run == run else side[run] for near, side in zip((home, step), sides, strict=True))
                bridges.append(_stitch(drafts, by, value, ends))
            large.update(small)
            if large:
                held[sets.root(one)] = large
    return bridges


def _parts_of_broken_runs(drafts: list[Draft], sets: Unions, found: list[list[Stitch]]) -> dict[int, dict[int, int]]:
    """Join what stitches connect; root of each part of a run that is in several -> that run -> a step of the part."""
    for stitches in found:
        for stitch in stitches:
            for step in stitch.steps[1:]:
                sets.join(stitch.steps[0], step, stitch.by, stitch.value)
    parts: defaultdict[int, list[int]] = defaultdict(list)
    for draft in drafts:
        if sets.root(draft.number) == draft.number:
            parts[draft.run].append(draft.number)
    return {part: {run: part} for run, numbers in parts.items() if len(numbers) > 1 for part in numbers}
