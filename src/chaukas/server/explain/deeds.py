"""A step as a sentence for people: what was done, with what, how long it took, and how it ended."""

from __future__ import annotations

from chaukas.server.explain.model import EventRow, Explanation, Step, StepKind, StepState
from chaukas.server.explain.quoting import one_line, quoted, struct_line
from chaukas.server.explain.sentences import Sentence
from chaukas.server.explain.utterances import final_text, given_line, returned_line, said
from chaukas.server.explain.wording import milliseconds

__all__ = ["deed", "named", "whose"]

_NAME_CHARS = 80
_TEXT_CHARS = 240
_NS_PER_MS = 1_000_000
_QUIET = frozenset({StepKind.SESSION, StepKind.STATE})
_DECISIONS = {
    "allow": "allowed",
    "allowed": "allowed",
    "approve": "approved",
    "approved": "approved",
    "permit": "permitted",
    "deny": "denied",
    "denied": "denied",
    "block": "blocked",
    "blocked": "blocked",
    "reject": "rejected",
    "rejected": "rejected",
    "review": "asked for a review",
}


def deed(explanation: Explanation, step: Step, level: int = 0) -> Sentence | None:
    """The sentence of a step; None for what only frames the others (sessions, state updates)."""
    if step.kind in _QUIET:
        return None
    text = _TELLERS[step.kind](explanation, step)
    positions = step.events
    if step.state is StepState.OPEN:
        stopped = _stopped(explanation, step)
        text += stopped[0]
        positions = (*positions, *stopped[1])
    return Sentence(text, positions, level=level)


def named(name: str) -> str:
    """A name out of the record."""
    return quoted(name, _NAME_CHARS)


def whose(step: Step) -> str:
    """The agent of a step, or "the agent" where none is told."""
    name = step.agent_name or step.agent_id
    return f"agent {named(name)}" if name else "the agent"


def _row(explanation: Explanation, step: Step) -> EventRow:
    return explanation.record.rows[step.first]


def _took(step: Step) -> str:
    return "" if step.duration_ms is None else milliseconds(int(step.duration_ms * _NS_PER_MS))


def _stopped(explanation: Explanation, step: Step) -> tuple[str, tuple[int, ...]]:
    """How an open step was heard of for the last time."""
    if step.stopped_by is None:
        return "; no end of it is recorded", ()
    stop = explanation.steps[step.stopped_by]
    if stop.kind is StepKind.ERROR:
        return f"; it did not end, the error {named(stop.name)} followed" if stop.name else "; an error followed", stop.events
    return "; no end of it is recorded", stop.events


def _failure(step: Step) -> str:
    error = step.error
    if error is None:
        return ""
    if error.message:
        return f"; it failed: {quoted(error.message)}"
    return f"; it failed with {named(error.code)}" if error.code else "; it is recorded as failed"


def _agent(explanation: Explanation, step: Step) -> str:
    name = f"Agent {named(step.name)}" if step.name else "An agent"
    if step.state is StepState.OPEN:
        return f"{name} began to work"
    if step.state is StepState.HANDED_OFF and step.stopped_by is not None:
        taker = explanation.steps[step.stopped_by].name
        return f"{name} worked until it handed over to {named(taker)}" if taker else f"{name} worked until it handed over"
    took = _took(step)
    return f"{name} worked{f' for {took}' if took else ''}{_failure(step)}"


def _model(explanation: Explanation, step: Step) -> str:
    del explanation
    model = f"The model {named(step.model)}" if step.model else "A model"
    facts = [_took(step)]
    if step.tokens is not None and step.tokens.total:
        facts.append(f"{step.tokens.total} tokens")
    if step.cost is not None:
        facts.append(f"{step.cost.total:.6g} {one_line(step.cost.currency, 8)}".strip())
    in_brackets = ", ".join(fact for fact in facts if fact)
    if step.state is StepState.OPEN:
        return f"{model} was asked"
    if step.failed:
        return f"{model} was asked{_failure(step)}"
    return f"{model} was asked and answered{f' ({in_brackets})' if in_brackets else ''}"


def _tool(explanation: Explanation, step: Step) -> str:
    return _call(explanation, step, f"Tool {named(step.name)}" if step.name else "A tool")


def _mcp(explanation: Explanation, step: Step) -> str:
    row = _row(explanation, step)
    server = row.event.mcp_call.server_name if row.content == "mcp_call" else ""
    return _call(explanation, step, f"MCP server {named(server)}{f', {named(step.name)},' if step.name else ''}")


