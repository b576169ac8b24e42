"""An explanation as a Mermaid flowchart: a box per step, inside its run; arrows in the order of what happened, or by evidence.

Contents stand in quotation marks with every sign that means something to Mermaid as a numbered entity, so that no name or text of
the record becomes syntax. Bounded: above `steps_max` the first steps of each run stand, and a box counts the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from chaukas.server.explain.chapters import OUTCOMES
from chaukas.server.explain.model import Explanation, Run, Step, StepKind, StepState
from chaukas.server.explain.quoting import mermaid_escaped, one_line
from chaukas.server.explain.utterances import final_text, said

__all__ = ["Arrow", "mermaid_of"]

_STEPS_MAX = 120
_RUNS_MAX = 20
_LABEL_CHARS = 60
_HIDDEN = frozenset({StepKind.SESSION, StepKind.STATE})
_SHAPES = {
    StepKind.INPUT: ("([", "])"),
    StepKind.OUTPUT: ("([", "])"),
    StepKind.TOOL: ("[[", "]]"),
    StepKind.MCP: ("[[", "]]"),
    StepKind.POLICY: ("{{", "}}"),
    StepKind.DATA_ACCESS: ("[(", ")]"),
}


@dataclass(frozen=True, slots=True)
class Arrow:
    """An arrow between two steps; `label` is the kind of evidence, `dotted` for what is weak."""

    source: int
    target: int
    label: str = ""
    dotted: bool = False


def mermaid_of(
    explanation: Explanation,
    arrows: Iterable[Arrow] = (),
    *,
    only: frozenset[int] | None = None,
    steps_max: int = _STEPS_MAX,
) -> str:
    """The chart. Without any arrow each step points at the one that came after it; `only` names the steps to draw."""
    lines = ["flowchart TD"]
    shown: set[int] = set()
    wanted = [run for run in explanation.runs if only is None or not only.isdisjoint(run.steps)]
    runs = wanted[:_RUNS_MAX]
    each_max = max(4, steps_max // max(1, len(runs)))
    for run in runs:
        lines += _run(explanation, run, each_max, shown, only)
    if len(wanted) > len(runs):
        lines.append(f'  more["{len(wanted) - len(runs)} more runs are not drawn"]')
    drawn = [arrow for arrow in arrows if arrow.source in shown and arrow.target in shown]
    if not drawn:
        drawn = [arrow for run in runs for arrow in _sequence(run, shown)]
    for arrow in drawn:
        line = "-.->" if arrow.dotted else "-->"
        label = f'|"{mermaid_escaped(arrow.label)}"|' if arrow.label else ""
        lines.append(f"  s{arrow.source} {line}{label} s{arrow.target}")
    failed = [f"s{number}" for number in sorted(shown) if explanation.steps[number].failed]
    unfinished = [f"s{number}" for number in sorted(shown) if explanation.steps[number].state is StepState.OPEN]
    if failed:
        lines += ["  classDef failed stroke:#b00020,stroke-width:2px", f"  class {','.join(failed)} failed"]
    if unfinished:
        lines += ["  classDef unfinished stroke-dasharray:4 3", f"  class {','.join(unfinished)} unfinished"]
    return "\n".join(lines) + "\n"


def _run(explanation: Explanation, run: Run, steps_max: int, shown: set[int], only: frozenset[int] | None) -> list[str]:
    lines = [f'  subgraph r{run.number}["Run {run.number + 1}: {OUTCOMES[run.outcome]}"]']
    steps = [step for step in explanation.steps_of(run) if (step.kind not in _HIDDEN if only is None else step.number in only)]
    for step in steps[:steps_max]:
        opening, closing = _SHAPES.get(step.kind, ("[", "]"))
        lines.append(f'    s{step.number}{opening}"{mermaid_escaped(_label(explanation, step))}"{closing}')
        shown.add(step.number)
    if len(steps) > steps_max:
        lines.append(f'    m{run.number}["{len(steps) - steps_max} more steps are not drawn"]')
    return [*lines, "  end"]


def _label(explanation: Explanation, step: Step) -> str:
    row = explanation.record.rows[step.first]
    if step.kind is StepKind.INPUT:
        return f"asked: {one_line(said(row), _LABEL_CHARS)}"
    if step.kind is StepKind.OUTPUT:
        return f"answered: {one_line(final_text(row), _LABEL_CHARS)}"
    if step.kind is StepKind.POLICY and row.content == "policy":
        return f"policy {one_line(step.name, _LABEL_CHARS)}: {one_line(row.event.policy.outcome, 20)}"
    return f"{step.kind.value.replace('_', ' ')} {one_line(step.name, _LABEL_CHARS)}".rstrip()


def _sequence(run: Run, shown: set[int]) -> list[Arrow]:
    steps = [number for number in run.steps if number in shown]
    return [Arrow(before, after) for before, after in pairwise(steps)]
