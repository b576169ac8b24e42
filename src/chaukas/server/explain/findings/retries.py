"""Retries that came to nothing: RETRIES_EXHAUSTED."""

from __future__ import annotations

from collections.abc import Iterator

from chaukas.server.explain.findings.rule import Rule, finding
from chaukas.server.explain.model import Explanation, Finding, FindingSeverity, Run, RunOutcome, Step, StepKind, StepState
from chaukas.server.explain.wording import step_words

__all__ = ["RULES"]

_CALLS = frozenset({StepKind.MODEL, StepKind.TOOL, StepKind.MCP})


def _exhausted(explanation: Explanation) -> Iterator[Finding]:
    """A run with retries whose last attempt failed, unless the same input was answered later in the session."""
    retried = [run for run in explanation.runs if any(explanation.steps[number].kind is StepKind.RETRY for number in run.steps)]
    if not retried:
        return
    answered = _answered(explanation)
    for run in retried:
        retries = [explanation.steps[number] for number in run.steps if explanation.steps[number].kind is StepKind.RETRY]
        failure = _failure(explanation, run, retries[-1])
        if failure is None or any(answered.get(key, -1) > run.number for key in _keys(explanation, run)):
            continue
        attempts = max((explanation.event(step.first).retry.attempt for step in retries), default=0) or len(retries)
        target = next((explanation.steps[number] for number in run.steps if explanation.steps[number].retries), None)
        what = f" of {step_words(target)}" if target is not None else ""
        count = "one retry" if attempts == 1 else f"{attempts} retries"
        yield finding(
            explanation,
            "RETRIES_EXHAUSTED",
            FindingSeverity.WARN,
            f"After {count}{what} the record shows a failure and no success.",
            [*retries, failure],
            details={"attempts": attempts},
        )


def _failure(explanation: Explanation, run: Run, last: Step) -> Step | None:
    """The failure after the last retry, when nothing of the kind succeeded after it."""
    failure: Step | None = None
    target = next((explanation.steps[number] for number in run.steps if last.number in explanation.steps[number].retries), None)
    if target is not None and target.error is not None and target.end is not None and target.end > last.first:
        failure = target
    elif target is not None and target.state is not StepState.OPEN and target.error is None:
        return None
    for number in run.steps:
        if number <= last.number:
            continue
        step = explanation.steps[number]
        if step.kind in _CALLS and step.error is None and step.end is not None and (target is None or _alike(step, target)):
            return None
        if step.kind is StepKind.ERROR or (step.kind in _CALLS and step.error is not None):
            failure = step
    return failure if run.outcome is not RunOutcome.ANSWERED or (failure is not None and failure.kind in _CALLS) else None


def _alike(step: Step, target: Step) -> bool:
    return step.kind is target.kind and (step.kind is StepKind.MODEL or step.name == target.name)


def _answered(explanation: Explanation) -> dict[tuple[str, str], int]:
    """(session, input text) -> the last run that answered it."""
    found: dict[tuple[str, str], int] = {}
    for run in explanation.runs:
        if run.outcome is RunOutcome.ANSWERED:
            for key in _keys(explanation, run):
                found[key] = run.number
    return found


def _keys(explanation: Explanation, run: Run) -> list[tuple[str, str]]:
    if not run.inputs:
        return []
    row = explanation.record.rows[explanation.steps[run.inputs[0]].first]
    return [(row.session_id, row.event.message.text)] if row.content == "message" and row.event.message.text else []


RULES = (Rule("RETRIES_EXHAUSTED", "something was tried again and failed in the end", _exhausted),)
