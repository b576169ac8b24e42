"""The narrative: one page that somebody who is no engineer can read, every sentence with the events that it rests on.

Deterministic, computed from the explanation alone, and bounded: long runs are told by their beginning and end, of many runs the
first ones and those that went wrong, and what is left out is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from chaukas.server.explain.chapters import OUTCOMES, Grounds, chapter, fragments
from chaukas.server.explain.clock import day_and_time
from chaukas.server.explain.model import Explanation, FindingSeverity, Run, RunKind, RunOutcome, Step
from chaukas.server.explain.quoting import one_line
from chaukas.server.explain.sentences import Narrative, Sentence
from chaukas.server.explain.silence import silence
from chaukas.server.explain.wording import milliseconds

__all__ = ["NarrativeLimits", "narrative"]


@dataclass(frozen=True, slots=True)
class NarrativeLimits:
    """How long a page may become."""

    runs: int = 12
    steps_per_run: int = 30
    #: Over all runs; every run keeps a few.
    steps: int = 120
    steps_per_run_min: int = 6


def narrative(
    explanation: Explanation,
    title: str,
    *,
    basis: Grounds | None = None,
    about: Sequence[Sentence] = (),
    limits: NarrativeLimits | None = None,
) -> Narrative:
    """The page about an explanation.

    `title` is its first line, `about` what else is to be said about which events were looked at, `basis` what is known about the
    sources of an output.
    """
    limits = limits or NarrativeLimits()
    whole = [run for run in explanation.runs if run.kind is RunKind.RUN] or list(explanation.runs)
    loose = [run for run in explanation.runs if run.kind is not RunKind.RUN] if len(whole) < len(explanation.runs) else []
    told = _chosen(whole, limits.runs)
    numbers = {run.number for run in told}
    steps_max = max(limits.steps_per_run_min, min(limits.steps_per_run, limits.steps // max(1, len(told))))
    only = len(whole) == 1
    return Narrative(
        title=title,
        summary=(*_summary(explanation), *about),
        chapters=tuple(chapter(explanation, run, steps_max, basis or _unknown, only=only) for run in told),
        fragments=fragments(explanation, loose, limits.steps_per_run),
        left_out=_left_out([run for run in whole if run.number not in numbers]),
        not_shown=silence(explanation),
    )


def _unknown(_step: Step) -> Sequence[Sentence]:
    return ()


def _chosen(runs: Sequence[Run], runs_max: int) -> list[Run]:
    """All runs, or the first half of what fits and then those that did not end well before those that did."""
    if len(runs) <= runs_max:
        return list(runs)
    first = runs_max // 2
    rest = sorted(runs[first:], key=lambda run: (run.outcome is RunOutcome.ANSWERED, run.number))
    return sorted((*runs[:first], *rest[: runs_max - first]), key=lambda run: run.number)


def _summary(explanation: Explanation) -> list[Sentence]:
    rows = explanation.record.rows
    if not rows:
        return [Sentence("No event was found", ())]
    everything = tuple(range(len(rows)))
    first, last = min(row.time_ns for row in rows), max(row.time_ns for row in rows)
    events = f"{len(rows)} events" if len(rows) != 1 else "One event"
    lasted = f", {milliseconds(last - first)} later" if last > first else ""
    sentences = [
        Sentence(
            f"{events} were looked at, the first of {day_and_time(first)}, the last{lasted or ' of the same moment'}",
            everything,
            whole=True,
        )
    ]
    sentences += _kinds(explanation)
    agents = list(dict.fromkeys(agent for run in explanation.runs for agent in run.agents))
    if agents:
        shown = ", ".join(f"“{one_line(agent, 60)}”" for agent in agents[:10])
        more = f" and {len(agents) - 10} more" if len(agents) > 10 else ""
        named = [row.position for agent in agents[:10] for row in rows if agent in (row.agent_name, row.agent_id)]
        sentences.append(
            Sentence(f"{'Agents' if len(agents) > 1 else 'The agent'} in it: {shown}{more}", tuple(named[:1] + named[-1:]))
        )
    sentences += _grave(explanation)
    return sentences


def _kinds(explanation: Explanation) -> list[Sentence]:
    """How many runs there are, how they ended, and what belongs to none."""
    whole = [run for run in explanation.runs if run.kind is RunKind.RUN]
    loose = [run for run in explanation.runs if run.kind is not RunKind.RUN]
    sentences = []
    if len(whole) == 1:
        text = f"They are one piece of work (a run): {OUTCOMES[whole[0].outcome]}"
        sentences.append(Sentence(text, (whole[0].events[0],)))
    elif whole:
        outcomes = Counter(run.outcome for run in whole)
        parts = ", ".join(f"{count} {_COUNTED[outcome]}" for outcome, count in outcomes.most_common())
        text = f"They are {len(whole)} pieces of work (runs): {parts}"
        sentences.append(Sentence(text, tuple(run.events[0] for run in whole)))
    if loose:
        count = "One part" if len(loose) == 1 else f"{len(loose)} parts"
        text = f"{count} of the record cannot be tied to a run by any id or content, only by time"
        sentences.append(Sentence(text, tuple(run.events[0] for run in loose)))
    return sentences


_COUNTED = {
    RunOutcome.ANSWERED: "answered",
    RunOutcome.FAILED: "ended with an error",
    RunOutcome.CLOSED: "ended without an answer",
    RunOutcome.UNFINISHED: "broken off in the record",
}


def _grave(explanation: Explanation) -> list[Sentence]:
    counts = Counter(finding.severity for finding in explanation.findings)
    cited = tuple(
        ref.position for finding in explanation.findings if finding.severity is not FindingSeverity.INFO for ref in finding.events
    )
    parts = [
        f"{counts[severity]} {word if counts[severity] == 1 else word + 's'}"
        for severity, word in ((FindingSeverity.ERROR, "error"), (FindingSeverity.WARN, "warning"))
        if counts[severity]
    ]
    if not parts:
        return []
    return [Sentence(f"Findings to look at: {', '.join(parts)}", cited)]


def _left_out(runs: Sequence[Run]) -> tuple[Sentence, ...]:
    """Each group of runs that are not told, by how they ended."""
    groups: dict[RunOutcome, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.outcome, []).append(run)
    return tuple(
        Sentence(
            f"{len(group)} more {'run' if len(group) == 1 else 'runs'} not told here: {OUTCOMES[outcome]}",
            tuple(run.events[0] for run in group),
        )
        for outcome, group in groups.items()
    )
