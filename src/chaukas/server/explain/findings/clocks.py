"""Times that cannot all be true: CLOCK_SKEW.

Lateness proves nothing: clients keep what they could not send, and send it hours later. What does prove something is an event
from the server's future, a child long before its parent, and a late event among prompt ones.
"""

from __future__ import annotations

from collections.abc import Iterator

from chaukas.server.explain.findings.rule import Rule, finding
from chaukas.server.explain.model import EventRow, Explanation, Finding, FindingSeverity, Run, Step, StepKind
from chaukas.server.explain.wording import capital, milliseconds, step_words

__all__ = ["RULES"]

_SECOND = 1_000_000_000
_AHEAD_NS_MAX = 60 * _SECOND
_LATE_NS_MAX = 3_600 * _SECOND
_PROMPT_NS_MAX = 60 * _SECOND
_REVERSED_NS_MAX = _SECOND
_AFTER_PARENT_NS_MAX = 60 * _SECOND


def _clock_skew(explanation: Explanation) -> Iterator[Finding]:
    for step in explanation.steps:
        yield from _reversed(explanation, step)
        yield from _outside_parent(explanation, step)
        yield from _own_times(explanation, step)
    for run in explanation.runs:
        yield from _against_server(explanation, run)


def _reversed(explanation: Explanation, step: Step) -> Iterator[Finding]:
    """An END whose time is before its START's: a clock, when the gap is large or the log has them the other way round."""
    if step.start is None or step.end is None:
        return
    start, end = explanation.record.rows[step.start], explanation.record.rows[step.end]
    gap = start.time_ns - end.time_ns
    in_order = start.log_index is not None and end.log_index is not None and start.log_index < end.log_index
    if gap > 0 and (gap >= _REVERSED_NS_MAX or in_order):
        yield finding(
            explanation,
            "CLOCK_SKEW",
            FindingSeverity.WARN,
            f"Two clocks disagree: the end of {step_words(step)} is {milliseconds(gap)} earlier than its start.",
            [step],
            details={"ns": gap, "between": "start and end"},
        )


def _outside_parent(explanation: Explanation, step: Step) -> Iterator[Finding]:
    if step.parent is None or step.started_ns is None:
        return
    parent = explanation.steps[step.parent]
    if parent.started_ns is None:
        return
    before = parent.started_ns - step.started_ns
    if before > _REVERSED_NS_MAX:
        sentence = f"{step_words(step)} started {milliseconds(before)} before {step_words(parent)}, which is its parent."
        gap = before
    elif parent.end is not None and parent.ended_ns is not None and step.started_ns - parent.ended_ns > _AFTER_PARENT_NS_MAX:
        gap = step.started_ns - parent.ended_ns
        sentence = f"{step_words(step)} started {milliseconds(gap)} after the end of {step_words(parent)}, which is its parent."
    else:
        return
    yield finding(
        explanation,
        "CLOCK_SKEW",
        FindingSeverity.WARN,
        capital(sentence),
        [step, parent],
        details={"ns": gap, "between": "child and parent"},
    )


def _own_times(explanation: Explanation, step: Step) -> Iterator[Finding]:
    """A model call whose content says that it ended before it started."""
    if step.kind is not StepKind.MODEL or step.end is None:
        return
    row = explanation.record.rows[step.end]
    if row.content != "llm_invocation":
        return
    call = row.event.llm_invocation
    if call.HasField("start_time") and call.HasField("end_time"):
        gap = (call.start_time.seconds - call.end_time.seconds) * _SECOND + call.start_time.nanos - call.end_time.nanos
        if gap > 0:
            yield finding(
                explanation,
                "CLOCK_SKEW",
                FindingSeverity.WARN,
                f"{capital(step_words(step))} says of itself that it ended {milliseconds(gap)} before it started.",
                [step],
                details={"ns": gap, "between": "start_time and end_time"},
            )


def _against_server(explanation: Explanation, run: Run) -> Iterator[Finding]:
    """Events from the server's future; or late ones in a run that otherwise arrived promptly."""
    rows = explanation.record.rows
    ahead: list[EventRow] = []
    late: list[EventRow] = []
    prompt = known = 0
    for position in run.events:
        row = rows[position]
        if row.received_ns is None:
            continue
        known += 1
        delay = row.received_ns - row.time_ns
        if delay < -_AHEAD_NS_MAX:
            ahead.append(row)
        elif delay > _LATE_NS_MAX:
            late.append(row)
        elif delay <= _PROMPT_NS_MAX:
            prompt += 1
    steps = [explanation.steps[run.steps[0]]]
    if ahead:
        gap = max(row.time_ns - (row.received_ns or 0) for row in ahead)
        yield finding(
            explanation,
            "CLOCK_SKEW",
            FindingSeverity.WARN,
            f"The client's clock is at least {milliseconds(gap)} ahead of the server's ({_events(ahead)}).",
            steps,
            positions=[row.position for row in ahead],
            details={"ns": gap, "between": "client and server"},
        )
    if late and 2 * prompt > known:
        gap = max((row.received_ns or 0) - row.time_ns for row in late)
        yield finding(
            explanation,
            "CLOCK_SKEW",
            FindingSeverity.INFO,
            f"{capital(_events(late))} came up to {milliseconds(gap)} late, in a run that otherwise arrived promptly.",
            steps,
            positions=[row.position for row in late],
            details={"ns": gap, "between": "client and server"},
        )


def _events(rows: list[EventRow]) -> str:
    return "one event" if len(rows) == 1 else f"{len(rows)} events"


RULES = (Rule("CLOCK_SKEW", "times that cannot all be true", _clock_skew),)
