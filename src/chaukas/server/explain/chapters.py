"""One run told in sections: who asked, what was done, looked up, changed and decided, what was answered, what is open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chaukas.server.explain.clock import day_and_time, time_of_day
from chaukas.server.explain.deeds import deed, named, whose
from chaukas.server.explain.effects import Effect, effect_of
from chaukas.server.explain.model import Explanation, Finding, FindingSeverity, Run, RunOutcome, Step, StepKind
from chaukas.server.explain.quoting import one_line, quoted
from chaukas.server.explain.sentences import Chapter, Section, Sentence
from chaukas.server.explain.utterances import final_text, given_line, said

__all__ = ["OUTCOMES", "Grounds", "chapter", "fragments"]

#: What an output rests on, as sentences; given by whoever has looked for sources.
Grounds = Callable[[Step], Sequence[Sentence]]

OUTCOMES = {
    RunOutcome.ANSWERED: "answered",
    RunOutcome.FAILED: "ended with an error",
    RunOutcome.CLOSED: "ended without an answer",
    RunOutcome.UNFINISHED: "the record breaks off",
}
_ASKED_CHARS = 600
_ANSWER_CHARS = 900
_LIST_MAX = 12
_CALLS = frozenset({StepKind.TOOL, StepKind.MCP})
_WORDS = {
    StepKind.AGENT: "agent",
    StepKind.MODEL: "model call",
    StepKind.TOOL: "tool call",
    StepKind.MCP: "MCP call",
    StepKind.HANDOFF: "handoff",
    StepKind.POLICY: "policy decision",
    StepKind.DATA_ACCESS: "data access",
    StepKind.ERROR: "error",
    StepKind.RETRY: "retry",
}


@dataclass(frozen=True, slots=True)
class _Telling:
    explanation: Explanation
    run: Run
    steps: tuple[Step, ...]
    #: How deep each step stands inside others that are told.
    levels: dict[int, int]


def chapter(explanation: Explanation, run: Run, steps_max: int, basis: Grounds, *, only: bool) -> Chapter:
    """The sections of a run; `only` when the page has no other. At most `steps_max` steps are told one by one."""
    steps = explanation.steps_of(run)
    telling = _Telling(explanation, run, steps, _levels(explanation, steps))
    sections = (
        Section("Who asked what", _asked(telling)),
        Section("What was done, in this order", _done(telling, steps_max), numbered=True),
        Section("What was looked up, changed and decided", (*_looked_up(telling), *_changed(telling), *_decided(telling))),
        Section("What was answered, and on what basis", _answered(telling, basis)),
        Section("What is missing or open", _open(telling)),
    )
    name = "The run" if only else f"Run {run.number + 1}"
    heading = f"{name}, {day_and_time(run.started_ns)}: {OUTCOMES[run.outcome]}"
    return Chapter(heading, tuple(section for section in sections if section.sentences))


def fragments(explanation: Explanation, runs: Sequence[Run], steps_max: int) -> tuple[Sentence, ...]:
    """What nothing but time would tie to a run, in the record's order, as one list."""
    steps = sorted((step for run in runs for step in explanation.steps_of(run)), key=lambda step: step.first)
    told = [sentence for step in steps if (sentence := deed(explanation, step)) is not None]
    if len(told) <= steps_max:
        return tuple(told)
    rest = told[steps_max:]
    text = f"{len(rest)} more such steps are not told here"
    positions = tuple(position for sentence in rest for position in sentence.positions)
    return (*told[:steps_max], Sentence(text, positions, whole=True))


