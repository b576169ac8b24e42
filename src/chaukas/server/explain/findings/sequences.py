"""Numbers that should follow each other: SEQUENCE_GAP.

A list of events is not the whole log, so gaps between log indices mean nothing here: completeness is for the log to prove. What
the events number themselves can be checked:

- attempts of RETRY events of one agent in one session: 3 without 2;
- numbers that end the invocation ids of one session ("inv-1", "inv-2", "inv-4");
- a number in `metadata` under `sequence`, `sequence_number` or `seq`;
- a stream: parts marked `is_partial` whose last is not followed by one that is not, or is final.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from chaukas.server.explain.findings.rule import Rule, finding
from chaukas.server.explain.model import EventRow, Explanation, Finding, FindingSeverity, Step, StepKind

__all__ = ["RULES"]

_NUMBERED = re.compile(r"^(|.*[^0-9a-fA-F])([0-9]{1,6})$", re.DOTALL)
_METADATA_KEYS = ("sequence", "sequence_number", "seq")
_SPAN_MAX = 100_000


def _sequence_gaps(explanation: Explanation) -> Iterator[Finding]:
    yield from _retry_gaps(explanation)
    yield from _numbered_gaps(explanation)
    yield from _stream_gaps(explanation)


def _step_of(explanation: Explanation) -> list[int]:
    """Position -> step number."""
    steps = [0] * len(explanation.record.rows)
    for step in explanation.steps:
        for position in step.events:
            steps[position] = step.number
    return steps


def _retry_gaps(explanation: Explanation) -> Iterator[Finding]:
    """An attempt whose predecessor is not in the session."""
    latest: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for step in explanation.steps:
        if step.kind is not StepKind.RETRY:
            continue
        row = explanation.record.rows[step.first]
        attempt = row.event.retry.attempt
        seen = latest[row.session_id, row.agent_id]
        if attempt > 1 and attempt - 1 not in seen:
            known = max((number for number in seen if number < attempt), default=0)
            lost = f"{known + 1}" if attempt - known == 2 else f"{known + 1} to {attempt - 1}"
            yield finding(
                explanation,
                "SEQUENCE_GAP",
                FindingSeverity.WARN,
                f"Retry attempt {attempt} is recorded without attempt {lost}.",
                [step],
                details={"of": "retry attempts", "found": attempt, "before": known},
            )
        if attempt <= 1:
            seen.clear()
        seen.add(attempt)


def _numbered_gaps(explanation: Explanation) -> Iterator[Finding]:
    """Missing numbers in a series that is otherwise dense."""
    series: defaultdict[tuple[str, str, str], dict[int, EventRow]] = defaultdict(dict)
    for row in explanation.record.rows:
        if row.invocation_id:
            match = _NUMBERED.match(row.invocation_id)
            if match is not None:
                series["invocation ids", row.session_id, match.group(1)].setdefault(int(match.group(2)), row)
        if row.event.HasField("metadata"):
            number = _metadata_number(row)
            if number is not None:
                series["sequence numbers", row.session_id, ""].setdefault(number, row)
    steps = None
    for (of, _, prefix), found in series.items():
        first, last = min(found), max(found)
        missing = last - first + 1 - len(found)
        if not 0 < missing <= len(found) or last - first > _SPAN_MAX:
            continue
        steps = steps or _step_of(explanation)
        absent = [number for number in range(first, last) if number not in found]
        gaps = set(absent)
        around = [row for number, row in found.items() if number + 1 in gaps or number - 1 in gaps]
        shown = ", ".join(f"{prefix}{number}" for number in absent[:5]) + (", …" if len(absent) > 5 else "")
        yield finding(
            explanation,
            "SEQUENCE_GAP",
            FindingSeverity.WARN,
            f"The {of} of this session run from {prefix}{first} to {prefix}{last}, without {shown}.",
            [explanation.steps[number] for number in sorted({steps[row.position] for row in around})],
            positions=[row.position for row in around],
            details={"of": of, "missing": absent[:100]},
        )


def _metadata_number(row: EventRow) -> int | None:
    fields = row.event.metadata.fields
    for key in _METADATA_KEYS:
        if key in fields:
            number = fields[key].number_value
            if number == number // 1 and 0 <= number <= _SPAN_MAX and fields[key].WhichOneof("kind") == "number_value":
                return int(number)
    return None


def _stream_gaps(explanation: Explanation) -> Iterator[Finding]:
    """Streams are told apart by their response id, else span; a stream without either cannot be followed."""
    streams: defaultdict[tuple[str, str], list[Step]] = defaultdict(list)
    for step in explanation.steps:
        if step.kind is StepKind.OUTPUT or step.kind is StepKind.MODEL:
            row = explanation.record.rows[step.events[-1]]
            key = ("response", row.response_id) if row.response_id else ("span", row.span_id)
            if key[1]:
                streams[key].append(step)
    for steps in streams.values():
        last = explanation.record.rows[max(step.events[-1] for step in steps)].event
        if last.is_partial and not last.is_final:
            yield finding(
                explanation,
                "SEQUENCE_GAP",
                FindingSeverity.WARN,
                "A stream of parts breaks off: its last recorded part is marked partial, and no final one follows.",
                steps,
                details={"of": "stream parts", "parts": len(steps)},
            )


RULES = (Rule("SEQUENCE_GAP", "a number or a part is missing in a series", _sequence_gaps),)
