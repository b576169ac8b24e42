"""STARTs, ENDs and parents that do not fit: OPEN_SPAN, ORPHAN_END, TWO_ENDS, MISPLACED_END, END_BEFORE_START, ORPHAN_PARENT."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from chaukas.server.explain.findings.rule import Rule, finding
from chaukas.server.explain.model import Explanation, Finding, FindingSeverity, PairedBy, Step, StepState
from chaukas.server.explain.wording import capital, milliseconds, step_words

__all__ = ["RULES"]


def _open_spans(explanation: Explanation) -> Iterator[Finding]:
    for step in explanation.steps:
        if step.state is not StepState.OPEN:
            continue
        if step.stopped_by is None:
            yield finding(
                explanation,
                "OPEN_SPAN",
                FindingSeverity.WARN,
                f"The record shows that {step_words(step)} started, and nothing about how it ended.",
                [step],
            )
        else:
            error = explanation.steps[step.stopped_by]
            name = f" ({error.name})" if error.name else ""
            yield finding(
                explanation,
                "OPEN_SPAN",
                FindingSeverity.INFO,
                f"The record shows that {step_words(step)} started, no end of it, and after it an error{name} in the same place.",
                [step, error],
            )


def _orphan_ends(explanation: Explanation) -> Iterator[Finding]:
    for step in explanation.steps:
        if step.state is StepState.ORPHANED:
            yield finding(
                explanation,
                "ORPHAN_END",
                FindingSeverity.INFO,
                f"The record shows that {step_words(step)} ended, and nothing of its start.",
                [step],
            )


def _two_ends(explanation: Explanation) -> Iterator[Finding]:
    for step in explanation.steps:
        if step.state is StepState.DOUBLED:
            ends = len(step.events) - (step.start is not None)
            sure = "" if step.duration_ms is not None else "; which of them is its own cannot be told"
            yield finding(
                explanation,
                "TWO_ENDS",
                FindingSeverity.WARN,
                f"{ends} events say that {step_words(step)} ended{sure}.",
                [step],
                details={"ends": ends, "span_id": step.span_id},
            )


def _misplaced_ends(explanation: Explanation) -> Iterator[Finding]:
    for step in explanation.steps:
        if step.paired_by is PairedBy.PARENT and step.end is not None:
            span_id = explanation.record.rows[step.end].span_id
            yield finding(
                explanation,
                "MISPLACED_END",
                FindingSeverity.INFO,
                f"The end of {step_words(step)} carries another step's span; agent, parent and session say where it belongs.",
                [step],
                details={"span_id": step.span_id, "span_id_of_end": span_id},
            )


def _ends_before_starts(explanation: Explanation) -> Iterator[Finding]:
    for step in explanation.steps:
        if step.started_ns is not None and step.ended_ns is not None and step.end is not None and step.ended_ns < step.started_ns:
            gap = step.started_ns - step.ended_ns
            yield finding(
                explanation,
                "END_BEFORE_START",
                FindingSeverity.WARN,
                f"By their own times {step_words(step)} ended {milliseconds(gap)} before it started.",
                [step],
                details={"ns": gap},
            )


def _orphan_parents(explanation: Explanation) -> Iterator[Finding]:
    """One finding per missing parent and run, however many children it has."""
    rows = explanation.record.rows
    recorded = {row.span_id for row in rows}
    children: defaultdict[tuple[int, str], list[Step]] = defaultdict(list)
    for step in explanation.steps:
        missing = {rows[position].parent_span_id for position in step.events} - recorded - {""}
        for parent_span_id in missing:
            children[step.run, parent_span_id].append(step)
    for (_, parent_span_id), steps in children.items():
        count = f"{len(steps)} steps name" if len(steps) > 1 else f"{capital(step_words(steps[0]))} names"
        yield finding(
            explanation,
            "ORPHAN_PARENT",
            FindingSeverity.INFO,
            f"{count} a parent span of which the record has no event.",
            steps,
            details={"parent_span_id": parent_span_id},
        )


RULES = (
    Rule("OPEN_SPAN", "something started, and its end is not recorded", _open_spans),
    Rule("ORPHAN_END", "something ended, and its start is not recorded", _orphan_ends),
    Rule("TWO_ENDS", "more than one END for one START", _two_ends),
    Rule("MISPLACED_END", "an END that carries the span of another step", _misplaced_ends),
    Rule("END_BEFORE_START", "an END whose time is before that of its START", _ends_before_starts),
    Rule("ORPHAN_PARENT", "a parent span of which there is no event", _orphan_parents),
)