def _levels(explanation: Explanation, steps: Sequence[Step]) -> dict[int, int]:
    """Depth below the run's first level; what a session or a lone agent holds stands beside it, not inside."""
    agents = sum(1 for step in steps if step.kind is StepKind.AGENT)
    flat = {StepKind.SESSION, StepKind.STATE} | ({StepKind.AGENT} if agents < 2 else set())
    levels: dict[int, int] = {}
    for step in steps:
        chain: list[Step] = []
        at: int | None = step.number
        while at is not None and at not in levels:
            chain.append(explanation.steps[at])
            at = explanation.steps[at].within
        for each in reversed(chain):
            holder = None if each.within is None else explanation.steps[each.within]
            above = -1 if holder is None else levels[holder.number]
            levels[each.number] = above + 1 if holder is not None and holder.kind not in flat else max(above, 0)
    return levels


def _outermost(telling: _Telling, numbers: Sequence[int]) -> list[Step]:
    """Those steps that stand inside no tool call: an agent that works as another one's tool talks to that one only."""
    steps = telling.explanation.steps
    found = [steps[number] for number in numbers]
    kept = [step for step in found if not _inside_call(telling.explanation, step)]
    return kept or found


def _inside_call(explanation: Explanation, step: Step) -> bool:
    at = step.within
    while at is not None:
        holder = explanation.steps[at]
        if holder.kind in _CALLS:
            return True
        at = holder.within
    return False


def _asked(telling: _Telling) -> tuple[Sentence, ...]:
    run, steps = telling.run, telling.steps
    sentences = []
    for step in _outermost(telling, run.inputs)[:_LIST_MAX]:
        row = telling.explanation.record.rows[step.first]
        role = row.event.message.role if row.content == "message" else ""
        who = "a user" if role in ("", "user", "human") else f"somebody in the role {quoted(role, 40)}"
        text = said(row)
        asked = f"asked: {quoted(text, _ASKED_CHARS)}" if text else "sent something whose text is not recorded"
        sentences.append(Sentence(f"At {time_of_day(row.time_ns)} {who} {asked}", (row.position,)))
    if not sentences:
        sentences.append(Sentence("No input is recorded in this run, so nothing shows who asked what", run.events, whole=True))
    agents = [step for step in steps if step.kind is StepKind.AGENT]
    if agents:
        names = list(dict.fromkeys(step.name for step in agents if step.name))
        if len(names) == 1:
            sentences.append(Sentence(f"Agent {named(names[0])} worked on it", tuple(step.first for step in agents)))
        elif names:
            shown = ", ".join(named(name) for name in names[:_LIST_MAX])
            sentences.append(
                Sentence(
                    f"These agents worked on it, in order of their first step: {shown}", tuple(step.first for step in agents)
                )
            )
    return tuple(sentences)


