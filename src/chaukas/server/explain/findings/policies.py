"""Decisions and what came of them: DENIED_ACTION_RAN, PERSONAL_DATA_WITHOUT_DECISION."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence

from chaukas.server.explain.findings.rule import Rule, finding
from chaukas.server.explain.model import Explanation, Finding, FindingSeverity, Run, Step, StepKind
from chaukas.server.explain.wording import capital, clipped, step_words
from chaukas.spec.common.v1 import events_pb2

__all__ = ["RULES"]

_ACTIONS = frozenset({StepKind.TOOL, StepKind.MCP, StepKind.DATA_ACCESS})
_DENIALS = frozenset(
    {"deny", "denied", "block", "blocked", "reject", "rejected", "refuse", "refused", "forbid", "forbidden", "disallow"}
)
_PERMITS = frozenset({"allow", "allowed", "permit", "permitted", "approve", "approved", "grant", "granted", "pass", "passed"})
_SUBJECT_KEYS = frozenset(
    {
        "tool",
        "tool_name",
        "action",
        "function",
        "function_name",
        "operation",
        "resource",
        "datasource",
        "tool_call_id",
        "subject",
        "target",
    }
)
_STOPPED = frozenset({events_pb2.EVENT_STATUS_FAILED, events_pb2.EVENT_STATUS_CANCELLED})
_WORD_CHARS_MIN = 4
_NEXT = "it is the very next event of the same agent and parent, and only that ties them"


def _outcome(explanation: Explanation, step: Step) -> str:
    event = explanation.event(step.first)
    return event.policy.outcome.strip().lower() if event.WhichOneof("content") == "policy" else ""


class _Actions:
    """The tool calls, MCP calls and data accesses of one run, found by what a decision may say of them."""

    def __init__(self, explanation: Explanation, run: Run) -> None:
        self._explanation = explanation
        self._by_name: defaultdict[str, list[int]] = defaultdict(list)
        self._by_span: defaultdict[str, list[int]] = defaultdict(list)
        self._by_parent: defaultdict[int, list[int]] = defaultdict(list)
        self.steps = [explanation.steps[number] for number in run.steps if explanation.steps[number].kind in _ACTIONS]
        self._numbers = {step.number for step in self.steps}
        for step in self.steps:
            names = {step.name} | {
                explanation.event(position).tool_call.id
                for position in step.events
                if explanation.record.rows[position].content == "tool_call"
            }
            for name in names - {""}:
                self._by_name[name].append(step.number)
            if step.span_id:
                self._by_span[step.span_id].append(step.number)
            if step.parent is not None:
                self._by_parent[step.parent].append(step.number)
        words = sorted({step.name for step in self.steps if len(step.name) >= _WORD_CHARS_MIN}, key=_by_length)
        #: Names of actions as whole words of a text; a longer name is not taken for the shorter one that it begins with.
        self._words = re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, words))})(?![\w-])") if words else None

    def tied(self, decision: Step) -> list[int]:
        """Actions whose span or parent ties the decision to them."""
        found = {*self._by_span.get(decision.span_id, ()), *self._by_parent.get(decision.number, ())}
        if decision.parent in self._numbers:
            found.add(decision.parent)
        return sorted(found)

    def named(self, decision: Step) -> tuple[set[str], bool]:
        """Names and call ids of actions that the decision tells, and whether it tells its subject in metadata.

        What metadata say under a subject's key (`tool`, `resource`, ...) counts alone; without it, names in policy id, rationale,
        rule ids and other metadata do.
        """
        event = self._explanation.event(decision.first)
        texts = [event.policy.policy_id, event.policy.rationale, *event.policy.rule_ids]
        subjects: set[str] = set()
        for key, value in event.metadata.fields.items() if event.HasField("metadata") else ():
            if value.WhichOneof("kind") == "string_value" and value.string_value:
                if key in _SUBJECT_KEYS:
                    subjects.add(value.string_value)
                texts.append(value.string_value)
        if subjects:
            return {subject for subject in subjects if subject in self._by_name}, True
        if self._words is None:
            return set(), False
        return {match.group() for text in texts for match in self._words.finditer(text)}, False

    def next_of(self, names: set[str], number: int) -> int | None:
        """The first action of one of these names after a step."""
        found = [
            later[place] for later in map(self._by_name.__getitem__, names) if (place := bisect_right(later, number)) < len(later)
        ]
        return min(found, default=None)


def _by_length(name: str) -> tuple[int, str]:
    return -len(name), name


def _denied_ran(explanation: Explanation) -> Iterator[Finding]:
    for run in explanation.runs:
        decisions = [explanation.steps[number] for number in run.steps if explanation.steps[number].kind is StepKind.POLICY]
        outcomes = [_outcome(explanation, decision) for decision in decisions]
        if not any(outcome in _DENIALS for outcome in outcomes):
            continue
        actions = _Actions(explanation, run)
        permits = [decision.number for decision, outcome in zip(decisions, outcomes, strict=True) if outcome in _PERMITS]
        for decision, outcome in zip(decisions, outcomes, strict=True):
            if outcome in _DENIALS:
                yield from _ran(explanation, run, decision, permits, actions)


def _ran(explanation: Explanation, run: Run, decision: Step, permits: Sequence[int], actions: _Actions) -> Iterator[Finding]:
    for number, why in _subjects(explanation, run, decision, actions):
        action = explanation.steps[number]
        place = bisect_right(permits, decision.number)
        permitted = place < len(permits) and permits[place] < number
        if permitted or action.error is not None or action.errors or action.status in _STOPPED:
            continue
        weak = why == _NEXT
        reason = explanation.event(decision.first).policy.rationale
        because = f' ("{clipped(reason, 100)}")' if reason else ""
        yield finding(
            explanation,
            "DENIED_ACTION_RAN",
            FindingSeverity.WARN if weak else FindingSeverity.ERROR,
            f"{capital(step_words(decision))} denied{because}, yet {step_words(action)} ran; {why}.",
            [decision, action],
            details={"policy": decision.name, "action": action.name, "tied_by": "order" if weak else "record"},
        )


def _subjects(explanation: Explanation, run: Run, decision: Step, actions: _Actions) -> list[tuple[int, str]]:
    """The actions that a denial is about, by the strongest evidence: span or parent, id or name, else the very next event."""
    tied = actions.tied(decision)
    if tied:
        return [(number, "its span ties the decision to it") for number in tied]
    names, told = actions.named(decision)
    named = actions.next_of(names, decision.number)
    if named is not None:
        return [(named, "the decision names it")]
    place = bisect_right(run.steps, decision.number)
    if told or names or place == len(run.steps):
        return []
    action = explanation.steps[run.steps[place]]
    near = action.kind in {StepKind.TOOL, StepKind.MCP} and action.parent_span_id == decision.parent_span_id
    agent = action.agent_id == decision.agent_id and bool(action.agent_id)
    return [(action.number, _NEXT)] if near and agent else []


def _personal_data(explanation: Explanation) -> Iterator[Finding]:
    for run in explanation.runs:
        personal = {
            number: categories
            for number in run.steps
            if explanation.steps[number].kind in _ACTIONS and (categories := _categories(explanation, explanation.steps[number]))
        }
        covered = _covered(explanation, run, personal) if personal else set()
        for number, categories in personal.items():
            if number not in covered:
                step, what = explanation.steps[number], ", ".join(categories[:6])
                yield finding(
                    explanation,
                    "PERSONAL_DATA_WITHOUT_DECISION",
                    FindingSeverity.WARN,
                    f"{capital(step_words(step))} read personal data ({what}); no policy decision came before it.",
                    [step],
                    details={"categories": categories, "source": step.name},
                )


def _covered(explanation: Explanation, run: Run, personal: dict[int, list[str]]) -> set[int]:
    """Reads that a decision is tied to, names before they happen, or precedes without being about anything else.

    A decision about a call covers what is read inside that call.
    """
    actions = _Actions(explanation, run)
    subjects: set[int] = set()
    covered: set[int] = set()
    named_before: set[str] = set()
    general = False
    for number in run.steps:
        step = explanation.steps[number]
        if step.kind is StepKind.POLICY:
            tied = actions.tied(step)
            names, told = actions.named(step)
            subjects.update(tied)
            named_before |= names
            general = general or not (tied or names or told)
        elif step.kind in _ACTIONS:
            if step.name in named_before:
                subjects.add(number)
            if general and number in personal:
                covered.add(number)
    return covered | {number for number in personal if not subjects.isdisjoint(_chain(explanation, number))}


def _chain(explanation: Explanation, number: int) -> Iterator[int]:
    """A step and the steps that it stands inside, the nearest first."""
    at: int | None = number
    while at is not None:
        yield at
        at = explanation.steps[at].within


def _categories(explanation: Explanation, step: Step) -> list[str]:
    found: dict[str, None] = {}
    for position in step.events:
        row = explanation.record.rows[position]
        if row.content == "data_access":
            found.update(dict.fromkeys(row.event.data_access.pii_categories))
        found.update(dict.fromkeys(row.event.pii_categories))
    return list(found)


RULES = (
    Rule("DENIED_ACTION_RAN", "a policy decision denied, yet the action ran", _denied_ran),
    Rule("PERSONAL_DATA_WITHOUT_DECISION", "personal data was read, and no policy decision came before", _personal_data),
)