def _call(explanation: Explanation, step: Step, subject: str) -> str:
    given = given_line(explanation, step)
    call = f"{subject} was called" + (f" with {quoted(given)}" if given else "")
    if step.state is StepState.OPEN:
        return call
    if step.failed:
        return call + _failure(step)
    returned = returned_line(explanation, step, _TEXT_CHARS)
    took = _took(step)
    end = f" and returned {quoted(returned, _TEXT_CHARS)}" if returned else " and ended; what it returned is not recorded"
    return call + end + (f" ({took})" if took else "")


def _handoff(explanation: Explanation, step: Step) -> str:
    row = _row(explanation, step)
    handoff = row.event.agent_handoff
    giver = handoff.from_agent_name or handoff.from_agent_id or step.agent_name or step.agent_id
    text = f"Agent {named(giver)} handed over" if giver else "An agent handed over"
    text += f" to {named(step.name)}" if step.name else " to an agent that is not named"
    return text + (f"; the reason given is {quoted(handoff.reason)}" if handoff.reason else "")


def _input(explanation: Explanation, step: Step) -> str:
    row = _row(explanation, step)
    text = said(row)
    return f"An input came in: {quoted(text, _TEXT_CHARS)}" if text else "An input came in, whose text is not recorded"


def _output(explanation: Explanation, step: Step) -> str:
    text = final_text(_row(explanation, step))
    return f"An output was given: {quoted(text, _TEXT_CHARS)}" if text else "An output was given, whose text is not recorded"


def _error(explanation: Explanation, step: Step) -> str:
    error = _row(explanation, step).event.error
    subject = f"An error was reported, {named(step.name)}" if step.name else "An error was reported"
    return subject + (f": {quoted(error.error_message, _TEXT_CHARS)}" if error.error_message else "")


def _retry(explanation: Explanation, step: Step) -> str:
    event = _row(explanation, step).event
    retry = event.retry
    text = f"Retry {retry.attempt} is recorded" if event.HasField("retry") and retry.attempt else "A retry is recorded"
    return text + (f", after a pause of {milliseconds(retry.backoff_ms * _NS_PER_MS)}" if retry.backoff_ms > 0 else "")


def _policy(explanation: Explanation, step: Step) -> str:
    policy = _row(explanation, step).event.policy
    subject = f"Policy {named(step.name)}" if step.name else "A policy"
    outcome = policy.outcome.strip()
    decided = _DECISIONS.get(outcome.lower())
    if decided is None:
        decided = f"decided {quoted(outcome, 40)}" if outcome else "decided, the outcome is not recorded"
    rules = f", by rule {', '.join(named(rule) for rule in policy.rule_ids[:5])}" if policy.rule_ids else ""
    return f"{subject} {decided}{rules}" + (f": {quoted(policy.rationale, _TEXT_CHARS)}" if policy.rationale else "")


def _data_access(explanation: Explanation, step: Step) -> str:
    access = _row(explanation, step).event.data_access
    text = f"{named(step.name)} was read" if step.name else "A data source that is not named was read"
    if access.document_ids:
        shown = ", ".join(named(document) for document in access.document_ids[:5])
        text += f", documents {shown}" + (f" and {len(access.document_ids) - 5} more" if len(access.document_ids) > 5 else "")
    if access.pii_categories:
        text += f"; it holds personal data: {', '.join(one_line(name, 40) for name in access.pii_categories[:10])}"
    return text


def _state(explanation: Explanation, step: Step) -> str:
    row = _row(explanation, step)
    return (
        f"The state was set: {quoted(struct_line(row.event.state_update))}" if row.content == "state_update" else "State changed"
    )


def _system(explanation: Explanation, step: Step) -> str:
    row = _row(explanation, step)
    if row.content == "message":
        return f"The system noted {quoted(said(row), _TEXT_CHARS)}"
    if row.event.HasField("metadata") and row.event.metadata.fields:
        return f"The system noted {quoted(struct_line(row.event.metadata), _TEXT_CHARS)}"
    return "The system noted something whose content is not recorded"


def _unknown(explanation: Explanation, step: Step) -> str:
    return f"Something of the unknown type {_row(explanation, step).type} was recorded"


def _session(explanation: Explanation, step: Step) -> str:
    del explanation
    took = _took(step)
    return f"The session lasted {took}" if took else "A session was recorded"


_TELLERS = {
    StepKind.SESSION: _session,
    StepKind.AGENT: _agent,
    StepKind.MODEL: _model,
    StepKind.TOOL: _tool,
    StepKind.MCP: _mcp,
    StepKind.HANDOFF: _handoff,
    StepKind.INPUT: _input,
    StepKind.OUTPUT: _output,
    StepKind.ERROR: _error,
    StepKind.RETRY: _retry,
    StepKind.POLICY: _policy,
    StepKind.DATA_ACCESS: _data_access,
    StepKind.STATE: _state,
    StepKind.SYSTEM: _system,
    StepKind.UNKNOWN: _unknown,
}