def _done(telling: _Telling, steps_max: int) -> tuple[Sentence, ...]:
    """What happened, step by step; of a long run the beginning and the end."""
    outer = (
        {step.number for step in _outermost(telling, (*telling.run.inputs, *telling.run.outputs))}
        if telling.run.inputs
        else set()
    )
    told: list[tuple[Step, Sentence]] = []
    agents = sum(1 for step in telling.steps if step.kind is StepKind.AGENT)
    for step in telling.steps:
        if step.kind in (StepKind.INPUT, StepKind.OUTPUT) and step.number in outer:
            continue
        if step.kind is StepKind.AGENT and agents == 1 and not step.failed and step.state.value == "closed":
            continue
        sentence = deed(telling.explanation, step, telling.levels[step.number])
        if sentence is not None:
            told.append((step, sentence))
    if len(told) <= steps_max:
        return tuple(sentence for _, sentence in told)
    head = max(1, steps_max * 2 // 3)
    tail = max(1, steps_max - head)
    middle = [step for step, _ in told[head:-tail]]
    counts = Counter(_WORDS.get(step.kind, "other event") for step in middle)
    words = ", ".join(f"{count} {word if count == 1 else _plural(word)}" for word, count in counts.most_common())
    failed = sum(1 for step in middle if step.failed)
    text = f"Then {len(middle)} steps that are not told here: {words}" + (f"; {failed} of them failed" if failed else "")
    gap = Sentence(text, tuple(position for step in middle for position in step.events), whole=True)
    return (*(sentence for _, sentence in told[:head]), gap, *(sentence for _, sentence in told[-tail:]))


def _plural(word: str) -> str:
    return "data accesses" if word == "data access" else "retries" if word == "retry" else f"{word}s"


def _calls(telling: _Telling, effect: Effect) -> list[Step]:
    return [step for step in telling.steps if step.kind in _CALLS and effect_of(step.name) is effect]


def _several(telling: _Telling, steps: Sequence[Step]) -> str:
    """Names with their arguments; calls of one name together."""
    by_name: dict[str, list[Step]] = {}
    for step in steps:
        by_name.setdefault(step.name, []).append(step)
    parts = []
    for name, calls in list(by_name.items())[:_LIST_MAX]:
        given = given_line(telling.explanation, calls[0], 80) if len(calls) == 1 else ""
        part = named(name) + (f" with {quoted(given, 80)}" if given else "")
        ended = sum(1 for step in calls if not step.failed and step.state.value != "open")
        part += f", {len(calls)} times" if len(calls) > 1 else ""
        part += "" if ended == len(calls) else " (without success)" if not ended else f" ({ended} with success)"
        parts.append(part)
    if len(by_name) > _LIST_MAX:
        parts.append(f"and {len(by_name) - _LIST_MAX} more")
    return "; ".join(parts)


def _events(steps: Sequence[Step]) -> tuple[int, ...]:
    return tuple(step.first for step in steps)


def _looked_up(telling: _Telling) -> list[Sentence]:
    sentences = []
    reads = _calls(telling, Effect.READS)
    if reads:
        sentences.append(Sentence(f"Looked up, judging by the names of the tools: {_several(telling, reads)}", _events(reads)))
    sources = [step for step in telling.steps if step.kind is StepKind.DATA_ACCESS]
    if sources:
        sentences.append(Sentence(f"Data sources that were read: {_several(telling, sources)}", _events(sources)))
        rows = telling.explanation.record.rows
        personal = [step for step in sources if rows[step.first].event.data_access.pii_categories]
        kinds = sorted({one_line(kind, 40) for step in personal for kind in rows[step.first].event.data_access.pii_categories})
        if personal:
            sentences.append(Sentence(f"Personal data was among it: {', '.join(kinds[:_LIST_MAX])}", _events(personal)))
    return sentences


def _changed(telling: _Telling) -> list[Sentence]:
    sentences = []
    changes = _calls(telling, Effect.CHANGES)
    if changes:
        sentences.append(Sentence(f"Changed, judging by the names of the tools: {_several(telling, changes)}", _events(changes)))
    unknown = _calls(telling, Effect.UNKNOWN)
    if unknown:
        text = f"Names that do not tell whether something was changed: {_several(telling, unknown)}"
        sentences.append(Sentence(text, _events(unknown)))
    if not changes and not unknown and any(step.kind in _CALLS for step in telling.steps):
        sentences.append(
            Sentence("No recorded tool has a name of something that changes anything", telling.run.events, whole=True)
        )
    if not any(step.kind in _CALLS for step in telling.steps):
        sentences.append(Sentence("No call of a tool is recorded in this run", telling.run.events, whole=True))
    return sentences


def _decided(telling: _Telling) -> list[Sentence]:
    decisions = [step for step in telling.steps if step.kind is StepKind.POLICY]
    if not decisions:
        return [
            Sentence(
                "No policy decision is recorded: nothing shows that somebody allowed or denied any of this",
                telling.run.events,
                whole=True,
            )
        ]
    sentences = [sentence for step in decisions[:_LIST_MAX] if (sentence := deed(telling.explanation, step)) is not None]
    if len(decisions) > _LIST_MAX:
        rest = decisions[_LIST_MAX:]
        sentences.append(Sentence(f"{len(rest)} more policy decisions are recorded", _events(rest)))
    return sentences


def _answer(telling: _Telling, step: Step, text: str) -> Sentence:
    row = telling.explanation.record.rows[step.first]
    author = f"{whose(step)} answered" if step.agent_name or step.agent_id else "the answer was"
    answer = quoted(text, _ANSWER_CHARS) if text else "something whose text is not recorded"
    return Sentence(f"At {time_of_day(row.time_ns)} {author}: {answer}", (row.position,))


def _answered(telling: _Telling, basis: Grounds) -> tuple[Sentence, ...]:
    run = telling.run
    sentences: list[Sentence] = []
    rows = telling.explanation.record.rows
    outputs = _outermost(telling, run.outputs)
    parts = [step for step in outputs if rows[step.first].event.is_partial and not rows[step.first].event.is_final]
    whole = [step for step in outputs if step not in parts]
    for step in whole[:_LIST_MAX]:
        sentences.append(_answer(telling, step, final_text(rows[step.first])))
        sentences += basis(step)
    if parts and whole:
        sentences.append(Sentence(f"It was sent in parts before, of which {len(parts)} are recorded", _events(parts)))
    elif parts:
        text = "".join(final_text(rows[step.first]) for step in parts)
        first = _answer(telling, parts[0], text)
        sentences.append(Sentence(f"{first.text}; only {len(parts)} parts of it are recorded, not the whole", _events(parts)))
    if not outputs:
        sentences.append(
            Sentence(
                _NO_ANSWER[run.outcome],
                _events([telling.explanation.steps[number] for number in run.errors]) or run.events,
                whole=not run.errors,
            )
        )
    if len(whole) > _LIST_MAX:
        rest = whole[_LIST_MAX:]
        sentences.append(Sentence(f"{len(rest)} more answers are recorded", _events(rest)))
    return tuple(sentences)


_NO_ANSWER = {
    RunOutcome.ANSWERED: "An answer is recorded",
    RunOutcome.FAILED: "No answer is recorded in this run; it ended with an error",
    RunOutcome.CLOSED: "No answer is recorded in this run, although everything that began has ended",
    RunOutcome.UNFINISHED: "No answer is recorded in this run, and no error that would say why: the record breaks off",
}


def _open(telling: _Telling) -> tuple[Sentence, ...]:
    found = [finding for finding in telling.explanation.findings if finding.run == telling.run.number]
    grave = [finding for finding in found if finding.severity is not FindingSeverity.INFO]
    light = [finding for finding in found if finding.severity is FindingSeverity.INFO]
    sentences = [_finding(finding) for finding in grave[:_LIST_MAX]]
    rest = grave[_LIST_MAX:]
    if rest:
        sentences.append(Sentence(f"{len(rest)} more findings: {_codes(rest)}", _cited(rest)))
    sentences += _light(light)
    if not found:
        sentences.append(
            Sentence(
                "Nothing was found to be missing, contradictory or against a recorded policy", telling.run.events, whole=True
            )
        )
    return tuple(sentences)


def _light(findings: Sequence[Finding]) -> list[Sentence]:
    """What explains rather than warns: the first of each code, with the others counted."""
    by_code: dict[str, list[Finding]] = {}
    for finding in findings:
        by_code.setdefault(finding.code, []).append(finding)
    sentences = []
    for same in list(by_code.values())[:_LIST_MAX]:
        first = _finding(same[0])
        more = f"; {len(same) - 1} more of this kind" if len(same) > 1 else ""
        sentences.append(Sentence(first.text + more, tuple(dict.fromkeys((*first.positions, *_cited(same[1:]))))))
    return sentences


def _finding(finding: Finding) -> Sentence:
    return Sentence(
        f"{finding.sentence.rstrip('. ')} ({finding.code}, {finding.severity})", tuple(ref.position for ref in finding.events)
    )


def _codes(findings: Sequence[Finding]) -> str:
    return ", ".join(
        f"{code}{f' ({count})' if count > 1 else ''}" for code, count in Counter(each.code for each in findings).items()
    )


def _cited(findings: Sequence[Finding]) -> tuple[int, ...]:
    return tuple(ref.position for finding in findings for ref in finding.events)
