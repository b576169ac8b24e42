"""What an output rests on, in sentences for the narrative: which sources have its sentences, and what no source has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from chaukas.server.explain.chapters import Grounds
from chaukas.server.explain.deeds import named
from chaukas.server.explain.evidence_graph import Evidenced
from chaukas.server.explain.grounding import GroundedPart, Grounding, Verdict, ground
from chaukas.server.explain.model import Step
from chaukas.server.explain.quoting import quoted
from chaukas.server.explain.sentences import Sentence
from chaukas.server.explain.wording import step_words

__all__ = ["grounds_of"]

_SOURCES_MAX = 6
_PARTS_MAX = 6
_TEXT_CHARS = 200
_VERDICTS = {
    Verdict.FOUND: "found in recorded sources",
    Verdict.PARTLY: "found in part",
    Verdict.NOT_FOUND: "not found",
}


def grounds_of(evidenced: Evidenced) -> Grounds:
    """For each output: the sources of its sentences, those without one, and the values that were not found."""

    def sentences(step: Step) -> Sequence[Sentence]:
        return _sentences(evidenced, step, ground(evidenced, step.first))

    return sentences


def _sentences(evidenced: Evidenced, step: Step, grounding: Grounding) -> list[Sentence]:
    parts = [part for part in grounding.parts if part.verdict is not Verdict.NOTHING_TO_CHECK]
    if not parts:
        return [Sentence("It holds nothing that could be looked for in other events", (step.first,))]
    told = [_found(evidenced, step, parts)]
    if not any(item.found for part in parts for item in part.items):
        return told
    if len(parts) > 1:
        told.append(_counted(step, parts, grounding))
    return told + [_short(step, part) for part in parts if part.verdict is not Verdict.FOUND][:_PARTS_MAX]


def _counted(step: Step, parts: Sequence[GroundedPart], grounding: Grounding) -> Sentence:
    """How many statements, and how many values in them, have a source."""
    counted = Counter(part.verdict for part in parts)
    words = [f"{counted[verdict]} {said}" for verdict, said in _VERDICTS.items() if counted[verdict]]
    text = f"Of its {len(parts)} statements: {', '.join(words)}"
    if grounding.exact_total:
        text += f"; {grounding.exact_found} of its {grounding.exact_total} numbers, names, ids and quotations found as they stand"
    return Sentence(text, (step.first,))


def _found(evidenced: Evidenced, step: Step, parts: Sequence[GroundedPart]) -> Sentence:
    """The events whose words and values the answer repeats, the most used first."""
    used = Counter(item.found[0].position for part in parts for item in part.items if item.found)
    if not used:
        return Sentence("No recorded source before it holds any of what it says", (step.first,))
    explanation = evidenced.explanation
    by_step: dict[int, list[int]] = {}
    for position, _ in used.most_common():
        by_step.setdefault(evidenced.step_of[position], []).append(position)
    shown = list(by_step.items())[:_SOURCES_MAX]
    words = list(dict.fromkeys(_source(explanation.steps[number]) for number, _ in shown))
    more = f" and {len(by_step) - len(shown)} more" if len(by_step) > len(shown) else ""
    return Sentence(f"What it says stands in {', '.join(words)}{more}", tuple(position for _, each in shown for position in each))


def _source(step: Step) -> str:
    if step.kind.value in ("tool", "mcp"):
        return f"the result of {named(step.name)}" if step.name else "the result of a tool"
    return step_words(step).replace('"', "")


def _short(step: Step, part: GroundedPart) -> Sentence:
    """A part that sources do not have, or not all of it."""
    missing = list(dict.fromkeys(item.text for item in part.items if item.strict and not item.found))
    shown = ", ".join(quoted(each, 60) for each in missing[:4]) + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
    text = quoted(part.text.strip(), _TEXT_CHARS)
    if part.verdict is Verdict.NOT_FOUND:
        return Sentence(f"Not found in any recorded source: {text}", (step.first,))
    if missing:
        return Sentence(f"Found in part only: {text}; not found is {shown}", (step.first,))
    values = ", though all its numbers, names and ids are found" if any(item.strict for item in part.items) else ""
    return Sentence(f"Worded otherwise than any source{values}: {text}", (step.first,))
