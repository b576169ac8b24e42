"""What generated answers and calls rest on: the generator knows which values it copied and which it made up."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

from chaukas.server.explain.evidence_graph import Evidenced, evidenced
from chaukas.server.explain.explaining import explain
from chaukas.server.explain.grounding import GroundedPart, Verdict, ground
from tests.explain_worlds.facts import Fact, Sentence
from tests.explain_worlds.worlds import World, make_world

_SEEDS = 150
_ENOUGH = 0.95


@lru_cache(maxsize=1)
def worlds() -> list[tuple[World, Evidenced]]:
    return [(world, evidenced(explain(world.events))) for world in map(make_world, range(1_000, 1_000 + _SEEDS))]


def parts_of(told: Evidenced, event_id: str) -> dict[str, GroundedPart]:
    grounding = ground(told, told.explanation.record.by_event_id[event_id])
    return {part.text: part for part in grounding.parts}


def found_of(part: GroundedPart, fact: Fact) -> bool | None:
    """Whether a value of a part is found; None when it was not looked for."""
    items = [item for item in part.items if item.text in {fact.text, fact.spelled()}]
    return all(item.found for item in items) if items else None


def verdict_fits(sentence: Sentence, part: GroundedPart) -> bool:
    """A copy is found; a sentence with something made up is not, and with nothing but that, nothing is."""
    if sentence.copied:
        return part.verdict is Verdict.FOUND
    if sentence.found and not sentence.invented:
        return part.verdict in {Verdict.FOUND, Verdict.PARTLY}
    return part.verdict is not Verdict.FOUND


def test_sentences_and_their_values():
    """Of what an answer says at least 0.95 is judged right: copies are found, inventions are not, value by value."""
    verdicts: Counter[bool] = Counter()
    values: Counter[tuple[bool, bool]] = Counter()
    for world, told in worlds():
        for event_id, sentences in world.truth.sentences.items():
            parts = parts_of(told, event_id)
            for sentence in sentences:
                part = parts[str(sentence.text)]
                if not sentence.chat:
                    verdicts[verdict_fits(sentence, part)] += 1
                for fact, real in [(fact, True) for fact in sentence.found] + [(fact, False) for fact in sentence.invented]:
                    if not sentence.copied:
                        values[real, found_of(part, fact) is real] += 1
    assert verdicts[True] >= _ENOUGH * verdicts.total(), verdicts
    for real in (True, False):
        right, wrong = values[real, True], values[real, False]
        assert right + wrong > 100
        assert right >= _ENOUGH * (right + wrong), values


def test_argument_values():
    """An argument that came from an input or a result is found there; one that the model made up is not."""
    verdicts: Counter[tuple[bool, bool]] = Counter()
    for world, told in worlds():
        for event_id, arguments in world.truth.arguments.items():
            parts = parts_of(told, event_id)
            for fact, real in arguments:
                part = next(part for text, part in parts.items() if fact.text in text)
                verdicts[real, (found_of(part, fact) if real else part.verdict is not Verdict.FOUND) is True] += 1
    for real in (True, False):
        right, wrong = verdicts[real, True], verdicts[real, False]
        assert right + wrong >= 20
        assert right >= _ENOUGH * (right + wrong), verdicts


def test_greeting_rests_on_nothing_and_lacks_nothing():
    """Thanks are no statement: no value in them is missed."""
    for world, told in worlds()[:40]:
        for event_id, sentences in world.truth.sentences.items():
            parts = parts_of(told, event_id)
            for sentence in sentences:
                if str(sentence.text) == "Thank you for your patience.":
                    part = parts[str(sentence.text)]
                    assert part.items == () or all(item.found for item in part.items)
