"""An explanation as a tree of lines for terminals. Plain text: colours are the command line's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chaukas.server.explain.chapters import OUTCOMES
from chaukas.server.explain.citations import Citations
from chaukas.server.explain.clock import day_and_time, time_of_day
from chaukas.server.explain.deeds import deed
from chaukas.server.explain.model import Explanation, Finding, Run, RunKind, Step, StepState
from chaukas.server.explain.quoting import harmless, one_line

__all__ = ["Line", "LineKind", "text_lines", "text_of"]

_RUNS_MAX = 200
_RUN_STEPS_MAX = 200
_FINDINGS_MAX = 500
_FINDING_CHARS = 400


class LineKind:
    """What a line is about; the command line chooses a style by it."""

    RUN = "run"
    STEP = "step"
    FAILED = "failed"
    OPEN = "open"
    NOTE = "note"
    FINDING = "finding"


@dataclass(frozen=True, slots=True)
class Line:
    """One line: the branches of the tree before it, its text, and the reference behind it."""

    branches: str
    text: str
    reference: str
    kind: str


def text_of(explanation: Explanation) -> str:
    """All lines as one text."""
    return "".join(
        f"{line.branches}{line.text}{f'  {line.reference}' if line.reference else ''}\n" for line in text_lines(explanation)
    )


def text_lines(explanation: Explanation) -> Iterator[Line]:
    """Runs with their steps as trees, then the findings."""
    citations = Citations(explanation.record)
    for run in explanation.runs[:_RUNS_MAX]:
        yield from _run(explanation, run, citations)
    if len(explanation.runs) > _RUNS_MAX:
        yield Line("", f"... and {len(explanation.runs) - _RUNS_MAX} more runs", "", LineKind.NOTE)
    if explanation.findings:
        yield Line("", f"Findings ({len(explanation.findings)})", "", LineKind.RUN)
        for finding in explanation.findings[:_FINDINGS_MAX]:
            yield _finding(finding, citations)
        if len(explanation.findings) > _FINDINGS_MAX:
            yield Line("", f"... and {len(explanation.findings) - _FINDINGS_MAX} more findings", "", LineKind.NOTE)


def _run(explanation: Explanation, run: Run, citations: Citations) -> Iterator[Line]:
    name = "Run" if run.kind is RunKind.RUN else "Fragment"
    heading = f"{name} {run.number + 1}, {day_and_time(run.started_ns)}: {OUTCOMES[run.outcome]}"
    yield Line("", heading, citations.cite(run.events[:1]), LineKind.RUN)
    inner: defaultdict[int, list[Step]] = defaultdict(list)
    for step in explanation.steps_of(run):
        if step.within is not None:
            inner[step.within].append(step)
    roots = [explanation.steps[number] for number in run.roots]
    told = 0
    waiting = _siblings(roots, "")
    while waiting:
        step, branches, below = waiting.pop()
        if told == _RUN_STEPS_MAX:
            yield Line("", f"... and {len(run.steps) - told} more steps", "", LineKind.NOTE)
            break
        told += 1
        yield _step(explanation, step, branches, citations)
        waiting += _siblings(inner[step.number], below)
    yield Line("", "", "", LineKind.NOTE)


def _siblings(steps: Sequence[Step], before: str) -> list[tuple[Step, str, str]]:
    """The steps of one place, last first, each with its own branches and those of what is inside it."""
    last = len(steps) - 1
    return [
        (step, f"{before}{'└─ ' if place == last else '├─ '}", f"{before}{'   ' if place == last else '│  '}")
        for place, step in reversed(list(enumerate(steps)))
    ]


def _step(explanation: Explanation, step: Step, branches: str, citations: Citations) -> Line:
    time = time_of_day(explanation.record.rows[step.first].time_ns)
    sentence = deed(explanation, step)
    text = harmless(sentence.text) if sentence is not None else _frame(step)
    kind = LineKind.FAILED if step.failed else LineKind.OPEN if step.state is StepState.OPEN else LineKind.STEP
    return Line(branches, f"{time} {text}", citations.cite(step.events), kind)


def _frame(step: Step) -> str:
    word = {"session": "Session", "state": "State was set"}.get(step.kind.value, step.kind.value)
    if step.state is StepState.OPEN:
        return f"{word}; no end of it is recorded"
    return word


def _finding(finding: Finding, citations: Citations) -> Line:
    reference = citations.cite(ref.position for ref in finding.events)
    text = f"{finding.severity.value:<5} {finding.code}: {one_line(finding.sentence, _FINDING_CHARS)}"
    return Line("", text, reference, LineKind.FINDING)
