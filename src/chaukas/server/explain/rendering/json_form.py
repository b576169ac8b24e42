"""An explanation as JSON values; `docs/explain.md` lists the keys. They stay, new ones may come. Ids name the events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from chaukas.server.explain.clock import iso_time
from chaukas.server.explain.model import Cost, EventRef, Explanation, Finding, Run, SessionView, Step, StepError, Stitch, Tokens
from chaukas.spec.common.v1.events_pb2 import EventStatus

__all__ = ["JsonObject", "explanation_values", "finding_values"]

JsonObject = dict[str, object]

_STATUSES = {number: name.removeprefix("EVENT_STATUS_") for name, number in EventStatus.items()}


def explanation_values(explanation: Explanation) -> JsonObject:
    """Runs, steps, sessions and findings; a step is named by its number, an event by its id."""
    rows = explanation.record.rows
    return {
        "events": len(rows),
        "duplicates": explanation.record.duplicates,
        "first_time": iso_time(min(row.time_ns for row in rows)) if rows else "",
        "last_time": iso_time(max(row.time_ns for row in rows)) if rows else "",
        "runs": [_run(explanation, run) for run in explanation.runs],
        "steps": [_step(explanation, step) for step in explanation.steps],
        "sessions": [_session(explanation, view) for view in explanation.sessions],
        "findings": [finding_values(finding) for finding in explanation.findings],
    }


def finding_values(finding: Finding) -> JsonObject:
    """One finding."""
    return {
        "code": finding.code,
        "severity": str(finding.severity),
        "sentence": finding.sentence,
        "run": finding.run,
        "steps": list(finding.steps),
        "events": [_reference(ref) for ref in finding.events],
        "details": _plain(finding.details),
    }


def _reference(ref: EventRef) -> JsonObject:
    return {"event_id": ref.event_id, "log_index": ref.log_index}


def _ids(explanation: Explanation, positions: Iterable[int]) -> list[str]:
    rows = explanation.record.rows
    return [rows[position].event_id for position in positions]


def _time(time_ns: int | None) -> str | None:
    return None if time_ns is None else iso_time(time_ns)


def _run(explanation: Explanation, run: Run) -> JsonObject:
    return {
        "number": run.number,
        "id": run.id,
        "kind": str(run.kind),
        "outcome": str(run.outcome),
        "started": iso_time(run.started_ns),
        "ended": iso_time(run.ended_ns),
        "steps": list(run.steps),
        "roots": list(run.roots),
        "events": len(run.events),
        "inputs": list(run.inputs),
        "outputs": list(run.outputs),
        "errors": list(run.errors),
        "sessions": list(run.sessions),
        "traces": list(run.traces),
        "agents": list(run.agents),
        "tokens": _tokens(run.tokens),
        "cost": _cost(run.cost),
        "stitches": [_stitch(explanation, stitch) for stitch in run.stitches],
    }


def _stitch(explanation: Explanation, stitch: Stitch) -> JsonObject:
    return {
        "by": str(stitch.by),
        "value": stitch.value,
        "steps": list(stitch.steps),
        "events": _ids(explanation, stitch.events),
    }


def _step(explanation: Explanation, step: Step) -> JsonObject:
    rows = explanation.record.rows
    return {
        "number": step.number,
        "kind": str(step.kind),
        "name": step.name,
        "model": step.model,
        "agent_id": step.agent_id,
        "agent_name": step.agent_name,
        "span_id": step.span_id,
        "parent_span_id": step.parent_span_id,
        "state": str(step.state),
        "status": _STATUSES.get(step.status, str(step.status)),
        "start_event": None if step.start is None else rows[step.start].event_id,
        "end_event": None if step.end is None else rows[step.end].event_id,
        "events": _ids(explanation, step.events),
        "paired_by": str(step.paired_by),
        "started": _time(step.started_ns),
        "ended": _time(step.ended_ns),
        "duration_ms": step.duration_ms,
        "run": step.run,
        "parent": step.parent,
        "within": step.within,
        "nested_by": str(step.nested_by),
        "tokens": _tokens(step.tokens),
        "cost": _cost(step.cost),
        "error": _error(explanation, step.error),
        "errors": list(step.errors),
        "retries": list(step.retries),
        "stopped_by": step.stopped_by,
    }


def _tokens(tokens: Tokens | None) -> JsonObject | None:
    return None if tokens is None else {"prompt": tokens.prompt, "completion": tokens.completion, "total": tokens.total}


def _cost(cost: Cost | None) -> JsonObject | None:
    return None if cost is None else {"total": cost.total, "currency": cost.currency}


def _error(explanation: Explanation, error: StepError | None) -> JsonObject | None:
    if error is None:
        return None
    event_id = explanation.record.rows[error.position].event_id
    return {"message": error.message, "code": error.code, "shown_by": error.shown_by, "event": event_id}


def _session(explanation: Explanation, view: SessionView) -> JsonObject:
    return {
        "session_id": view.session_id,
        "events": len(view.events),
        "first_event": explanation.record.rows[view.events[0]].event_id,
        "last_event": explanation.record.rows[view.events[-1]].event_id,
        "runs": list(view.runs),
        "starts": view.starts,
        "ends": view.ends,
    }


def _plain(value: object) -> object:
    """Details of a finder as JSON has them; what it cannot have becomes text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in (sorted(value, key=str) if isinstance(value, set | frozenset) else value)]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
